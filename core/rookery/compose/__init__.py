"""Compose files to an AppSpec: read, interpolate, merge, check, resolve. Errors name the file, the line and the path of keys.

Importing this is cheap: the YAML parser and the description of the format are loaded with the first file.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rookery.compose.diagnostics import ComposeError, Diagnostic
from rookery.compose.files import find_files

if TYPE_CHECKING:
    from rookery.compose.loader import Loaded

__all__ = ["ComposeError", "Diagnostic", "Loaded", "dump", "find_files", "load"]


def load(
    files: Sequence[Path],
    *,
    app: str | None = None,
    env: Mapping[str, str] | None = None,
    env_files: Sequence[Path] = (),
    profiles: Sequence[str] = (),
    project_dir: Path | None = None,
) -> "Loaded":
    """What the files describe, merged in order; raises ComposeError with everything that is wrong.

    The file `-` is standard input. `env` is this process's environment unless given; it goes before `.env`, which `env_files`
    replace.
    """
    from rookery.compose import loader  # lazy: YAML is only needed here

    known = os.environ if env is None else env
    return loader.load(files, app=app, env=known, env_files=env_files, profiles=profiles, project_dir=project_dir)


def dump(resolved: Mapping[str, object]) -> str:
    """A resolved document as YAML that loads to the same app again."""
    from rookery.compose import dumper  # lazy: YAML is only needed here

    return dumper.dump(resolved)


def __getattr__(name: str) -> object:
    if name == "Loaded":
        from rookery.compose.loader import Loaded

        return Loaded
    raise AttributeError(name)
