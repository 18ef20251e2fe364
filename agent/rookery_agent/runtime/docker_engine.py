"""The connection to a Docker engine: calls with deadlines off the event loop, its words turned into our errors, its event stream.

Invariant: an engine that is away or hangs raises EngineAway after a bounded time; it never holds up the event loop.
"""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound

from rookery_agent.runtime.blocking import Calls
from rookery_agent.runtime.docker_stream import Stream
from rookery_agent.runtime.protocol import EngineAway, RuntimeFailure

T = TypeVar("T")

_LOST = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, urllib3.exceptions.HTTPError, OSError)
_STREAM_LIMIT = 1000
_END = object()


class Missing(RuntimeFailure):
    """The engine knows no such container, image, network or volume."""


class Conflict(RuntimeFailure):
    """The engine has something of that name, or is in a state that does not allow it."""


class Engine:
    """One engine. Several pools, so that pulls and probes can't starve what starts and stops containers."""

    def __init__(self, url: str = "") -> None:
        self._url = url
        self._client: Any = None
        self._making = threading.Lock()
        self._calls = Calls("engine", 16)
        # More starts at a time than there are cores only fight for netfilter's tables: it costs more, and all are late together
        starts = Calls("start", max(2, os.cpu_count() or 0))
        self._slow = {"pull": Calls("pull", 2), "start": starts, "exec": Calls("exec", 16), "check": Calls("check", 1)}

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

    async def stream(self, open_: Callable[[Any], Stream], read: Callable[[Stream], Iterator[T]]) -> AsyncIterator[T | None]:
        """What `read` makes of the stream that `open_(client)` returns; the first item is None, when it stands."""
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Any] = asyncio.Queue(_STREAM_LIMIT)
        opened: list[Stream] = []
        ended = threading.Event()

        def put(item: Any) -> None:
            future = asyncio.run_coroutine_threadsafe(items.put(item), loop)
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    future.result(timeout=1.0)
                    return

        def work() -> None:
            try:
                opened.append(self._attempt(open_))
                if ended.is_set():
                    return
                put(None)
                for item in read(opened[0]):
                    if ended.is_set():
                        return
                    put(item)
                put(_END)
            except RuntimeError:
                return  # the event loop is gone
            except Exception as error:
                if not ended.is_set():
                    put(error)
            finally:
                for stream in opened:
                    stream.close()

        thread = threading.Thread(target=work, name="engine stream", daemon=True)
        thread.start()
        try:
            while (item := await items.get()) is not _END:
                if isinstance(item, RuntimeFailure):
                    raise item
                if isinstance(item, Exception):
                    raise EngineAway(f"{self.where}: the stream broke: {_brief(item)}")
                yield item
        finally:
            ended.set()
            for stream in opened:
                stream.interrupt()

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
