"""Runs one command to its end with a deadline, for probes of plain processes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping

from rookery_agent.runtime.protocol import RuntimeFailure

_KEPT = 4096


async def command(
    args: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    folder: str,
    who: tuple[int | None, int | None, tuple[int, ...]],
    timeout_s: float,
) -> tuple[int, bytes]:
    """Its exit status and the first 4 KiB of what it printed. Raises TimeoutError, RuntimeFailure."""
    uid, gid, groups = who
    identity = {} if uid is None else {"user": uid, "group": gid, "extra_groups": list(groups)}
    try:
        process = await asyncio.create_subprocess_exec(
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(environment),
            cwd=folder or None,
            start_new_session=True,
            **identity,  # type: ignore[arg-type]
        )
    except OSError as error:
        raise RuntimeFailure(f"{args[0]} can't be run: {error}") from error
    assert process.stdout is not None
    kept = b""
    try:
        async with asyncio.timeout(timeout_s):
            while piece := await process.stdout.read(65536):
                kept = (kept + piece)[:_KEPT]
            return await process.wait(), kept
    except TimeoutError:
        raise TimeoutError(f"{args[0]} took longer than {timeout_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
