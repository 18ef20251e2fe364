"""What the tests of compose files share: files written into a directory of their own, and what loading them says."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from rookery.compose import ComposeError, load
from rookery.compose.loader import Loaded
from rookery.model import ServiceSpec


class Load(Protocol):
    def __call__(
        self,
        text: str,
        *overrides: str,
        env: Mapping[str, str] | None = None,
        profiles: Sequence[str] = (),
        env_files: Sequence[Path] = (),
        app: str | None = "shop",
    ) -> Loaded: ...


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the compose file, and the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loaded(directory: Path) -> Load:  # noqa: ARG001 (files are written into the current directory)
    """Loads `compose.yml` with this text, and further texts over it as `over1.yml`, `over2.yml` …"""

    def load_text(
        text: str,
        *overrides: str,
        env: Mapping[str, str] | None = None,
        profiles: Sequence[str] = (),
        env_files: Sequence[Path] = (),
        app: str | None = "shop",
    ) -> Loaded:
        files = [Path("compose.yml"), *(Path(f"over{i}.yml") for i in range(1, len(overrides) + 1))]
        for path, content in zip(files, (text, *overrides), strict=True):
            path.write_text(content)
        return load(files, app=app, env=env or {}, profiles=profiles, env_files=env_files)

    return load_text


@pytest.fixture
def errors(loaded: Load) -> Callable[..., list[str]]:
    """All errors of a text, one a line; none is a failure."""

    def of(text: str, *overrides: str, **settings: object) -> list[str]:
        with pytest.raises(ComposeError) as raised:
            loaded(text, *overrides, **settings)  # type: ignore[arg-type]
        return [str(error) for error in raised.value.errors]

    return of


@pytest.fixture
def service(loaded: Load) -> Callable[..., ServiceSpec]:
    """The spec of one service `web` with the image `i` and these keys below it (each line begins in the first column)."""

    def of(keys: str, rest: str = "", **settings: object) -> ServiceSpec:
        return next(spec for spec in loaded(one(keys, rest), **settings).app.services if spec.name == "web")  # type: ignore[arg-type]

    return of


@pytest.fixture
def warnings(loaded: Load) -> Callable[..., list[str]]:
    """All warnings of one service `web` with these keys."""

    def of(keys: str, rest: str = "", **settings: object) -> list[str]:
        return [str(warning) for warning in loaded(one(keys, rest), **settings).warnings]  # type: ignore[arg-type]

    return of


def one(keys: str, rest: str = "") -> str:
    """`keys` begin on line 4."""
    lines = "".join(f"    {line}\n" for line in keys.strip("\n").splitlines())
    return f"services:\n  web:\n    image: i\n{lines}{rest}"
