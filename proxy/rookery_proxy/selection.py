"""Whether a request is one that a route asks for beside its host and path. Pure."""

import functools
import re

from rookery.model import HttpRules
from rookery.model.http_rules import ANY_VALUE


def selects(rules: HttpRules, method: bytes, block: bytes) -> bool:
    """`block` are the request's header fields. A field that is there several times fits when one of its values does."""
    methods, headers = _compiled(rules)
    if methods and method not in methods:
        return False
    return all(
        any(wanted is None or value.rstrip(b" \t") == wanted for value in pattern.findall(block)) for pattern, wanted in headers
    )


@functools.lru_cache(maxsize=4096)
def _compiled(rules: HttpRules) -> tuple[frozenset[bytes], tuple[tuple[re.Pattern[bytes], bytes | None], ...]]:
    """The methods; and each header as a pattern that finds its values, and the value wanted (None: any)."""
    return frozenset(method.encode() for method in rules.methods), tuple(
        (
            re.compile(rb"(?i)(?:^|\n)" + re.escape(field.name.encode()) + rb":[ \t]*([^\r]*)"),
            None if field.value == ANY_VALUE else field.value.encode(),
        )
        for field in rules.headers
    )
