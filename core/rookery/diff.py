"""The difference of two specs, field by field, for people to read.

Invariant: the content of a secret or config is in no spec, so it is in no difference; a new one shows as a new digest or version.
"""

import dataclasses
from collections.abc import Mapping

from rookery.model import Argv, FieldChange, FileMount, ServiceSpec

DIGEST_SHOWN = 12


def diff_specs(before: ServiceSpec, after: ServiceSpec) -> tuple[FieldChange, ...]:
    """What changed, by path (`container.image`, `ports[0].published`); absent is the empty string. The replica count is left out:
    it is not the spec's but the service's."""
    old, new = flatten(before), flatten(after)
    paths = list(dict.fromkeys([*new, *old]))
    return tuple(
        FieldChange(path=path, before=old.get(path, ""), after=new.get(path, ""))
        for path in paths
        if path != "mode.replicas" and old.get(path) != new.get(path)
    )


def flatten(value: object, path: str = "") -> dict[str, str]:
    """All leaves of a value by their paths; fields that are empty or absent are left out."""
    match value:
        case None | "" | False:
            return {}
        case Argv():
            return {path: " ".join(map(_quoted, value.args)) or "(none)"}
        case FileMount():
            leaves = _fields(dataclasses.replace(value, digest=value.digest[:DIGEST_SHOWN]), path)
            return leaves if value.version else {leaf: text for leaf, text in leaves.items() if leaf != f"{path}.version"}
        case Mapping():
            return {f"{path}.{key}": str(value[key]) for key in sorted(value)}
        case tuple():
            if all(isinstance(item, str | int | float) for item in value):
                return {path: ", ".join(map(str, value))} if value else {}
            return {leaf: text for i, item in enumerate(value) for leaf, text in flatten(item, f"{path}[{i}]").items()}
        case bool():
            return {path: "true"}
        case float():
            return {path: f"{value:g}"}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value, path)
    return {path: str(value)}


_KINDS = frozenset({"mode", "probe", "strategy"})  # a choice between classes: which one it is, is a leaf too


def _fields(value: object, path: str) -> dict[str, str]:
    assert dataclasses.is_dataclass(value)
    leaves = {path: type(value).__name__} if path in _KINDS or path.startswith("container.mounts[") else {}
    for field in dataclasses.fields(value):
        leaves.update(flatten(getattr(value, field.name), f"{path}.{field.name}" if path else field.name))
    return leaves


def _quoted(arg: str) -> str:
    return f'"{arg}"' if not arg or " " in arg else arg
