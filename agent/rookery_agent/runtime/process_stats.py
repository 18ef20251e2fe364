"""CPU and memory of process groups, from one pass over /proc."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    cpu_s: float = 0.0
    memory_bytes: int = 0


def by_session(sessions: Iterable[int]) -> Mapping[int, Usage]:
    """What the processes of each session use now; CPU with that of the children that ended."""
    found = dict.fromkeys(sessions, Usage())
    if not found:
        return found
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        session = int(fields[3])
        if session in found:
            before = found[session]
            found[session] = Usage(
                cpu_s=before.cpu_s + sum(int(field) for field in fields[11:15]) / _TICKS,
                memory_bytes=before.memory_bytes + int(fields[21]) * _PAGE,
            )
    return found
