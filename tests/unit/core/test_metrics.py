"""Metrics as Prometheus reads them, and the port that shows them."""

import asyncio
import socket
from collections.abc import Iterable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from rookery.metrics import Family, Histogram, Kind, Metrics, gauge
from rookery.process import Stop

FAMILIES = [
    gauge("x_up", "Whether it is.", 1),
    Family(
        name="x_asked",
        help='Says "hi"\nand \\.',
        kind=Kind.COUNTER,
        labels=("app",),
        samples=[(('a"b\\c\n',), 3.0), (("b",), 4.0)],
    ),
    Family(
        name="x_latency_seconds",
        help="How long.",
        kind=Kind.HISTOGRAM,
        labels=("app",),
        samples=[(("a",), Histogram((0.1, 1.0), (5, 2, 1), 3.5))],
    ),
]


def metrics() -> Metrics:
    async def source() -> Iterable[Family]:
        return FAMILIES

    made = Metrics()
    made.add(source)
    return made


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in found for s in family.samples}


async def fetch(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(15):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def _text(accept: str) -> str:
    return (await metrics().text(accept))[1].decode()


def test_the_text_says_what_the_families_say() -> None:
    found = values(asyncio.run(_text("")))
    assert found["x_up", ()] == 1
    assert found["x_asked_total", (("app", 'a"b\\c\n'),)] == 3
    assert found["x_asked_total", (("app", "b"),)] == 4
    buckets = [found["x_latency_seconds_bucket", (("app", "a"), ("le", bound))] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [5, 7, 8]
    assert (found["x_latency_seconds_count", (("app", "a"),)], found["x_latency_seconds_sum", (("app", "a"),)]) == (8, 3.5)
    assert ("process_cpu_seconds_total", ()) in found


@pytest.mark.parametrize("accept", ["nonsense", "application/openmetrics-text; version=x", "text/plain; version=abc", ",;=,"])
def test_an_accept_that_is_none_is_answered_all_the_same(accept: str) -> None:
    assert "x_asked_total" in asyncio.run(_text(accept))


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    kind, text = asyncio.run(metrics().text("application/openmetrics-text; version=1.0.0"))
    assert kind.startswith("application/openmetrics-text")
    assert "x_asked" in {family.name for family in parse_openmetrics(text.decode())}


def test_the_port_answers_what_is_asked_there_and_nothing_else() -> None:
    async def main() -> None:
        async with metrics().served("127.0.0.1:0") as port:
            status, body = await fetch(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (status, b"x_up 1.0" in body) == (200, True)
            assert await fetch(port, b"HEAD /metrics HTTP/1.1\r\n\r\n") == (200, b"")
            assert (await fetch(port, b"GET / HTTP/1.1\r\n\r\n"))[0] == 404
            assert (await fetch(port, b"POST /metrics HTTP/1.1\r\n\r\n"))[0] == 405
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x" * 100_000)
            async with asyncio.timeout(15):
                assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(Stop, match=f"can't show metrics at {address}: .*in use.*--metrics"):
                async with metrics().served(address):
                    pass

    asyncio.run(main())
