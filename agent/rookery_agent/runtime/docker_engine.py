"""The connection to a Docker engine: calls with deadlines off the event loop, its words turned into our errors, its event stream.

Invariant: an engine that is away or hangs raises EngineAway after a bounded time; it never holds up the event loop.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound

from rookery_agent.runtime.blocking import Calls
from rookery_agent.runtime.protocol import EngineAway, RuntimeFailure

T = TypeVar("T")

_LOST = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, urllib3.exceptions.HTTPError, OSError)
_STREAM_LIMIT = 1000


class Missing(RuntimeFailure):
    """The engine knows no such container, image, network or volume."""


class Conflict(RuntimeFailure):
    """The engine has something of that name, or is in a state that does not allow it."""


class Engine:
    """One engine. Three pools, so that pulls and probes can't starve what starts and stops containers."""

    def __init__(self, url: str = "") -> None:
        self._url = url
        self._client: Any = None
        self._making = threading.Lock()
        self._calls = Calls("engine", 16)
        self._slow = {"pull": Calls("pull", 2), "exec": Calls("exec", 16), "check": Calls("check", 1)}

    @property
    def where(self) -> str:
        return self._url or "the default Docker socket"

    async def call(self, work: Callable[[Any], T], *, timeout_s: float = 60.0, pool: str = "") -> T:
        """What `work(client)` returns. Raises EngineAway, Missing, Conflict or RuntimeFailure with the engine's words."""
        calls = self._slow[pool] if pool else self._calls
        try:
            return await calls.run(lambda: self._attempt(work), timeout_s)
        except TimeoutError:
            raise EngineAway(f"{self.where} did not answer within {timeout_s:g} s") from None

    def stream(self, open_: Callable[[Any], Any]) -> AsyncIterator[Any]:
        """What the stream that `open_(client)` returns yields; the first item is None, when it stands."""
        return self._stream(open_)

    async def _stream(self, open_: Callable[[Any], Any]) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Any] = asyncio.Queue(_STREAM_LIMIT)
        opened: list[Any] = []
        ended = threading.Event()

        def put(item: Any) -> None:
            asyncio.run_coroutine_threadsafe(items.put(item), loop).result()

        def read() -> None:
            try:
                stream = self._attempt(open_)
                opened.append(stream)
                put(None)
                for item in stream:
                    if ended.is_set():
                        return
                    put(item)
                put(StopAsyncIteration())
            except RuntimeError:
                return  # the event loop is gone
            except Exception as error:
                if not ended.is_set():
                    put(error)

        threading.Thread(target=read, name="engine stream", daemon=True).start()
        try:
            while True:
                item = await items.get()
                if isinstance(item, StopAsyncIteration):
                    return
                if isinstance(item, RuntimeFailure):
                    raise item
                if isinstance(item, Exception):
                    raise EngineAway(f"{self.where}: the stream broke: {_brief(item)}")
                yield item
        finally:
            ended.set()
            while not items.empty():
                items.get_nowait()  # the thread may be waiting for room
            for stream in opened:
                close = getattr(stream, "close", None)
                if close is not None:
                    threading.Thread(target=_quietly, args=(close,), daemon=True).start()

    def close(self) -> None:
        for calls in (self._calls, *self._slow.values()):
            calls.close()
        if self._client is not None:
            self._client.close()

    def _attempt(self, work: Callable[[Any], T]) -> T:
        try:
            return work(self._connected())
        except NotFound as error:
            raise Missing(_words(error)) from error
        except APIError as error:
            made = Conflict if error.response is not None and error.response.status_code == 409 else RuntimeFailure
            raise made(_words(error)) from error
        except (DockerException, *_LOST) as error:
            raise EngineAway(f"{self.where} does not answer: {_brief(error)}") from error

    def _connected(self) -> Any:
        with self._making:
            if self._client is None:
                self._client = docker.APIClient(base_url=self._url or None, version="auto", timeout=120, max_pool_size=64)
            return self._client


def log_frames(response: Any, *, tty: bool) -> Iterator[tuple[bool, bytes]]:
    """Pieces of a container's output with whether they are of standard error; without frames where it has a terminal."""
    held = b""
    for piece in response.iter_content(chunk_size=None):
        if tty:
            yield False, piece
            continue
        held += piece
        while len(held) >= 8:
            size = int.from_bytes(held[4:8], "big")
            if len(held) < 8 + size:
                break
            yield held[0] == 2, held[8 : 8 + size]
            held = held[8 + size :]


def _words(error: APIError) -> str:
    text = error.explanation or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return str(text).strip()


def _brief(error: BaseException) -> str:
    inner = error
    while inner.__context__ is not None and not isinstance(inner, OSError):
        inner = inner.__context__
    return (str(inner) or type(inner).__name__).splitlines()[0][:200]


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception:
        return
