"""A compose document as a tree that remembers where each part was written.

Invariant: nodes never change; a scalar keeps its text as written, and its meaning is found when it is asked for. The mark of a
value under a key is the key's line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from rookery.compose.diagnostics import Mark


class Tag(StrEnum):
    """What an overriding file says of a value apart from the value."""

    NONE = ""
    RESET = "!reset"  # take the key away
    OVERRIDE = "!override"  # replace instead of merging


class Kind(StrEnum):
    NULL = "null"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    text: str
    mark: Mark = field(compare=False)
    plain: bool = False  # written without quotes, so it may be more than text
    tag: Tag = Tag.NONE
    is_broken: bool = False  # its variables could not be put in; that was reported, and nothing more is said of it

    @property
    def kind(self) -> Kind:
        return kind_of(self.text) if self.plain else Kind.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq:
    items: tuple["Node", ...]
    mark: Mark = field(compare=False)
    tag: Tag = Tag.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    entries: Mapping[str, "Node"]
    mark: Mark = field(compare=False)
    tag: Tag = Tag.NONE

    def get(self, key: str) -> "Node | None":
        return self.entries.get(key)


Node = Scalar | Seq | Map

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z|0o?[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")


def kind_of(text: str) -> Kind:
    """The kind of a plain scalar: YAML 1.2's core rules, so `yes`, `on` and `22:22` are text."""
    if text in ("", "~", "null", "Null", "NULL"):
        return Kind.NULL
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return Kind.BOOL
    if _INT.match(text):
        return Kind.INT
    return Kind.FLOAT if _FLOAT.match(text) else Kind.TEXT


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.kind is Kind.NULL


def is_broken(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_broken


def at(node: Node, mark: Mark) -> Node:
    """The same value as if written at `mark`."""
    return replace(node, mark=mark)


def text(value: str, mark: Mark) -> Scalar:
    return Scalar(text=value, mark=mark)


def mapping(values: Mapping[str, "Node | str | None"], mark: Mark) -> Map:
    """A mapping of the values that are not None, all at one place; numbers and flags among them need no quotes."""
    entries: dict[str, Node] = {}
    for key, value in values.items():
        if isinstance(value, str):
            entries[key] = Scalar(text=value, mark=mark, plain=kind_of(value) in (Kind.INT, Kind.BOOL))
        elif value is not None:
            entries[key] = value
    return Map(entries=entries, mark=mark)


def empty(mark: Mark) -> Map:
    return Map(entries={}, mark=mark)


def put(node: Map, key: str, value: Node) -> Map:
    return replace(node, entries={**node.entries, key: value})


def drop(node: Map, *keys: str) -> Map:
    return replace(node, entries={key: value for key, value in node.entries.items() if key not in keys})


def plain(node: Node) -> object:
    """Python's value for a node. A number keeps its text where Python would write it otherwise (`0444`, `1.10`)."""
    match node:
        case Map(entries=entries):
            return {key: plain(value) for key, value in entries.items()}
        case Seq(items=items):
            return [plain(item) for item in items]
        case Scalar(text=written):
            match node.kind:
                case Kind.NULL:
                    return None
                case Kind.BOOL:
                    return written.lower() == "true"
                case Kind.INT if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", written):
                    return int(written)
                case Kind.FLOAT if repr(float(written)) == written:
                    return float(written)
            return written
