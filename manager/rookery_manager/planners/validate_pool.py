"""What a pool's spec must be to be of use: all faults at once, each with its path."""

import re
from collections.abc import Iterator

from rookery.model import POOL_LABEL, PoolSpec, ProviderKind, RuntimeKind

MOST_NODES = 200
LONGEST_S = 86_400.0
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_./-]{0,126}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[^\s:]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}")
_SETTINGS = frozenset({"image", "network", "endpoints", "socket"})


def pool_faults(name: str, spec: PoolSpec) -> list[str]:
    """One line a fault."""
    return [*_name_faults(name), *_number_faults(spec), *_provider_faults(spec), *_word_faults(spec)]


def _name_faults(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "name: must be 1 to 40 small letters, digits and '-' between them: its nodes are called by it"


def _number_faults(spec: PoolSpec) -> Iterator[str]:
    if not 1 <= spec.max <= MOST_NODES:
        yield f"max: must be from 1 to {MOST_NODES}, got {spec.max}"
    if spec.min < 0:
        yield f"min: must be 0 or more, got {spec.min}"
    elif spec.min > spec.max:
        yield f"min: {spec.min} is more than max, which is {spec.max}"
    if spec.spare not in (0, 1):
        yield f"spare: must be 0 or 1, got {spec.spare}"
    for field, least in (("shrink_after_s", 0.0), ("join_timeout_s", 1.0), ("call_timeout_s", 1.0)):
        value = getattr(spec, field)
        if not least <= value <= LONGEST_S:
            yield f"{field}: must be from {least:g} to {LONGEST_S:g} seconds, got {value:g}"
    if not 0 <= spec.size.cpus <= 100_000:
        yield f"size.cpus: must be from 0 to 100000, got {spec.size.cpus:g}"
    if spec.size.memory_bytes < 0:
        yield f"size.memory_bytes: must be 0 or more, got {spec.size.memory_bytes}"


def _provider_faults(spec: PoolSpec) -> Iterator[str]:
    match spec.provider:
        case ProviderKind.COMMAND:
            if not spec.command or not spec.command[0].startswith("/"):
                yield "command: the provider command needs the path of a program on the manager's machine, beginning with /"
        case ProviderKind.DOCKER:
            if not spec.settings.get("image"):
                yield "settings.image: the provider docker needs an image with Rookery in it"
            for key in sorted(spec.settings.keys() - _SETTINGS):
                yield f"settings.{key!r}: unknown to the provider docker; it knows {', '.join(sorted(_SETTINGS))}"
        case ProviderKind.PROCESS:
            if spec.settings:
                yield "settings: the provider process has none"
            if spec.runtime is not RuntimeKind.PROCESS:
                yield "runtime: nodes of the provider process run replicas by process"
    if spec.command and spec.provider is not ProviderKind.COMMAND:
        yield f"command: only for the provider command, not for {spec.provider}"
    if len(spec.command) > 100 or any(not word.isprintable() or len(word) > 1000 for word in spec.command):
        yield "command: must be at most 100 words, each of at most 1000 printable characters"


def _word_faults(spec: PoolSpec) -> Iterator[str]:
    for key, value in sorted(spec.labels.items()):
        if not _LABEL.fullmatch(key) or key == POOL_LABEL:
            yield f"labels.{key[:200]!r}: no name that a label may have here"
        if len(value) > 256 or (value and not value.isprintable()):
            yield f"labels.{key[:200]!r}: must be at most 256 printable characters"
    if len(spec.labels) > 100 or len(spec.settings) > 100:
        yield "labels, settings: at most 100 of each"
    for key, value in sorted(spec.settings.items()):
        if not key or len(key) > 100 or len(value) > 4000 or not (key + value).isprintable():
            yield f"settings.{key[:100]!r}: must be printable, the name of at most 100 characters and the value of at most 4000"
    if spec.manager and not _ADDRESS.fullmatch(spec.manager):
        yield f"manager: expected HOST:PORT, got {spec.manager[:200]!r}"
