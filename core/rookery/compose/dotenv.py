"""Files of variables: `.env`, `env_file` and label files.

Lines are `NAME=value` or `export NAME=value`; `#` begins a comment at the start of a line or after a space. Values in single
quotes are taken as they are, in double quotes with escapes and variables, without quotes with variables; quoted ones may span
lines. A name alone takes its value from outside.

Invariant: pure; a bad line is reported and left out.
"""

import re
from collections.abc import Mapping

from rookery.compose.diagnostics import Mark, Problems, Source
from rookery.compose.interpolate import BadVariable, interpolate

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.\-\[\]]*)[ \t]*(?:=|:(?=[ \t]|\Z))[ \t]*")
_NAME_ALONE = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.\-]*)[ \t]*(?:#.*)?\Z")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$$", "'": "'"}


def parse(content: str, source: Source, env: Mapping[str, str], problems: Problems, *, raw: bool = False) -> dict[str, str]:
    """The variables of a file. `env` goes before what the file itself says when one value uses another."""
    return _raw(content, source, problems) if raw else _parse(content, source, env, problems)


def _raw(content: str, source: Source, problems: Problems) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if equals and name.strip():
            found[name.strip()] = value
        else:
            problems.error(Mark(source=source, line=number), "", "expected NAME=value")
    return found


def _parse(content: str, source: Source, env: Mapping[str, str], problems: Problems) -> dict[str, str]:
    found: dict[str, str] = {}
    lines = content.replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(lines):
        line, mark = lines[number], Mark(source=source, line=number + 1)
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment is None:
            alone = _NAME_ALONE.match(line)
            if alone is None:
                problems.error(mark, "", f"expected NAME=value, got '{line.strip()[:60]}'")
            elif (given := env.get(alone["name"])) is not None:
                found[alone["name"]] = given
            continue
        rest = line[assignment.end() :]
        quote = rest[:1]
        if quote in ("'", '"') and rest:
            while (end := _closing(rest, quote)) < 0 and number < len(lines):
                rest += "\n" + lines[number]
                number += 1
            if end < 0:
                problems.error(mark, assignment["name"], f"the quote {quote} is never closed")
                continue
            after = rest[end + 1 :].strip()
            if after and not after.startswith("#"):
                problems.error(mark, assignment["name"], f"unexpected text after the closing quote: '{after[:40]}'")
                continue
            value = rest[1:end]
            if quote == "'":
                found[assignment["name"]] = value
                continue
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), value, flags=re.DOTALL)
        else:
            value = re.split(r"(?:^|[ \t])#", rest, maxsplit=1)[0].strip()
        found[assignment["name"]] = _fill(value, assignment["name"], env, found, mark, problems)
    return found


def _fill(value: str, name: str, env: Mapping[str, str], found: Mapping[str, str], mark: Mark, problems: Problems) -> str:
    def lookup(wanted: str) -> str | None:
        return env[wanted] if wanted in env else found.get(wanted)

    def unset(missing: str) -> None:
        problems.warn(mark, name, f"variable {missing} is not set, so it is empty")

    try:
        return interpolate(value, lookup, unset)
    except BadVariable as error:
        problems.error(mark, name, str(error), error.hint + ", or put the value in single quotes" if error.hint else "")
        return ""


def _closing(text: str, quote: str) -> int:
    """Where the quote that begins the text is closed, or -1."""
    at = 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 2
        elif text[at] == quote:
            return at
        else:
            at += 1
    return -1
