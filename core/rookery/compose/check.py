"""A tree in long form against the description: unknown keys, wrong types, values out of range, keys without effect, refused keys.

Invariant: reports everything at once and changes nothing.
"""

import difflib
from collections.abc import Iterable

from rookery.compose import units
from rookery.compose.diagnostics import Mark, Problems
from rookery.compose.nodes import Kind, Map, Node, Scalar, Seq, is_broken, is_null
from rookery.compose.schema import (
    Anything,
    Command,
    Duration,
    Effect,
    Fault,
    FileMode,
    Flag,
    Key,
    ListOf,
    LocalPath,
    Named,
    Number,
    Object,
    Pairs,
    Size,
    Text,
    Type,
    Whole,
)

MAX_TEXT = 128 * 1024  # Linux's bound of one argument or variable


def check(node: Node, type: Type, path: str, problems: Problems) -> None:
    """Null is the same as the key left out."""
    if is_null(node) or is_broken(node):
        return
    match type:
        case Anything():
            return
        case Object():
            _object(node, type, path, problems)
        case Named():
            _named(node, type, path, problems)
        case ListOf():
            if not isinstance(node, Seq):
                problems.error(node.mark, path, f"expected a list, got {describe(node)}")
                return
            for i, item in enumerate(node.items):
                if is_null(item):
                    problems.error(item.mark, f"{path}[{i}]", "nothing is given here")
                check(item, type.item, f"{path}[{i}]", problems)
        case Command():
            _command(node, path, problems)
        case Pairs():
            if not isinstance(node, Map):
                problems.error(node.mark, path, f"expected a mapping or a list of NAME=value, got {describe(node)}")
                return
            for key, value in node.entries.items():
                if "=" in key or _text_fault(key) is not None:
                    problems.error(value.mark, path, f"'{key[:60]}' is no valid name")
                _check_text(value, f"{path}.{key}", problems)
        case _:
            fault = _scalar_fault(node, type)
            if fault is not None:
                tell = problems.warn if fault.is_warning else problems.error
                tell(node.mark, path, fault.message, fault.hint)


def describe(node: Node) -> str:
    match node:
        case Map():
            return "a mapping"
        case Seq():
            return "a list"
        case Scalar(text=text):
            if is_null(node):
                return "nothing"
            short = text if len(text) <= 60 else text[:57] + "..."
            return f"'{short}'" if node.kind is Kind.TEXT else short


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, or with all of them where they are few."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.7)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known are {', '.join(words)}" if 0 < len(words) <= 15 else ""


def _misplaced(name: str, type: Object) -> str:
    """A hint where the key is known one level below."""
    for outer, key in type.keys.items():
        if isinstance(key.type, Object) and name in key.type.keys:
            return f"did you mean '{outer}.{name}'?"
    return ""


def _report(key: Key, mark: Mark, path: str, problems: Problems) -> None:
    """Says what a key that does not work does instead."""
    if key.effect is Effect.REFUSED:
        problems.error(mark, path, key.note, key.instead)
    elif key.effect is Effect.NONE:
        problems.warn(mark, path, f"has no effect: {key.note}", key.instead)


def _object(node: Node, type: Object, path: str, problems: Problems) -> None:
    if not isinstance(node, Map):
        problems.error(node.mark, path, f"expected {type.what}, got {describe(node)}")
        return
    for name, value in node.entries.items():
        where = f"{path}.{name}" if path else name
        known = type.keys.get(name)
        if known is not None:
            _report(known, value.mark, where, problems)
            check(value, known.type, where, problems)
        elif not (type.extensions and name.startswith("x-")):
            problems.error(value.mark, where, "unknown key", _misplaced(name, type) or did_you_mean(name, type.keys))
    for name in type.required:
        if name not in node.entries or is_null(node.entries[name]):
            problems.error(node.mark, path, f"'{name}' is missing")


def _named(node: Node, type: Named, path: str, problems: Problems) -> None:
    if not isinstance(node, Map):
        form = "a mapping or a list of names" if type.from_list is not None else "a mapping"
        problems.error(node.mark, path, f"expected {form}, got {describe(node)}")
        return
    for name, value in node.entries.items():
        fault = type.name_check(name) if type.name_check is not None else None
        if fault is not None:
            problems.error(value.mark, f"{path}.{name}", fault.message, fault.hint)
        check(value, type.value, f"{path}.{name}", problems)


def _check_text(node: Node, path: str, problems: Problems) -> None:
    if not isinstance(node, Scalar):
        problems.error(node.mark, path, f"expected text, got {describe(node)}")
    elif (fault := _text_fault(node.text)) is not None:
        problems.error(node.mark, path, fault.message, fault.hint)


def _text_fault(text: str) -> Fault | None:
    """What no process could be given."""
    if "\0" in text:
        return Fault(message="contains a NUL character")
    if len(text) > MAX_TEXT:
        return Fault(message=f"{len(text):,} characters are more than the {MAX_TEXT:,} that a process takes", hint="use a config")
    return None


def _command(node: Node, path: str, problems: Problems) -> None:
    if not isinstance(node, Seq):
        problems.error(node.mark, path, f"expected a text or a list of texts, got {describe(node)}")
        return
    for i, item in enumerate(node.items):
        _check_text(item, f"{path}[{i}]", problems)


def _scalar_fault(node: Node, type: Type) -> Fault | None:
    expected = _expected(type)
    if not isinstance(node, Scalar):
        return Fault(message=f"expected {expected}, got {describe(node)}")
    text = node.text
    if (fault := _text_fault(text)) is not None:
        return fault
    wrong = Fault(message=f"expected {expected}, got {describe(node)}")
    match type:
        case Text(choices=choices, check=judge):
            if choices and text not in choices:
                return Fault(message=wrong.message, hint=did_you_mean(text, choices) if len(choices) > 3 else "")
            return judge(text) if judge is not None else None
        case Whole(low=low, high=high):
            value = units.whole(text)
            return wrong if value is None else _range_fault(value, low, high)
        case Number(low=low, high=high):
            amount = units.number(text)
            return wrong if amount is None else _range_fault(amount, low, high)
        case Flag():
            return wrong if units.flag(text) is None else None
        case Duration():
            if units.duration_s(text) is not None:
                return None
            return Fault(message=wrong.message, hint=f"did you mean '{text}s'?" if units.number(text) is not None else "")
        case Size(unbounded=unbounded):
            return None if units.size_bytes(text) is not None or (unbounded and text == "-1") else wrong
        case LocalPath():
            return wrong if not text or "\0" in text else None
        case FileMode():
            return wrong if units.file_mode(text) is None else None
    return None


def _range_fault(value: float, low: float, high: float) -> Fault | None:
    if low <= value <= high:
        return None
    if value < low and high > 10_000:
        return Fault(message=f"expected {low:g} or more, got {value:g}")
    return Fault(message=f"expected {low:g} to {high:.15g}, got {value:.15g}")


def _expected(type: Type) -> str:
    match type:
        case Text(choices=choices, what=what):
            if not choices:
                return what
            return f"'{choices[0]}'" if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
        case Whole():
            return "a whole number"
        case Number():
            return "a number"
        case Flag():
            return "true or false"
        case Duration():
            return "a time such as 1m30s"
        case Size():
            return "a size such as 512m"
        case LocalPath():
            return "a path"
        case FileMode():
            return "an octal file mode such as 0440"
    return "something else"
