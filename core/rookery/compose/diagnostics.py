"""What is wrong with a compose file, and where: every finding has a file, a line and a path of keys.

Invariant: findings are collected, never raised one by one, so that a single run shows all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file as the user named it, and the directory that relative paths in it start from."""

    name: str
    base: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line of a source, counted from 1; 0 is the file as a whole."""

    source: Source
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    file: str
    line: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{path} {self.message}{hint}"


class ComposeError(Exception):
    """A compose file that can't be used, with everything found wrong in it."""

    def __init__(self, errors: tuple[Diagnostic, ...], warnings: tuple[Diagnostic, ...] = ()) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors
        self.warnings = warnings


class Problems:
    """Collects findings, each once."""

    def __init__(self) -> None:
        self._errors: dict[Diagnostic, None] = {}
        self._warnings: dict[Diagnostic, None] = {}

    def error(self, mark: Mark, path: str, message: str, hint: str = "") -> None:
        self._errors[_diagnostic(mark, path, message, hint)] = None

    def warn(self, mark: Mark, path: str, message: str, hint: str = "") -> None:
        self._warnings[_diagnostic(mark, path, message, hint)] = None

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return _in_order(self._errors)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return _in_order(self._warnings)

    def stop_if_any(self) -> None:
        """Raises all errors found so far, if there are any."""
        if self._errors:
            raise ComposeError(self.errors, self.warnings)


def _in_order(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """File by file as they were met, and by line within each."""
    listed = list(found)
    files = {file: i for i, file in enumerate(dict.fromkeys(finding.file for finding in listed))}
    return tuple(sorted(listed, key=lambda finding: (files[finding.file], finding.line)))


def _diagnostic(mark: Mark, path: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(file=mark.source.name, line=mark.line, path=path, message=message, hint=hint)
