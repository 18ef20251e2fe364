"""Amounts of CPU and memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """CPU in cores (0.5 is half a core), memory in bytes; `pids` is a limit only: 0 is the agent's default, -1 none."""

    cpus: float = 0.0
    memory_bytes: int = 0
    pids: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(cpus=self.cpus + other.cpus, memory_bytes=self.memory_bytes + other.memory_bytes)

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(cpus=self.cpus - other.cpus, memory_bytes=self.memory_bytes - other.memory_bytes)
