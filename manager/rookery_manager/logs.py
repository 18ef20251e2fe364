"""Where log uploads of agents meet the readers who asked for them.

Invariant: at most `LIMIT` uploads of a request wait for their reader; an agent that prints faster than the reader reads is held
up by `feed`, and with it by the flow control of its stream. Nothing is kept for a request that nobody reads.
"""

import asyncio
from collections.abc import AsyncIterable
from dataclasses import dataclass
from types import TracebackType

from rookery.v1.dispatch_pb2 import LogUpload

LIMIT = 64


@dataclass(frozen=True, slots=True)
class End:
    """The agent has sent all; `error` says why where it could not."""

    error: str = ""


class LogReader:
    """What is uploaded for one request. A context: nothing is kept for it once it is left."""

    def __init__(self, hub: "LogHub", request_id: str) -> None:
        self.request_id = request_id
        self.closed = False
        self._hub = hub
        self._uploads: asyncio.Queue[LogUpload | End] = asyncio.Queue(LIMIT)
        self._end: End | None = None

    async def next(self, timeout_s: float) -> LogUpload | End:
        """The next upload, or the end of them. Raises TimeoutError."""
        if self._end is not None and self._uploads.empty():
            return self._end
        async with asyncio.timeout(timeout_s):
            return await self._uploads.get()

    async def put(self, upload: LogUpload) -> bool:
        """Waits for room; False where the reader has gone."""
        await self._uploads.put(upload)
        return not self.closed

    def finish(self, end: End) -> None:
        self._end = end
        if not self._uploads.full():  # else the reader comes to it by itself
            self._uploads.put_nowait(end)

    def __enter__(self) -> "LogReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closed = True
        self._hub.forget(self)
        while not self._uploads.empty():  # wakes those whom back-pressure holds
            self._uploads.get_nowait()


class LogHub:
    def __init__(self) -> None:
        self._readers: dict[str, LogReader] = {}

    def open(self, request_id: str) -> LogReader:
        """Call it before the agent is asked: what comes in for an unknown request is thrown away."""
        reader = LogReader(self, request_id)
        self._readers[request_id] = reader
        return reader

    def forget(self, reader: LogReader) -> None:
        if self._readers.get(reader.request_id) is reader:
            del self._readers[reader.request_id]

    async def feed(self, request_id: str, upload: LogUpload) -> bool:
        """Hands the upload to its reader, waiting for room; False where nobody reads it (any more)."""
        reader = self._readers.get(request_id)
        return reader is not None and await reader.put(upload)

    async def receive(self, uploads: AsyncIterable[LogUpload]) -> None:
        """Takes in one SendLogs stream of an agent until it ends, or until nobody reads it any more."""
        request_id, error = "", ""
        end = End("the connection to its node broke")
        try:
            async for upload in uploads:
                request_id = request_id or upload.request_id  # it is in the first message only
                if not await self.feed(request_id, upload):
                    return
                error = error or upload.error
            end = End(error)
        finally:
            reader = self._readers.get(request_id)
            if reader is not None:
                reader.finish(end)
