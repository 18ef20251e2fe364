"""The connection to a Docker engine: calls with deadlines off the event loop, its words turned into our errors, its event stream.

Invariant: an engine that is away or hangs raises EngineAway after a bounded time; it never holds up the event loop. A thread is
kept by a call hardly longer than its caller waits, so that threads are free again when the engine is back.
"""

import asyncio
import contextlib
import json
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar

import docker
import requests
import urllib3
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.errors import APIError, DockerException, NotFound

from rookery_agent.runtime.blocking import Calls
from rookery_agent.runtime.docker_stream import Stream
from rookery_agent.runtime.protocol import EngineAway, RuntimeFailure

T = TypeVar("T")

_LOST = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, urllib3.exceptions.HTTPError, OSError)
_STREAM_LIMIT = 1000
_CONNECT_S = 10.0
_END = object()


class Missing(RuntimeFailure):
    """The engine knows no such container, image, network or volume."""


class Conflict(RuntimeFailure):
    """The engine has something of that name, or is in a state that does not allow it."""


class Engine:
    """One engine. Several pools, so that pulls and probes can't starve what starts and stops containers."""

    def __init__(self, url: str = "") -> None:
        self._url = url or os.environ.get("DOCKER_HOST", "")
        self._mine = threading.local()  # a thread's own client, in `client`
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self._version = ""  # of the API, once it is agreed on
        self._calls = Calls("engine", 16)
        # More starts at a time than there are cores only fight for netfilter's tables: it costs more, and all are late together
        starts = Calls("start", max(2, os.cpu_count() or 0))
        self._slow = {"start": starts, "exec": Calls("exec", 16), "check": Calls("check", 1)}

    @property
    def where(self) -> str:
        return self._url or "the default Docker socket"

    @property
    def is_local(self) -> bool:
        return self._url.startswith(("unix://", "/")) or not self._url

    async def call(self, work: Callable[[Any], T], *, timeout_s: float = 60.0, pool: str = "") -> T:
        """What `work(client)` returns. Raises EngineAway, Missing, Conflict or RuntimeFailure with the engine's words."""
        calls = self._slow[pool] if pool else self._calls
        until = time.monotonic() + timeout_s
        try:
            return await calls.run(lambda: self._attempt(work, until), timeout_s)
        except TimeoutError:
            raise EngineAway(f"{self.where} hangs: no answer within {timeout_s:g} s") from None

    async def stream(
        self, open_: Callable[[Any], Stream], read: Callable[[Stream], Iterator[T]]
    ) -> AsyncGenerator[T | None, None]:
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
                opened.append(self._attempt(open_, time.monotonic() + _CONNECT_S))
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
                self._let_go()

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
        for client in tuple(self._clients):
            client.close()

    def _attempt(self, work: Callable[[Any], T], until: float) -> T:
        try:
            return work(self._connected(until))
        except NotFound as error:
            raise Missing(_words(error)) from error
        except APIError as error:
            made = Conflict if error.response is not None and error.response.status_code == 409 else RuntimeFailure
            raise made(_words(error)) from error
        except (DockerException, *_LOST) as error:
            if isinstance(error, DockerException) and type(error) is not DockerException:
                raise RuntimeFailure(str(error)) from error  # a name, a credential or a value that is wrong
            if not isinstance(error, requests.exceptions.ReadTimeout):
                self._version = ""  # it may be another engine the next time
            self._let_go()
            raise EngineAway(f"{self.where} {_trouble(error)}") from error

    def _connected(self, until: float) -> Any:
        """This thread's client, which waits for no answer longer than that. Raises docker's errors."""
        left_s = max(0.1, until - time.monotonic())
        client = getattr(self._mine, "client", None)
        if client is None:
            client = self._mine.client = self._client(self._version or self._agreed_version(left_s))
        client.timeout = left_s
        return client

    def _agreed_version(self, timeout_s: float) -> str:
        client = self._client(MINIMUM_DOCKER_API_VERSION)
        client.timeout = timeout_s
        try:
            self._version = str(client.version(api_version=False)["ApiVersion"])
        finally:
            client.close()
        return self._version

    def _client(self, version: str) -> Any:
        client = docker.APIClient(base_url=self._url or None, version=version)
        self._clients.add(client)
        return client

    def _let_go(self) -> None:
        """This thread needs its client no more."""
        client = getattr(self._mine, "client", None)
        if client is not None:
            del self._mine.client
            client.close()


def _words(error: APIError) -> str:
    text = error.explanation or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return str(text).strip()


def _trouble(error: BaseException) -> str:
    if isinstance(error, requests.exceptions.ReadTimeout):
        return "hangs: it takes calls but does not answer in time"
    return f"does not answer: {_brief(error)}"


def _brief(error: BaseException) -> str:
    inner = error
    while inner.__context__ is not None and not isinstance(inner, OSError):
        inner = inner.__context__
    return (str(inner) or type(inner).__name__).splitlines()[0][:200]
