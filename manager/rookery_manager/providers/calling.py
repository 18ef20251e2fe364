"""Calls of providers as processes of their own: each has a deadline, and an answer of a bounded size.

Invariant: when a call returns, its process group is gone. The machine that it made, if any, is not.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import Sequence
from pathlib import Path

from rookery.model import Pool, PoolMember, ProviderKind

from rookery_manager.planners.pool_calls import Listed
from rookery_manager.providers.contract import Failed, read_created, read_listed, request

log = logging.getLogger("rookery.pools")

MOST_BYTES = 4 * 1024 * 1024
TERM_S = 2.0  # between SIGTERM and SIGKILL, at the deadline


class Providers:
    """`manager` is the address that agents connect to where a pool names none; `data` is where our own providers keep theirs.

    `token_file` holds what agents join with, and is read for every new node, since a token may be rotated; None: --insecure.
    """

    def __init__(self, *, manager: str, cluster: str, data: Path, token_file: Path | None) -> None:
        self._manager = manager
        self._cluster = cluster
        self._data = data
        self._token_file = token_file

    async def create(self, pool: Pool, member: PoolMember) -> str:
        """The provider's id of the new machine; it may not be up yet. Raises Failed."""
        return read_created(await self._call("create", pool, member))

    async def delete(self, pool: Pool, member: PoolMember) -> None:
        """Raises Failed."""
        await self._call("delete", pool, member)

    async def list(self, pool: Pool) -> tuple[Listed, ...]:
        """All machines that the provider has for the pool. Raises Failed."""
        return read_listed(await self._call("list", pool, None))

    async def _call(self, action: str, pool: Pool, member: PoolMember | None) -> bytes:
        asked = request(
            action,
            pool,
            member,
            cluster=self._cluster,
            manager=self._manager,
            data=(self._data / pool.name).absolute(),
            token=self._token() if action == "create" else "",
        )
        return await call(_program(pool), asked, timeout_s=pool.spec.call_timeout_s)

    def _token(self) -> str:
        if self._token_file is None:
            return ""
        try:
            return self._token_file.read_text().strip()
        except OSError as error:
            raise Failed(f"the agents' join token can't be read from {self._token_file}: {error.strerror}") from error


def _program(pool: Pool) -> Sequence[str]:
    if pool.spec.provider is ProviderKind.COMMAND:
        return pool.spec.command
    return (sys.executable, "-m", f"rookery_manager.providers.{pool.spec.provider}")


async def call(program: Sequence[str], asked: bytes, *, timeout_s: float) -> bytes:
    """What the program wrote to standard output. Raises Failed where it could not be run, failed, hung, or wrote too much."""
    try:
        process = await create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True)
    except (OSError, ValueError) as error:
        raise Failed(f"{program[0]} can't be run: {getattr(error, 'strerror', None) or error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await _talk(process, asked)
            status = await process.wait()
    except TimeoutError:
        raise Failed(f"no answer within {timeout_s:g} s") from None
    finally:
        await _end(process)
    if status != 0:
        how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
        words = errors.decode(errors="replace").strip().splitlines()
        raise Failed(f"it {how}{': ' + _printable(words[-1]) if words else ''}")
    return output


async def _talk(process: Process, asked: bytes) -> tuple[bytes, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    output = asyncio.ensure_future(_read(process.stdout))
    errors = asyncio.ensure_future(_read(process.stderr))
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read what it is given
            process.stdin.write(asked)
            await process.stdin.drain()
        process.stdin.close()
        return await output, await errors
    finally:
        output.cancel()
        errors.cancel()
        await asyncio.gather(output, errors, return_exceptions=True)


async def _read(stream: asyncio.StreamReader) -> bytes:
    parts, size = [], 0
    while part := await stream.read(65536):
        size += len(part)
        if size > MOST_BYTES:
            raise Failed(f"it wrote more than {MOST_BYTES // 1024 // 1024} MiB")
        parts.append(part)
    return b"".join(parts)


async def _end(process: Process) -> None:
    """Ends what is left of the process, and of what it started in its group."""
    for number, patience_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, TERM_S)):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # Its pipes, which something that left the group may hold open for ever; asyncio has no other way to close them.
    process._transport.close()  # type: ignore[attr-defined]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]
