"""Whether a spec can be carried out: any gRPC client may send anything.

Invariant: what passes here can be stored, planned, placed and handed to an agent without any of them having to doubt it. All
faults are found at once, each with the path of the field: `services.web.ports[0].target: …`.
"""

import dataclasses
import hashlib
import math
import re
from collections.abc import Collection, Iterator, Mapping

from rookery.model import AppSpec, FileContent, Replicated, ReplicatedJob, RuntimeKind, ServiceSpec

from rookery_manager.planners.apply import FileName
from rookery_manager.planners.ports import own_clashes
from rookery_manager.planners.validate_autoscale import autoscale_faults
from rookery_manager.planners.validate_parts import (
    allow_faults,
    balancing_faults,
    container_faults,
    port_faults,
    probe_faults,
)
from rookery_manager.planners.validate_rollout import rollout_faults
from rookery_manager.scheduler.constraint import check_attribute, parse_constraint

MAX_SERVICES = 1_000
MAX_REPLICAS = 10_000
MAX_FILE_BYTES = 1024 * 1024
MAX_TEXT = 128 * 1024  # what one string of a spec may take; Linux takes no longer argument or environment variable
MAX_SECONDS = 1e9  # some 30 years: as good as for ever, and no engine overflows on it
MAX_NUMBER = 2**62
SHOWN = 200  # characters of a text from outside

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAY_BE_NEGATIVE = frozenset({"oom_score_adj", "soft", "hard", "pids"})


def name_fault(name: str) -> str:
    """What is wrong with the name of an app or service; empty where nothing is."""
    if _NAME.fullmatch(name):
        return ""
    return f"{_short(name)} is no name: use 1 to 63 of a-z, 0-9, _ and -, a letter or digit first"


def app_faults(spec: AppSpec, *, others: Collection[str], stored: Collection[FileName]) -> Iterator[str]:
    """All that is wrong. `others` are services of the app that stay although the spec does not name them, `stored` the files
    whose content is there already."""
    if fault := name_fault(spec.name):
        yield f"name: {fault}"
    if len(spec.services) > MAX_SERVICES:
        yield f"services: {len(spec.services)} of them; an app has at most {MAX_SERVICES}"
        return
    names = [service.name for service in spec.services]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"services.{_short(name)}: named {names.count(name)} times"
    sent = set()
    for index, file in enumerate(spec.files):
        yield from _file_faults(file, f"files[{index}]")
        sent.add((file.kind, file.name, file.digest))
    for index, service in enumerate(spec.services):
        fault = name_fault(service.name)
        path = f"services[{index}]" if fault else f"services.{service.name}"
        if fault:
            yield f"{path}.name: {fault}"
        yield from _service_faults(service, path)
        for at, mount in enumerate(service.container.files):
            wanted = (mount.kind, mount.name, mount.digest)
            if not mount.source and wanted not in sent and wanted not in stored:
                yield (
                    f"{path}.container.files[{at}]: the content of {mount.kind} {_short(mount.name)} (sha256 "
                    f"{mount.digest[:12] or 'missing'}) is neither sent nor stored; send it in `files`"
                )
    yield from _dependency_faults(spec, frozenset(others))
    yield from own_clashes(spec)


def _service_faults(spec: ServiceSpec, path: str) -> Iterator[str]:
    yield from value_faults(spec, path)
    if isinstance(spec.mode, Replicated | ReplicatedJob) and spec.mode.replicas > MAX_REPLICAS:
        yield f"{path}.mode.replicas: {spec.mode.replicas} are too many; the most is {MAX_REPLICAS}"
    if spec.runtime is RuntimeKind.PROCESS:
        if not any(argv and argv.args and argv.args[0] for argv in (spec.container.entrypoint, spec.container.command)):
            yield f"{path}.container.command: a service of the process runtime needs a command to run"
    elif not spec.container.image:
        yield f"{path}.container.image: missing; say which image to run, or set the runtime to `process`"
    for name in ("cpus", "memory_bytes"):
        reserved, limit = getattr(spec.reservations, name), getattr(spec.limits, name)
        if 0 < limit < reserved:
            yield f"{path}.reservations.{name}: {reserved:g} is more than the limit, {limit:g}"
    for index, text in enumerate(spec.placement.constraints):
        try:
            parse_constraint(text)
        except ValueError as error:
            yield f"{path}.placement.constraints[{index}]: {_short(str(error))}"
    for index, text in enumerate(spec.placement.preferences):
        try:
            check_attribute(text)
        except ValueError as error:
            yield f"{path}.placement.preferences[{index}]: {_short(str(error))}"
    for name in ("update", "rollback"):
        ratio = getattr(spec, name).max_failure_ratio
        if ratio > 1:
            yield f"{path}.{name}.max_failure_ratio: {ratio:g} is not between 0 and 1"
    yield from container_faults(spec.container, f"{path}.container")
    yield from port_faults(spec, path)
    yield from probe_faults(spec.probe, f"{path}.probe")
    yield from rollout_faults(spec, path)
    yield from balancing_faults(spec.balancing, f"{path}.balancing")
    yield from allow_faults(spec.allow, f"{path}.allow")
    if spec.autoscale is not None:
        yield from autoscale_faults(spec, spec.autoscale, f"{path}.autoscale")


