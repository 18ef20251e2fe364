"""Variables in text: `$A`, `${A}`, `${A:-b}`, `${A-b}`, `${A:?e}`, `${A?e}`, `${A:+r}`, `${A+r}`, nested, and `$$` for a dollar.

Invariant: pure; an operand that is not chosen is never looked at for its variables.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from rookery.compose.diagnostics import Problems
from rookery.compose.nodes import Map, Node, Scalar, Seq

MAX_NESTING = 20

Lookup = Callable[[str], str | None]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


class BadVariable(Exception):
    """Text whose variables can't be put in; the message says why, `hint` the way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def interpolate(text: str, lookup: Lookup, unset: Callable[[str], None], depth: int = 0) -> str:
    """The text with its variables put in. `unset` hears of each variable that has no value and no default."""
    if "$" not in text:
        return text
    if depth > MAX_NESTING:
        raise BadVariable(f"variables nested deeper than {MAX_NESTING} levels")
    out: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        rest = text[dollar + 1 : dollar + 2]
        if rest == "$":
            out.append("$")
            at = dollar + 2
        elif rest == "{":
            end = _closing(text, dollar)
            out.append(_braced(text[dollar + 2 : end], lookup, unset, depth))
            at = end + 1
        elif name := _NAME.match(text, dollar + 1):
            out.append(_value(name.group(), lookup, unset))
            at = name.end()
        else:
            raise BadVariable(f"'$' begins no variable in '{_short(text)}'", "write $$ for a dollar sign")
    out.append(text[at:])
    return "".join(out)


def _closing(text: str, dollar: int) -> int:
    """Where the brace that opens after `dollar` is closed, past the ones nested in it."""
    depth, at = 0, dollar
    while at < len(text):
        if text.startswith("$$", at):
            at += 2
        elif text.startswith("${", at):
            depth += 1
            at += 2
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
            at += 1
        else:
            at += 1
    raise BadVariable(f"'${{' is never closed in '{_short(text)}'", "write $$ for a dollar sign")


def _braced(inside: str, lookup: Lookup, unset: Callable[[str], None], depth: int) -> str:
    name = _NAME.match(inside)
    if name is None:
        raise BadVariable(f"'${{{_short(inside)}}}' names no variable", "a name is letters, digits and _, as in ${NAME}")
    rest = inside[name.end() :]
    if not rest:
        return _value(name.group(), lookup, unset)
    operator = _OPERATOR.match(rest)
    if operator is None:
        known = "${NAME}, ${NAME:-default}, ${NAME:?message} or ${NAME:+replacement}"
        raise BadVariable(f"'${{{_short(inside)}}}' is not understood", f"write {known}")
    sign, operand = operator.group(), rest[operator.end() :]
    value = lookup(name.group())
    given = value is not None and (value != "" or not sign.startswith(":"))
    if sign.endswith("+"):
        return interpolate(operand, lookup, unset, depth + 1) if given else ""
    if given:
        assert value is not None
        return value
    if sign.endswith("-"):
        return interpolate(operand, lookup, unset, depth + 1)
    said = interpolate(operand, lookup, unset, depth + 1)
    raise BadVariable(
        f"variable {name.group()} is required" + (f": {said}" if said else ""), "set it in the environment or in .env"
    )


def _value(name: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    value = lookup(name)
    if value is None:
        unset(name)
        return ""
    return value


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def interpolate_tree(node: Node, env: Mapping[str, str], problems: Problems, warned: set[str], path: str = "") -> Node:
    """The tree with variables put into every value; keys stay. Each unset variable is warned of once (`warned`)."""
    match node:
        case Map(entries=entries):
            done = {
                key: interpolate_tree(value, env, problems, warned, f"{path}.{key}" if path else key)
                for key, value in entries.items()
            }
            return replace(node, entries=done)
        case Seq(items=items):
            return replace(
                node, items=tuple(interpolate_tree(item, env, problems, warned, f"{path}[{i}]") for i, item in enumerate(items))
            )
        case Scalar(text=text):
            if "$" not in text:
                return node

            def unset(name: str) -> None:
                if name not in warned:
                    warned.add(name)
                    problems.warn(
                        node.mark,
                        path,
                        f"variable {name} is not set, so it is empty",
                        "give it a default: ${" + name + ":-value}",
                    )

            try:
                return replace(node, text=interpolate(text, env.get, unset), plain=False)  # a variable's value is text
            except BadVariable as error:
                problems.error(node.mark, path, str(error), error.hint)
                return replace(node, text="", plain=False, is_broken=True)
