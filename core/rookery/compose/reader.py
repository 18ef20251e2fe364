"""YAML text to nodes, from the parser's events.

Invariant: work and memory are bounded by the limits below whatever the input: aliases share the node they name, and what they
would expand to is counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from rookery.compose.diagnostics import Mark, Problems, Source
from rookery.compose.files import MAX_BYTES
from rookery.compose.nodes import Map, Node, Scalar, Seq, Tag, at

MAX_VALUES = 200_000
MAX_DEPTH = 64

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD = "tag:yaml.org,2002:"
_TAGS = {"!reset": Tag.RESET, "!override": Tag.OVERRIDE}


class _Stop(Exception):
    """Reading can't go on; the reason is among the problems."""


@dataclass(slots=True)
class _Open:
    """A collection whose end was not met yet."""

    mark: Mark
    tag: Tag
    anchor: str | None
    is_map: bool
    size: int = 1
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    merged: list[Node] = field(default_factory=list)  # what `<<` names
    key: str | None = None
    key_mark: Mark | None = None
    key_is_merge: bool = False
    key_is_bad: bool = False


class _Builder:
    def __init__(self, source: Source, problems: Problems) -> None:
        self.source = source
        self.problems = problems
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.stack: list[_Open] = []
        self.documents: list[Node] = []

    def mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        return Mark(source=self.source, line=start.line + 1 if start is not None else 0)

    def path(self) -> str:
        parts = ""
        for frame in self.stack:
            if frame.is_map and frame.key is not None:
                parts += f".{frame.key}"
            elif not frame.is_map:
                parts += f"[{len(frame.items)}]"
        return parts.lstrip(".")

    def stop(self, mark: Mark, message: str, hint: str = "") -> _Stop:
        self.problems.error(mark, self.path(), message, hint)
        return _Stop()

    def tag(self, written: str | None, mark: Mark) -> Tag:
        if written is None or written == "!" or written.startswith(_STANDARD):
            return Tag.NONE
        if written not in _TAGS:
            self.problems.error(mark, self.path(), f"unknown tag '{written}'", "known are !reset and !override")
        return _TAGS.get(written, Tag.NONE)

    def feed(self, event: yaml.Event) -> None:
        mark = self.mark(event)
        match event:
            case yaml.DocumentStartEvent():
                self.anchors.clear()
            case yaml.AliasEvent(anchor=anchor):
                if anchor not in self.anchors:
                    raise self.stop(mark, f"alias '*{anchor}' has no anchor '&{anchor}' before it")
                known = self.anchors[anchor]
                if known is None:
                    raise self.stop(mark, f"alias '*{anchor}' is inside the value that its anchor names")
                self.add(at(known[0], mark) if self.stack and not self.stack[-1].is_map else known[0], known[1], mark)
            case yaml.ScalarEvent(value=value, anchor=anchor):
                if not isinstance(value, str):
                    raise self.stop(mark, "expected text")
                may_mean = event.implicit[0] or ((event.tag or "").startswith(_STANDARD) and event.tag != f"{_STANDARD}str")
                node = Scalar(text=value, mark=mark, plain=bool(may_mean), tag=self.tag(event.tag, mark))
                if anchor is not None:
                    self.anchors[anchor] = (node, 1)
                self.add(node, 1, mark)
            case yaml.MappingStartEvent(anchor=anchor) | yaml.SequenceStartEvent(anchor=anchor):
                if len(self.stack) >= MAX_DEPTH:
                    raise self.stop(mark, f"nested deeper than {MAX_DEPTH} levels")
                if anchor is not None:
                    self.anchors[anchor] = None
                is_map = isinstance(event, yaml.MappingStartEvent)
                self.stack.append(_Open(mark=mark, tag=self.tag(event.tag, mark), anchor=anchor, is_map=is_map))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.close()

    def add(self, node: Node, size: int, mark: Mark) -> None:
        """Puts a finished node where it belongs: a document, an item, a key or the value of the key before it."""
        if not self.stack:
            self.documents.append(node)
            return
        frame = self.stack[-1]
        frame.size += size
        if frame.size > MAX_VALUES:
            raise self.stop(mark, f"more than {MAX_VALUES} values once aliases are expanded")
        if not frame.is_map:
            frame.items.append(node)
        elif frame.key is None:
            self.take_key(frame, node, mark)
        else:
            self.take_value(frame, node)

    def take_key(self, frame: _Open, node: Node, mark: Mark) -> None:
        frame.key_mark, frame.key_is_merge, frame.key_is_bad = mark, False, False
        if not isinstance(node, Scalar):
            self.problems.error(mark, self.path(), "a key must be text, not a list or a mapping")
            frame.key, frame.key_is_bad = "?", True
            return
        frame.key = node.text
        frame.key_is_merge = node.plain and node.text == "<<"
        if not node.text:
            self.problems.error(mark, self.path(), "a key must not be empty")
            frame.key_is_bad = True
        elif node.text in frame.lines and not frame.key_is_merge:
            first = frame.lines[node.text]
            self.problems.error(mark, self.path(), f"key '{node.text}' is given twice", f"first on line {first}")
        frame.lines.setdefault(node.text, mark.line)

    def take_value(self, frame: _Open, node: Node) -> None:
        key, mark = frame.key, frame.key_mark
        assert key is not None
        assert mark is not None
        if frame.key_is_merge:
            sources = node.items if isinstance(node, Seq) else (node,)
            if all(isinstance(source, Map) for source in sources):
                frame.merged.extend(sources)
            else:
                self.problems.error(mark, self.path(), "'<<' takes a mapping or a list of mappings")
        elif not frame.key_is_bad:
            frame.entries[key] = at(node, mark)
        frame.key = None

    def close(self) -> None:
        frame = self.stack.pop()
        node: Node
        if frame.is_map:
            entries: dict[str, Node] = {}
            for source in reversed(frame.merged):  # the first named wins
                assert isinstance(source, Map)
                entries.update(source.entries)
            node = Map(entries={**entries, **frame.entries}, mark=frame.mark, tag=frame.tag)
        else:
            node = Seq(items=tuple(frame.items), mark=frame.mark, tag=frame.tag)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (node, frame.size)
        self.add(node, frame.size, frame.mark)


