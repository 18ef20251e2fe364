"""Nodes that the manager of a local cluster made for pools of the provider `process`: they are nobody's children, and are stopped
with the rest.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_AGENT, _SUPERVISOR = "rookery_agent.main", "supervisor.py"
_STOP_S = 60.0  # as for the other agents
_LOOK_S = 0.1


async def stop(home: Path, *, tell: Callable[[str], None]) -> None:
    """Stops the agents that have their data below `home`, which move away what they run while there is a manager."""
    deadline = time.monotonic() + _STOP_S
    asked: set[int] = set()
    while found := _below(home, (_AGENT,)):
        for agent in found:
            if agent.pid not in asked:
                _signal(agent.terminate)
                asked.add(agent.pid)
        if time.monotonic() > deadline:
            tell(f"{len(found)} nodes of pools did not stop within {_STOP_S:g} s and are killed")
            break
        await asyncio.sleep(_LOOK_S)


async def end(home: Path) -> None:
    """Kills whatever is left there, once there is no manager that could make more."""
    deadline = time.monotonic() + _STOP_S
    while (found := _below(home, (_AGENT, _SUPERVISOR))) and time.monotonic() < deadline:
        for process in found:
            for child in _children(process):
                _signal(child.kill)
            if _AGENT in process.info["cmdline"]:  # supervisors of replicas end with what they run
                _signal(process.kill)
        await asyncio.sleep(_LOOK_S)


def _below(home: Path, programs: tuple[str, ...]) -> "list[psutil.Process]":
    """The living ones of these programs that were given a path below `home`."""
    import psutil  # lazy: only a cluster that stops needs it

    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        ours = any(Path(word).name in programs for word in words)
        if alive and ours and any(word.startswith(f"{home}/") for word in words):
            found.append(process)
    return found


def _children(process: "psutil.Process") -> "list[psutil.Process]":
    import psutil  # lazy: as above

    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _signal(send: Callable[[], None]) -> None:
    import psutil  # lazy: as above

    with contextlib.suppress(psutil.NoSuchProcess):
        send()
