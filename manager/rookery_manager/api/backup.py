"""Backup: a copy of the store at one moment, in pieces, with a digest at the end."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from rookery.v1 import control_pb2

from rookery_manager.api.needs import Api

Send = Callable[[control_pb2.BackupChunk], Awaitable[None]]

CHUNK_BYTES = 256 << 10


async def backup(api: Api, request: control_pb2.BackupRequest, send: Send) -> None:  # noqa: ARG001
    digest = hashlib.sha256()
    async with api.backups.copy() as copy:
        await send(control_pb2.BackupChunk(size_bytes=copy.size_bytes))
        while data := await asyncio.to_thread(copy.file.read, CHUNK_BYTES):
            digest.update(data)
            await send(control_pb2.BackupChunk(data=data))
    await send(control_pb2.BackupChunk(sha256=digest.hexdigest()))
