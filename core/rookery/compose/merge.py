"""One tree over another by the Compose specification's rules.

Mappings are merged key by key, lists appended (ports, volumes, secrets, configs and devices by their unique key, command lines
replaced), scalars replaced; `!reset` takes a key away, `!override` replaces without merging.

Invariant: pure, on long forms; the result has no tags. A later null leaves what was there.
"""

from collections.abc import Hashable
from dataclasses import replace

from rookery.compose.nodes import Map, Node, Scalar, Seq, Tag, is_null
from rookery.compose.schema import Anything, Command, Key, ListOf, Named, Object, Pairs, Type

_ANYTHING = Anything()


def merge(base: Node | None, over: Node, type: Type) -> Node:
    """`over` merged onto `base`."""
    if base is None or over.tag is Tag.OVERRIDE:
        return _untagged(over)
    if is_null(over) and not isinstance(base, Scalar):
        return base
    if is_null(base):
        return _untagged(over)
    match base, over:
        case Map(), Map():
            if isinstance(type, Object) and type.only_same and _differ(base, over, type.only_same):
                return _untagged(over)
            return _maps(base, over, type)
        case Seq(), Seq():
            return _lists(base, over, type)
    return _untagged(over)


def _maps(base: Map, over: Map, type: Type) -> Map:
    entries = dict(base.entries)
    for key, value in over.entries.items():
        if value.tag is Tag.RESET:
            entries.pop(key, None)
        elif isinstance(type, Pairs):
            entries[key] = _untagged(value)
        else:
            entries[key] = merge(entries.get(key), value, _type_of(type, key))
    return replace(base, entries=entries)


def _lists(base: Seq, over: Seq, type: Type) -> Node:
    if isinstance(type, Command) or (isinstance(type, ListOf) and type.replace):
        return _untagged(over)
    kept = [_untagged(item) for item in over.items if item.tag is not Tag.RESET]
    if isinstance(type, ListOf) and type.unique is not None:
        merged: dict[Hashable, Node] = {}
        for item in (*base.items, *kept):
            key = type.unique(item) if isinstance(item, Map) else id(item)
            merged[key] = merge(merged.get(key), item, type.item)
        return replace(base, items=tuple(merged.values()))
    seen = [item for item in kept if not (isinstance(item, Scalar) and item in base.items)]
    return replace(base, items=(*base.items, *seen))


def _type_of(type: Type, key: str) -> Type:
    match type:
        case Object(keys=keys):
            return keys.get(key, Key()).type
        case Named(value=value):
            return value
    return _ANYTHING


def _differ(base: Map, over: Map, key: str) -> bool:
    before, after = base.get(key), over.get(key)
    return before is not None and after is not None and before != after


def _untagged(node: Node) -> Node:
    match node:
        case Map(entries=entries):
            kept = {key: _untagged(value) for key, value in entries.items() if value.tag is not Tag.RESET}
            return replace(node, entries=kept, tag=Tag.NONE)
        case Seq(items=items):
            return replace(node, items=tuple(_untagged(item) for item in items if item.tag is not Tag.RESET), tag=Tag.NONE)
        case Scalar():
            return replace(node, tag=Tag.NONE) if node.tag else node
