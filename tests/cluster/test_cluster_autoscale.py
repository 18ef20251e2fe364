"""An autoscaled service on real engines behind real proxies, loaded by wrk: up, down, to zero and back, and no request fails."""

import asyncio
import dataclasses
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import load
import pytest
from cluster import PORT, Cluster
from load import Kind, Load
from rig import Rig
from rig.image import IMAGE, WEB_SERVER
from rookery.client import ClientError
from rookery.model import AutoscaleStatus, ScaleDecision

pytestmark = [pytest.mark.root, pytest.mark.docker]

AT_ONCE = 1000
BUSY = Kind(name="half a second each", method="POST", path="/slow", connections=12, pause_ms=1)


@pytest.fixture(scope="module")
def cluster(engines: Rig) -> Iterator[Cluster]:
    """A cluster with a second proxy."""
    why = load.missing()
    if why:
        pytest.skip(f"no load on the proxies: {why}")
    with Cluster(engines) as made:
        made.add_proxy(made.hosts[1])
        yield made


@pytest.fixture(autouse=True)
def logs(cluster: Cluster) -> Iterator[None]:
    """Every part's log, where something goes wrong."""
    try:
        yield
    finally:
        cluster.tell()


def compose(**policy: Any) -> str:
    autoscale = {"max": 8, "target": {"concurrency": 4}, "down": {"window": "4s", "most": "50%", "per": "2s"}, **policy}
    web = {
        "image": IMAGE,
        "stop_signal": "SIGKILL",  # what is still in flight then is lost: so nothing may be
        "command": WEB_SERVER,
        "environment": {"SLOW_S": "0.5"},
        "ports": [f"{PORT}:8000"],
        "x-rookery": {
            "health": {"http": {"port": 8000, "path": "/health"}, "interval": "2s", "start_interval": "100ms"},
            "autoscale": autoscale,
        },
    }
    return json.dumps({"services": {"web": web}})


def scaling(cluster: Cluster) -> AutoscaleStatus:
    return cluster.client.get_autoscale("shop", "web")


def latest_at(cluster: Cluster) -> float:
    """When the number was last changed; 0: never."""
    return next((decision.at for decision in scaling(cluster).decisions), 0.0)


def since(cluster: Cluster, at: float) -> list[ScaleDecision]:
    return [decision for decision in scaling(cluster).decisions if decision.at > at]


def changes(decisions: Sequence[ScaleDecision]) -> list[tuple[int, int]]:
    """From and to, oldest first."""
    return [(decision.before, decision.after) for decision in reversed(decisions)]


def at_rest(cluster: Cluster, number: int) -> bool:
    """So many replicas, and no container that is not one of them."""
    try:
        return cluster.converged() and len(cluster.replicas()) == len(cluster.started()) == number
    except ClientError:
        return False


def test_a_load_ten_times_as_large_is_followed_and_its_end_too_and_no_request_fails(cluster: Cluster) -> None:
    cluster.deploy(compose())
    urls = [f"http://{address}:{PORT}" for address in cluster.addresses]
    few, many = (dataclasses.replace(BUSY, connections=count) for count in (1, 9))
    with Load(urls, kinds=[few]) as running:  # 2 in flight, 4 wanted per replica
        running.wait(10)
        assert not scaling(cluster).decisions
        with Load(urls, kinds=[many]) as stepped:  # 20 in flight
            begun = time.monotonic()
            cluster.wait(lambda: scaling(cluster).replicas >= 4, what="more replicas to be wanted", within_s=60)
            wanted_s = time.monotonic() - begun
            cluster.wait(lambda: scaling(cluster).ready >= 5, what="five replicas to serve", within_s=60)
            ready_s = time.monotonic() - begun
            stepped.wait(200)
        cluster.wait(lambda: scaling(cluster).replicas == 1, what="one replica to be enough again", within_s=60)
    print(f"wanted after {wanted_s:.1f} s, five ready after {ready_s:.1f} s")
    cluster.wait(lambda: at_rest(cluster, 1), what="one replica to be left", within_s=60)
    numbers = rise_and_fall(scaling(cluster).decisions)
    assert 5 <= max(numbers) <= 6  # 20 / 4, and what is on its way between two requests


def test_a_spike_and_a_ramp_are_a_rise_and_a_fall_each_and_no_request_fails(cluster: Cluster) -> None:
    cluster.deploy(compose())
    cluster.wait(lambda: at_rest(cluster, 1), what="one replica")
    urls = [f"http://{address}:{PORT}" for address in cluster.addresses]
    known_at = latest_at(cluster)
    with Load(urls, kinds=[BUSY]):
        time.sleep(2.0)  # all of it
    cluster.wait(lambda: at_rest(cluster, 1), what="one replica after the spike", within_s=60)
    assert 2 <= max(rise_and_fall(since(cluster, known_at))) <= 7

    known_at, third = latest_at(cluster), dataclasses.replace(BUSY, connections=4)
    with Load(urls, kinds=[third]):
        cluster.wait(lambda: scaling(cluster).ready >= 2, what="two replicas")
        with Load(urls, kinds=[third]):
            cluster.wait(lambda: scaling(cluster).ready >= 4, what="four replicas")
        cluster.wait(lambda: scaling(cluster).replicas <= 2, what="two replicas to be enough")
    cluster.wait(lambda: at_rest(cluster, 1), what="one replica after the ramp", within_s=60)
    assert 4 <= max(rise_and_fall(since(cluster, known_at))) <= 5


