"""What `rookery context` saves: names for managers, and which one is used. The file is replaced whole, never half written."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`contexts` are addresses by name; `current` names one of them or is empty."""

    contexts: Mapping[str, str] = field(default_factory=dict)
    current: str = ""


def settings_path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "rookery" / "config.json"


def load_settings() -> Settings:
    """What is saved; nothing where there is no file. Raises ClickException for one that can't be read."""
    path = settings_path()
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise click.ClickException(f"{path}: not JSON ({error}); mend or remove it") from None
    contexts = data.get("contexts", {}) if isinstance(data, dict) else None
    if not isinstance(contexts, dict) or not all(isinstance(address, str) for address in contexts.values()):
        raise click.ClickException(f'{path}: expected {{"contexts": {{NAME: "HOST:PORT"}}, "current": NAME}}; mend or remove it')
    return Settings(contexts=contexts, current=str(data.get("current", "")))


def save_settings(settings: Settings) -> None:
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"contexts": dict(settings.contexts), "current": settings.current}, indent=2) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)
