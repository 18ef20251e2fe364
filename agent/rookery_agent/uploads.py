"""Sends what replicas print to the manager when it asks, each request on a stream of its own.

Invariant: a reader that is slow holds up the replica's log only, never heartbeats; a request ends when it is cancelled, when its
stream breaks, or when the log does.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
from rookery.model import ReplicaId
from rookery.v1 import dispatch_pb2

from rookery_agent.runtime.protocol import LogLine, Runtime, RuntimeFailure

_PARALLEL = 64
_BATCH_LINES = 500
_BATCH_BYTES = 256 * 1024
_GATHER_S = 0.05


class Uploads:
    """The requests for logs that are being answered."""

    def __init__(self, runtime: Runtime, tasks: asyncio.TaskGroup) -> None:
        self._runtime = runtime
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, stub: Any, request: dispatch_pb2.LogRequest) -> None:
        if request.request_id not in self._running:
            task = self._tasks.create_task(self._upload(stub, request), name=f"logs {request.request_id}")
            self._running[request.request_id] = task

    def cancel(self, request_id: str) -> None:
        task = self._running.get(request_id)
        if task is not None:
            task.cancel()

    def cancel_all(self) -> None:
        for request_id in tuple(self._running):
            self.cancel(request_id)

    async def _upload(self, stub: Any, request: dispatch_pb2.LogRequest) -> None:
        try:
            messages = self._messages(request, refused=len(self._running) > _PARALLEL)
            await stub.SendLogs(messages)
        except grpc.aio.AioRpcError:
            pass  # the manager or the one who asked is gone
        finally:
            self._running.pop(request.request_id, None)

    async def _messages(self, request: dispatch_pb2.LogRequest, *, refused: bool) -> AsyncIterator[dispatch_pb2.LogUpload]:
        yield dispatch_pb2.LogUpload(request_id=request.request_id)
        if refused:
            yield dispatch_pb2.LogUpload(request_id=request.request_id, error="too many logs are being read on this node already")
            return
        lines = self._runtime.logs(
            ReplicaId(request.replica_id), follow=request.follow, tail=request.tail, since_at=request.since_at
        )
        try:
            async for batch in _batches(lines):
                yield dispatch_pb2.LogUpload(request_id=request.request_id, lines=batch)
        except RuntimeFailure as error:
            yield dispatch_pb2.LogUpload(request_id=request.request_id, error=str(error))


async def _batches(lines: AsyncIterator[LogLine]) -> AsyncIterator[list[dispatch_pb2.LogLine]]:
    """Lines that come close together, as one message."""
    iterator = aiter(lines)
    coming: asyncio.Task[LogLine] | None = None
    try:
        while True:
            batch: list[dispatch_pb2.LogLine] = []
            size, due = 0, None
            while len(batch) < _BATCH_LINES and size < _BATCH_BYTES:
                if coming is None:
                    coming = asyncio.ensure_future(anext(iterator))
                done, _ = await asyncio.wait({coming}, timeout=due)
                if not done:
                    break
                try:
                    line = coming.result()
                except StopAsyncIteration:
                    coming = None
                    if batch:
                        yield batch
                    return
                coming = None
                batch.append(dispatch_pb2.LogLine(at=line.at, stderr=line.stderr, line=line.line))
                size += len(line.line)
                due = _GATHER_S
            yield batch
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
