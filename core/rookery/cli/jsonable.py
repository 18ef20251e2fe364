"""Model values as JSON: a dataclass is an object with its fields' names, an enum its word, a choice between kinds says its kind.

Invariant: the same value always gives the same text, and the content of a secret never appears.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args

from rookery.model import Mode, Mount, Node, Probe, Replica, Service, Strategy

_KINDS = {
    cls: re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()
    for choice in (Mode, Probe, Mount, Strategy)
    for cls in get_args(choice)
}
_NAMED = (Replica, Node)  # their names are made of other fields


def jsonable(value: Any) -> Any:
    """The value in terms of dict, list, str, int, float, bool and None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made: dict[str, Any] = {"kind": _KINDS[type(value)]} if type(value) in _KINDS else {}
        if isinstance(value, _NAMED):
            made["name"] = value.name
        if isinstance(value, Service):
            made["key"] = value.key
        return made | {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: Any, *, one_line: bool = False) -> str:
    return json.dumps(jsonable(value), indent=None if one_line else 2, ensure_ascii=False, allow_nan=False)