def read(content: bytes, source: Source, problems: Problems) -> tuple[Map, ...]:
    """The documents of one file; what can't be read is reported and left out. A document without content is none."""
    whole = Mark(source=source, line=0)
    if len(content) > MAX_BYTES:
        problems.error(whole, "", f"larger than {MAX_BYTES // 1024 // 1024} MiB")
        return ()
    try:
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problems.error(Mark(source=source, line=line), "", "not UTF-8 text")
        return ()
    builder = _Builder(source, problems)
    try:
        for event in _events(written):
            builder.feed(event)
    except _Stop:
        return ()
    except yaml.YAMLError as error:
        problems.error(Mark(source=source, line=_line(error, content)), "", f"not valid YAML: {_reason(error)}")
        return ()
    found: list[Map] = []
    for document in builder.documents:
        if isinstance(document, Map):
            found.append(document)
        elif not (isinstance(document, Scalar) and document.text == ""):
            problems.error(document.mark, "", "expected a mapping with `services:`")
    return tuple(found)


def _events(written: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(written, Loader=_LOADER)


def _line(error: yaml.YAMLError, content: bytes) -> int:
    if isinstance(error, yaml.reader.ReaderError):
        return content[: error.position].count(b"\n") + 1
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark is not None else 0


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        character = error.character
        return (
            f"character {character!r} is not allowed"
            if isinstance(character, str)
            else f"character U+{character:04X} is not allowed"
        )
    context = getattr(error, "context", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{problem} {context}" if context else str(problem)
