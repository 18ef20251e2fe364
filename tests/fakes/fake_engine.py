"""As much of a Docker engine as a test needs, on a socket: answers by path, streams that pause, and an engine that hangs."""

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

Part = Any  # of a streamed answer: a value to send as JSON, or an Event to wait for


class FakeEngine:
    """Entered, it answers at `url`. `asked` are the paths in order, `broken_off` those whose caller went away."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "engine.sock"
        self.asked: list[str] = []
        self.broken_off: list[str] = []
        self.hung = False
        self.streams: dict[str, Callable[[], Iterable[Part]]] = {}
        self.values: dict[str, Any] = {"/version": {"Version": "fake", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def __aenter__(self) -> "FakeEngine":
        self._server = await asyncio.start_unix_server(self._serve, self.socket, backlog=200)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.sleep(0.1)  # for callers that gave up to hang up, and for what comes in to be accepted
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        while self._tasks:  # noqa: ASYNC110 it is over in a moment
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # for the sockets to be closed
        self.socket.unlink(missing_ok=True)

    def hang(self, hung: bool) -> None:
        """Takes calls and answers none, or answers all that came meanwhile."""
        self.hung = hung
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) != b"":
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
                await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(lines[0].split()[1].partition("?")[0], reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        self.asked.append(path)
        while self.hung:
            await self._changed.wait()
        if path in self.streams:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            await self._stream(path, reader, writer)
            return
        known = path in self.values
        body = json.dumps(self.values.get(path, {"message": f"no such thing: {path}"})).encode()
        status = "200 OK" if known else "404 Not Found"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        await writer.drain()

    async def _stream(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        try:
            for part in self.streams[path]():
                if isinstance(part, asyncio.Event):
                    waiting = asyncio.ensure_future(part.wait())
                    await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    if gone.done():
                        raise ConnectionResetError
                    continue
                data = json.dumps(part).encode() + b"\r\n"
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        except ConnectionError:
            self.broken_off.append(path)
            raise
        finally:
            gone.cancel()
        raise ConnectionResetError  # one stream a connection