def stored_file_fault(name: str, size_bytes: int) -> str:
    """What is wrong with a secret or config that is made by itself; empty where nothing is."""
    if not _FILE_NAME.fullmatch(name):
        return f"name: {_short(name)} is no name: use 1 to 128 of A-Z, a-z, 0-9, _, . and -, a letter or digit first"
    if not 0 < size_bytes <= MAX_FILE_BYTES:
        return f"content: {size_bytes} bytes; it must have 1 to {MAX_FILE_BYTES}"
    return ""


def _file_faults(file: FileContent, path: str) -> Iterator[str]:
    if not _FILE_NAME.fullmatch(file.name):
        yield f"{path}.name: {_short(file.name)} is no name for a {file.kind}"
    if len(file.content) > MAX_FILE_BYTES:
        yield f"{path}.content: {len(file.content)} bytes; a {file.kind} has at most {MAX_FILE_BYTES}"
    elif not _DIGEST.fullmatch(file.digest):
        yield f"{path}.digest: not the sha256 of the content in 64 hexadecimal digits"
    elif hashlib.sha256(file.content).hexdigest() != file.digest:
        yield f"{path}.digest: is not the sha256 of the content"


def _dependency_faults(spec: AppSpec, others: frozenset[str]) -> Iterator[str]:
    named = {service.name: service for service in spec.services}
    for service in spec.services:
        for index, dependency in enumerate(service.depends_on):
            if dependency.service not in named and dependency.service not in others and dependency.required:
                path = f"services.{service.name}.depends_on[{index}]"
                yield f"{path}: there is no service {_short(dependency.service)} in {spec.name}"
    cycle = find_cycle({name: [d.service for d in service.depends_on if d.service in named] for name, service in named.items()})
    if cycle:
        yield f"services.{cycle[0]}.depends_on: goes round in a circle: {' -> '.join(cycle)}"


def find_cycle(edges: Mapping[str, list[str]]) -> list[str]:
    """The names along one circle, the first again at the end; empty where there is none."""
    done: set[str] = set()
    for start in edges:
        path = [start]
        left = [iter(edges[start])] if start not in done else []
        while left:
            following = next(left[-1], None)
            if following is None:
                left.pop()
                done.add(path.pop())
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following not in done:
                path.append(following)
                left.append(iter(edges[following]))
    return []


def value_faults(value: object, path: str, name: str = "") -> Iterator[str]:
    """What is wrong with a value whatever it means: numbers that are none, negative ones, texts that no system call takes."""
    match value:
        case bool() | None:
            return
        case str():
            if "\0" in value:
                yield f"{path}: contains a NUL character"
            elif len(value) > MAX_TEXT:
                yield f"{path}: {len(value)} characters are too many; the most is {MAX_TEXT}"
        case int() | float():
            if not math.isfinite(value):
                yield f"{path}: {value} is no number to work with"
            elif value < 0 and name not in _MAY_BE_NEGATIVE:
                yield f"{path}: {value:g} is negative"
            elif name.endswith("_s") and value > MAX_SECONDS:
                yield f"{path}: {value:g} s are too many; the most is {MAX_SECONDS:g}"
            elif abs(value) > MAX_NUMBER:
                yield f"{path}: {value:g} is too much"
        case Mapping():
            for key, text in value.items():
                if not key or "=" in key or "\0" in key:
                    yield f"{path}: {_short(key)} is no name for an entry"
                else:
                    yield from value_faults(text, f"{path}.{_short(key)}")
        case tuple():
            for index, item in enumerate(value):
                yield from value_faults(item, f"{path}[{index}]")
        case _ if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                yield from value_faults(getattr(value, field.name), f"{path}.{field.name}", field.name)


def _short(text: str) -> str:
    """A text from outside as it may be shown: printable, and not endless."""
    text = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    return text if text and text.isprintable() else repr(text)
