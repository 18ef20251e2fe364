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
from rookery_agent.runtime.docker_stream import Stream
from rookery_agent.runtime.protocol import EngineAway, RuntimeFailure

_KEPT = 4096


async def execute(engine: Engine, container_id: str, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
    """The exit status and the first 4 KiB of output. Raises TimeoutError where the command takes too long."""
    made: list[str] = []
    opened: list[Stream] = []
    over = threading.Event()

    def run(client: Any) -> tuple[int, bytes]:
        made.append(client.exec_create(container_id, list(args))["Id"])
        opened.append(Stream(client, f"/exec/{made[0]}/start", body={"Detach": False, "Tty": False}))
        kept = b""
        try:
            for _, piece in opened[0].frames() if not over.is_set() else ():
                kept = (kept + piece)[:_KEPT]
        finally:
            opened[0].close()
        if over.is_set():
            return 0, b""  # to nobody
        return int(client.exec_inspect(made[0])["ExitCode"] or 0), kept

    try:
        return await engine.call(run, timeout_s=timeout_s, pool="exec")
    except (Missing, Conflict) as error:
        raise RuntimeFailure(str(error)) from error
    except EngineAway as error:
        if not made or not await _runs_on(engine, made[0], container_id):
            raise
        raise TimeoutError(f"{args[0]} took longer than {timeout_s:g} s") from error
    finally:  # its thread is free again, also when nobody waits any more
        over.set()
        for stream in opened:
            stream.interrupt()


async def _runs_on(engine: Engine, exec_id: str, container_id: str) -> bool:
    """Whether it is the command that hangs, which is then killed. Raises EngineAway where it is the engine."""
    try:
        inspected = await engine.call(lambda client: client.exec_inspect(exec_id), timeout_s=5)
    except (Missing, Conflict):
        return False
    if inspected["Running"]:
        _kill(int(inspected["Pid"]), container_id)
    return bool(inspected["Running"])


def _kill(pid: int, container_id: str) -> None:
    """Kills the process, if the pid means here what it means to the engine."""
    with contextlib.suppress(OSError):
        if pid > 0 and container_id in Path(f"/proc/{pid}/cgroup").read_text():
            os.kill(pid, signal.SIGKILL)
