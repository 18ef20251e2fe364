"""When replicas are asked for their health, what counts, and how HTTP and TCP are asked."""

import asyncio
import contextlib
import socket

import pytest
from fake_runtime import FakeRuntime
from rookery.model import CommandProbe, Endpoint, HttpProbe, ProbeTiming, ReplicaId, TcpProbe
from rookery_agent.probes import Prober, Tally, ask, judge, pause_s, verdict
from rookery_agent.runtime.protocol import Instance, InstanceState
from rookery_agent.step import Health

TIMING = ProbeTiming(interval_s=5.0, timeout_s=1.0, retries=3, start_period_s=10.0, start_interval_s=2.0)
PLAIN = ProbeTiming(interval_s=5.0, timeout_s=1.0, retries=3)


@pytest.mark.parametrize(
    ("timing", "tally", "age_s", "asked", "expected"),
    [
        (PLAIN, Tally(succeeded=True), 1.0, 1, 5.0),
        (PLAIN, Tally(), 0.1, 0, 0.2),
        (PLAIN, Tally(), 4.0, 50, 5.0),
        (PLAIN, Tally(), 6.0, 1, 5.0),
        (TIMING, Tally(), 1.0, 50, 2.0),
        (TIMING, Tally(), 9.0, 50, 2.0),
        (TIMING, Tally(), 11.0, 50, 5.0),
    ],
)
def test_the_pause_between_probes(timing: ProbeTiming, tally: Tally, age_s: float, asked: int, expected: float) -> None:
    assert pause_s(timing, tally, age_s, asked) == expected


def test_failures_at_the_start_do_not_count() -> None:
    tally = Tally()
    for age_s in (0.0, 9.0, 14.9):
        tally = judge(TIMING, tally, age_s, ok=False)
    assert tally == Tally()
    assert judge(TIMING, tally, 15.1, ok=False).failures == 1


def test_failures_count_in_a_row_only() -> None:
    tally = judge(PLAIN, Tally(), 0.1, ok=True)
    for ok in (False, False, True, False, False):
        tally = judge(PLAIN, tally, 1.0, ok=ok)
    assert verdict(PLAIN, tally, "run", "no").health is Health.HEALTHY
    tally = judge(PLAIN, tally, 1.0, ok=False)
    assert verdict(PLAIN, tally, "run", "no").health is Health.UNHEALTHY
    assert verdict(PLAIN, tally, "run", "no").why == "its health check failed 3 times in a row: no"


def test_before_the_first_success_it_is_unknown() -> None:
    assert verdict(PLAIN, Tally(), "run", "refused").health is Health.UNKNOWN


def test_an_engine_that_is_away_says_nothing_of_a_replica() -> None:
    instance = Instance(replica_id=ReplicaId("r1"), id="c1", state=InstanceState.RUNNING, started_at=1.0)
    probe = CommandProbe(args=("check",), timing=ProbeTiming(interval_s=0.01, timeout_s=1.0, retries=1))

    async def run() -> Health:
        runtime = FakeRuntime()
        async with asyncio.TaskGroup() as tasks:
            prober = Prober(runtime, tasks, lambda _replica_id: None)
            runtime.go_away("Cannot connect to the Docker daemon")
            prober.follow(instance, probe, ready=True)
            await asyncio.sleep(0.1)
            found = prober.verdict(instance.replica_id).health
            prober.drop(instance.replica_id)
        return found

    assert asyncio.run(run()) is Health.HEALTHY


def asked(answer: bytes | None, probe: HttpProbe | TcpProbe) -> str:
    """What a probe of a server with that answer says; None is one that never answers."""

    async def run() -> str:
        served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.readline()
                if answer is not None:
                    writer.write(answer)
                else:
                    await reader.read()
                writer.close()
                await writer.wait_closed()
            served.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            at = Endpoint(replica_id=ReplicaId("a"), address="127.0.0.1", port=port, target=80)
            instance = Instance(replica_id=ReplicaId("a"), id="c", state=InstanceState.RUNNING, endpoints=(at,))
            told = await ask(FakeRuntime(), instance, probe)
            if "can't be reached" not in told:
                await served.wait()
            return told

    return asyncio.run(run())


QUICK, PATIENT = ProbeTiming(timeout_s=0.3), ProbeTiming(timeout_s=30.0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.1 302 Found\r\n\r\n", ""),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "GET /up answered 503"),
        (b"SSH-2.0 hello\r\n", "GET /up was not answered in HTTP"),
        (b"", "GET /up was not answered in HTTP"),
        (b"x" * 100_000, "GET /up was not answered in HTTP"),
        (None, "no answer within 0.3 s"),
    ],
)
def test_http(answer: bytes | None, expected: str) -> None:
    assert asked(answer, HttpProbe(port=80, path="/up", timing=QUICK if answer is None else PATIENT)) == expected


def test_tcp() -> None:
    assert asked(b"", TcpProbe(port=80, timing=PATIENT)) == ""


def test_a_port_that_is_not_published_is_named() -> None:
    assert asked(b"", TcpProbe(port=81, timing=PATIENT)) == "its port 81 can't be reached from the node"


@pytest.mark.parametrize("probe", [TcpProbe(port=80, timing=PATIENT), HttpProbe(port=80, timing=PATIENT)])
def test_a_refused_connection_is_told_in_words(probe: HttpProbe | TcpProbe) -> None:
    async def run() -> tuple[str, int]:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))  # and does not listen
            port = closed.getsockname()[1]
            at = Endpoint(replica_id=ReplicaId("a"), address="127.0.0.1", port=port, target=80)
            instance = Instance(replica_id=ReplicaId("a"), id="c", state=InstanceState.RUNNING, endpoints=(at,))
            return await ask(FakeRuntime(), instance, probe), port

    told, port = asyncio.run(run())
    assert told == f"port 80, at 127.0.0.1:{port}: connection refused"
