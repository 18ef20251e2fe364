"""Relative paths of a tree made absolute, so that it means the same wherever it is read.

Invariant: pure, on long forms; a path starts at the directory of the file that says it.
"""

from dataclasses import replace

from rookery.compose.files import located
from rookery.compose.keys_top import APP
from rookery.compose.nodes import Map, Node, Scalar, Seq, put
from rookery.compose.schema import ListOf, LocalPath, Named, Object, Type


def absolute(document: Map) -> Map:
    """The whole document with its paths made absolute."""
    done = _absolute(document, APP)
    assert isinstance(done, Map)
    return done


def _absolute(node: Node, type: Type) -> Node:
    match node, type:
        case Scalar(), LocalPath():
            return replace(node, text=str(located(node.text, node.mark))) if node.text else node
        case Seq(items=items), ListOf(item=inner):
            return replace(node, items=tuple(_absolute(item, inner) for item in items))
        case Map(entries=entries), Named(value=inner):
            return replace(node, entries={name: _absolute(value, inner) for name, value in entries.items()})
        case Map(entries=entries), Object(keys=keys):
            done = {name: _absolute(value, keys[name].type) if name in keys else value for name, value in entries.items()}
            return _mount(replace(node, entries=done))
        case _:
            return node


def _mount(node: Map) -> Map:
    """A bind mount's source is a path; another mount's is not."""
    kind, source = node.get("type"), node.get("source")
    if isinstance(kind, Scalar) and kind.text == "bind" and isinstance(source, Scalar) and source.text:
        return put(node, "source", replace(source, text=str(located(source.text, source.mark))))
    return node