def test_noise_is_one_rise_and_a_slow_decay_one_fall_and_no_request_fails(cluster: Cluster) -> None:
    """In flight are 18, and 8 more for a moment again and again; then 6 fewer every few seconds, until none is left."""
    cluster.deploy(compose(down={"window": "8s", "most": "50%", "per": "2s"}))
    cluster.wait(lambda: at_rest(cluster, 1), what="one replica")
    urls = [f"http://{address}:{PORT}" for address in cluster.addresses]
    known_at = latest_at(cluster)
    third, noise = (dataclasses.replace(BUSY, connections=count) for count in (3, 4))
    with Load(urls, kinds=[third]):
        with Load(urls, kinds=[third]):
            with Load(urls, kinds=[third]):
                cluster.wait(lambda: scaling(cluster).ready >= 5, what="five replicas to serve", within_s=60)
                for _ in range(3):  # within the window, all of them
                    with Load(urls, kinds=[noise]):
                        time.sleep(0.5)
            time.sleep(2.5)
        time.sleep(2.5)
    cluster.wait(lambda: at_rest(cluster, 1), what="one replica to be left", within_s=60)
    assert 6 <= max(rise_and_fall(since(cluster, known_at))) <= 8


def rise_and_fall(decisions: Sequence[ScaleDecision]) -> list[int]:
    """What was wanted, one after the other: from one up and down to one again, without going to and fro, by half at a time."""
    numbers = [before for before, _ in changes(decisions)] + [1]
    top = numbers.index(max(numbers))
    assert numbers[0] == 1
    assert numbers[: top + 1] == sorted(numbers[: top + 1])
    assert numbers[top:] == sorted(numbers[top:], reverse=True)
    assert all(after >= before // 2 for before, after in itertools.pairwise(numbers))
    return numbers


def test_a_thousand_requests_wake_it_from_zero_although_the_manager_is_killed_meanwhile(cluster: Cluster) -> None:
    policy = {"min": 0, "idle": "2s", "target": {"concurrency": 2 * AT_ONCE}}
    cluster.apply(compose(**policy))
    cluster.wait(lambda: at_rest(cluster, 0), what="no replica to be left", within_s=60)
    began = time.monotonic()
    assert cluster.ask()
    print(f"the first answer from zero after {time.monotonic() - began:.2f} s")
    cluster.wait(lambda: at_rest(cluster, 0), what="it to go to zero again", within_s=60)

    known_at = latest_at(cluster)
    cluster.manager.kill()
    with AskAll(cluster.addresses) as asking:
        time.sleep(1.0)  # they all wait, and nobody starts anything
        assert not cluster.started()
        cluster.manager.start()
        answers = asking.answers()
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1  # one replica, started once
    cluster.wait(lambda: at_rest(cluster, 0), what="it to go to zero once more", within_s=60)
    assert changes(since(cluster, known_at)) == [(0, 1), (1, 0)]


def test_requests_for_a_replica_that_does_not_start_are_refused_with_the_reason(cluster: Cluster) -> None:
    policy = {"min": 0, "idle": "2s", "hold": {"for": "3s"}}
    cluster.apply(compose(**policy))
    cluster.wait(lambda: at_rest(cluster, 0), what="no replica to be left", within_s=60)
    broken = json.loads(compose(**policy))
    broken["services"]["web"]["command"] = ["sleep", "1000"]  # it never gets ready
    cluster.apply(json.dumps(broken))
    with pytest.raises(ConnectionError, match=r"503 shop/web: no replica is ready: 1 \w+"):
        cluster.ask()


class AskAll:
    """A thousand requests at once, shared out over the proxies, each on a connection of its own."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "AskAll":
        pairs = zip(range(AT_ONCE), itertools.cycle(self._addresses), strict=False)
        self._tasks = [self._loop.create_task(self._ask(address)) for _, address in pairs]
        self._loop.run_until_complete(asyncio.sleep(0.5))
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    def answers(self) -> list[tuple[int, str]]:
        """Status and body of each, when all are there."""
        return self._loop.run_until_complete(asyncio.wait_for(asyncio.gather(*self._tasks), 50))

    async def _ask(self, address: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection(address, PORT)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
            return int(head.split()[1]), body
        finally:
            writer.close()
