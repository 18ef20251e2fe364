"""Metrics as plain values, and the port at which Prometheus fetches them.

A part adds sources: coroutines that give families when somebody asks, so that nothing is counted twice and nothing is spent
while nobody does. Invariant: values are taken in the event loop, at one moment; their text is made in a thread, beside it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rookery.process import Stop

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger("rookery.metrics")

_ASK_S = 5.0
_SOURCES_S = 10.0
_ANSWER_S = 30.0
_MOST_HEAD_BYTES = 16384
_MOST_CLIENTS = 16


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values each bucket has, not the ones below it; one more than there are bounds. `total` is the values' sum."""

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric. `samples` are the labels' texts, in the order of `labels`, each with its value (a Histogram of a histogram)."""

    name: str
    help: str
    kind: Kind
    labels: tuple[str, ...] = ()
    samples: Sequence[tuple[tuple[str, ...], float | Histogram]] = ()


def gauge(name: str, help: str, value: float) -> Family:
    """A gauge without labels."""
    return Family(name=name, help=help, kind=Kind.GAUGE, samples=[((), value)])


Source = Callable[[], Awaitable[Iterable[Family]]]


class Metrics:
    """Of one process."""

    def __init__(self) -> None:
        self._sources: list[Source] = []
        self._asked = asyncio.Semaphore(1)
        self._clients = 0

    def add(self, source: Source) -> None:
        """From now on what `source` gives is shown too. Two families of one name are a mistake."""
        self._sources.append(source)

    async def text(self, accept: str = "") -> tuple[str, bytes]:
        """The metrics as they are now: the content type that suits an Accept field, and the text."""
        async with self._asked:
            families: list[Family] = []
            async with asyncio.timeout(_SOURCES_S):
                for source in self._sources:
                    families += await source()
            return await asyncio.to_thread(_render, families, accept)

    @contextlib.asynccontextmanager
    async def served(self, address: str) -> AsyncIterator[int]:
        """Answers `GET /metrics` at HOST:PORT, for as long as it is open; gives the port. Raises Stop where it can't listen."""
        host, _, port = address.rpartition(":")
        try:
            server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=_MOST_HEAD_BYTES)
        except OSError as error:
            why = error.strerror or error
            raise Stop(f"can't show metrics at {address}: {why}; choose another address with --metrics HOST:PORT") from error
        async with server:
            port_taken: int = server.sockets[0].getsockname()[1]
            log.info("metrics are at http://%s:%d/metrics", host, port_taken)
            yield port_taken

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > _MOST_CLIENTS:
                writer.write(_answer(503, "text/plain", b"too many ask for metrics at once\n"))
            else:
                async with asyncio.timeout(_ASK_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._reply(head.decode("latin-1")))
            async with asyncio.timeout(_ANSWER_S):
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("a client of the metrics went away, or did not say what it wants")
        finally:
            self._clients -= 1
            writer.close()

    async def _reply(self, head: str) -> bytes:
        lines = head.split("\r\n")
        method, _, rest = lines[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path != "/metrics":
            return _answer(404, "text/plain", b"the metrics are at /metrics\n")
        if method not in ("GET", "HEAD"):
            return _answer(405, "text/plain", b"only GET is answered\n")
        accept = next((line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("accept:")), "")
        try:
            kind, text = await self.text(accept)
        except TimeoutError:
            return _answer(503, "text/plain", b"the metrics could not be gathered in time\n")
        answer = _answer(200, kind, text)
        return answer if method == "GET" else answer[: len(answer) - len(text)]


_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _answer(status: int, kind: str, body: bytes) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _render(families: Sequence[Family], accept: str) -> tuple[str, bytes]:
    # lazily: it costs memory and time that a process which shows no metrics need not spend
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Collected([_metric(family) for family in families]))
    try:
        encode, kind = choose_encoder(accept)
    except (ValueError, TypeError):  # an Accept that is none
        encode, kind = choose_encoder("")
    return kind, encode(registry)


class _Collected:
    """What a registry takes as a source."""

    def __init__(self, metrics: "list[Metric]") -> None:
        self._metrics = metrics

    def collect(self) -> "list[Metric]":
        return self._metrics


def _metric(family: Family) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily  # lazily: see _render

    kinds = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily, Kind.HISTOGRAM: HistogramMetricFamily}
    made: Any = kinds[family.kind](family.name, family.help, labels=family.labels)
    for labels, value in family.samples:
        if isinstance(value, Histogram):
            made.add_metric(labels, *_cumulated(value))
        else:
            made.add_metric(labels, value)
    metric: Metric = made
    return metric


def _cumulated(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    buckets, below = [], 0
    for bound, count in zip([*map(_bound, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets, histogram.total


def _bound(value: float) -> str:
    return repr(float(value))
