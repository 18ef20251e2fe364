"""Commands in running containers, for probes.

Invariant: what a command prints is read to its end but only its beginning kept; a command that takes too long is killed where
its process can be seen from here.
"""

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

from rookery_agent.runtime.docker_engine import Conflict, Engine, Missing
from rookery_agent.runtime.protocol import EngineAway, RuntimeFailure

_KEPT = 4096


async def execute(engine: Engine, container_id: str, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
    """The exit status and the first 4 KiB of output. Raises TimeoutError."""
    made: list[str] = []
    late = threading.Event()

    def run(client: Any) -> tuple[int, bytes]:
        exec_id = client.exec_create(container_id, list(args))["Id"]
        made.append(exec_id)
        kept = bytearray()
        for piece in client.exec_start(exec_id, stream=True):
            if len(kept) < _KEPT:
                kept += piece[: _KEPT - len(kept)]
            if late.is_set():
                return -1, b""
        return int(client.exec_inspect(exec_id)["ExitCode"] or 0), bytes(kept)

    try:
        return await engine.call(run, timeout_s=timeout_s, pool="exec")
    except (Missing, Conflict) as error:
        raise RuntimeFailure(str(error)) from error
    except EngineAway as error:
        if not made:
            raise
        late.set()
        with contextlib.suppress(RuntimeFailure):
            inspected = await engine.call(lambda client: client.exec_inspect(made[0]), timeout_s=5)
            if not inspected["Running"]:
                raise
            _kill(int(inspected["Pid"]), container_id)
        raise TimeoutError(f"{args[0]} took longer than {timeout_s:g} s") from error


def _kill(pid: int, container_id: str) -> None:
    """Kills the process, if the pid means here what it means to the engine."""
    with contextlib.suppress(OSError):
        if pid > 0 and container_id in Path(f"/proc/{pid}/cgroup").read_text():
            os.kill(pid, signal.SIGKILL)
