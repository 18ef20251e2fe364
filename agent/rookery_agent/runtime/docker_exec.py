"""Commands in running containers, for probes.

Invariant: what a command prints is read to its end but only its beginning kept; a command that takes too long is killed where
its process can be seen from here.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from rookery_agent.runtime.docker_engine import Conflict, Engine, Missing
from rookery_agent.runtime.docker_stream import Stream
from rookery_agent.runtime.protocol import EngineAway, RuntimeFailure

_KEPT = 4096


async def execute(engine: Engine, container_id: str, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
    """The exit status and the first 4 KiB of output. Raises TimeoutError."""
    made: list[str] = []
    opened: list[Stream] = []

    def run(client: Any) -> tuple[int, bytes]:
        made.append(client.exec_create(container_id, list(args))["Id"])
        opened.append(Stream(client, f"/exec/{made[0]}/start", body={"Detach": False, "Tty": False}))
        kept = b""
        try:
            for _, piece in opened[0].frames():
                kept = (kept + piece)[:_KEPT]
        finally:
            opened[0].close()
        return int(client.exec_inspect(made[0])["ExitCode"] or 0), kept

    try:
        return await engine.call(run, timeout_s=timeout_s, pool="exec")
    except (Missing, Conflict) as error:
        raise RuntimeFailure(str(error)) from error
    except EngineAway as error:
        if not made:
            raise
        for stream in opened:
            stream.interrupt()
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
