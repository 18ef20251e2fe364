"""Short forms to long forms, so that everything after it knows one form of each thing.

Invariant: the result of a well-formed tree is in long form and keeps each value's mark and tag; a malformed part is left as it is
for the check to judge, or was reported here.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace

from rookery.compose.diagnostics import Problems
from rookery.compose.nodes import Map, Node, Scalar, Seq, is_broken, is_null, mapping, text
from rookery.compose.schema import Command, ListOf, Named, Object, Pairs, Type


def canonical(node: Node, type: Type, path: str, problems: Problems) -> Node:
    done = _long_form(node, type, path, problems)
    return done if done.tag == node.tag else replace(done, tag=node.tag)


def _long_form(node: Node, type: Type, path: str, problems: Problems) -> Node:
    if is_null(node) or is_broken(node):
        return node
    match type:
        case Object():
            if type.expand is not None and not isinstance(node, Map):
                expanded = type.expand(node, path, problems)
                node = expanded[0] if expanded else Map(entries={}, mark=node.mark)
            if not isinstance(node, Map):
                return node
            if type.tidy is not None:
                node = type.tidy(node)
            entries = {
                key: canonical(value, known.type, f"{path}.{key}" if path else key, problems)
                if (known := type.keys.get(key)) is not None
                else value
                for key, value in node.entries.items()
            }
            return replace(node, entries=entries)
        case Named():
            if type.from_list is not None and isinstance(node, Seq):
                node = _by_name(node, type.from_list, path, problems)
            if not isinstance(node, Map):
                return node
            entries = {key: canonical(value, type.value, f"{path}.{key}", problems) for key, value in node.entries.items()}
            return replace(node, entries=entries)
        case ListOf():
            return _list(node, type, path, problems)
        case Pairs():
            return _pairs(node, path, problems) if isinstance(node, Seq) else node
        case Command():
            return _words(node, path, problems) if isinstance(node, Scalar) else node
        case _:
            return node


def _list(node: Node, type: ListOf, path: str, problems: Problems) -> Node:
    if type.whole is not None:
        node = type.whole(node)
    if type.single and not isinstance(node, Seq):
        node = Seq(items=(node,), mark=node.mark)
    if not isinstance(node, Seq):
        return node
    items: list[Node] = []
    for i, item in enumerate(node.items):
        where = f"{path}[{i}]"
        if is_broken(item):
            continue
        if type.expand is not None and not isinstance(item, Map):
            items.extend(replace(long, tag=item.tag) for long in type.expand(item, where, problems))
        else:
            items.append(canonical(item, type.item, where, problems))
    return replace(node, items=tuple(items))


def _by_name(node: Seq, stands_for: Mapping[str, str], path: str, problems: Problems) -> Node:
    entries: dict[str, Node] = {}
    for i, item in enumerate(node.items):
        if not isinstance(item, Scalar) or not item.text:
            problems.error(item.mark, f"{path}[{i}]", "expected a name")
            continue
        entries[item.text] = mapping(stands_for, item.mark) if stands_for else replace(item, text="", plain=True)
    return Map(entries=entries, mark=node.mark)


def _pairs(node: Seq, path: str, problems: Problems) -> Node:
    entries: dict[str, Node] = {}
    for i, item in enumerate(node.items):
        if not isinstance(item, Scalar) or is_null(item):
            problems.error(item.mark, f"{path}[{i}]", "expected NAME=value")
            continue
        name, equals, value = item.text.partition("=")
        if not name.strip():
            problems.error(item.mark, f"{path}[{i}]", f"'{item.text}' has no name before '='")
            continue
        entries[name] = Scalar(text=value, mark=item.mark, plain=not equals, tag=item.tag)
    return Map(entries=entries, mark=node.mark)


def _words(node: Scalar, path: str, problems: Problems) -> Node:
    try:
        words = shlex.split(node.text)
    except ValueError as error:
        problems.error(node.mark, path, f"can't be split into words: {str(error).lower()}", "or write it as a list")
        return Seq(items=(), mark=node.mark)
    return Seq(items=tuple(text(word, node.mark) for word in words), mark=node.mark)
