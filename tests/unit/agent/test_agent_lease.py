"""The agent's lease: counted from what was sent, on a clock that goes on; and what must stop when it ended."""

import asyncio
import math
import random
import time
from pathlib import Path

import pytest
from rookery.model import Assignment, ContainerSpec, OnDisconnect, ReplicaId, ServiceSpec
from rookery_agent.fence import Fence
from rookery_agent.home import Home
from rookery_agent.lease import CLOCK_DRIFT, Lease, clock
from rookery_manager.planners.nodes import fence_s


def assigned(name: str, after_s: float | None) -> Assignment:
    once = {} if after_s is None else {"on_disconnect": OnDisconnect.STOP, "on_disconnect_after_s": after_s}
    spec = ServiceSpec(name="web", container=ContainerSpec(image="web:1"), **once)  # type: ignore[arg-type]
    return Assignment(replica_id=ReplicaId(name), app="shop", service="web", slot=1, revision=1, spec=spec)


def test_it_counts_from_the_asking_not_from_the_answer() -> None:
    lease = Lease()
    lease.ask(100.0)
    lease.ask(101.0)
    lease.renew(lease.answered(), 3.03)  # heard at 102.9
    assert lease.silent_s(102.9) == 0
    assert lease.silent_s(103.5) == pytest.approx(0.5)
    lease.renew(lease.answered(), 3.03)
    assert lease.silent_s(103.5) == 0


def test_an_answer_to_nothing_is_none() -> None:
    lease = Lease()
    lease.ask(100.0)
    lease.begin()  # a new stream
    with pytest.raises(LookupError):
        lease.answered()


def test_without_any_there_was_none_for_ever() -> None:
    assert math.isinf(Lease().silent_s(5.0))


def test_what_waits_for_its_answer_is_known() -> None:
    lease = Lease()
    assert lease.waiting_s(100.0) == 0
    lease.ask(100.0)
    lease.ask(101.0)
    assert lease.waiting_s(103.0) == 3.0


def test_it_ends_before_the_managers_whatever_the_network_and_the_clocks_do() -> None:
    """The whole arithmetic of docs/decisions/0018-fencing.md, with clocks that err as much as they may."""
    chance = random.Random(18)
    for _ in range(2_000):
        lease_s, after_s, grace_s = chance.uniform(0.1, 3600), chance.choice([0.0, 5.0, 600.0]), chance.uniform(0, 120)
        slow = 1 / (1 + chance.uniform(-CLOCK_DRIFT, CLOCK_DRIFT))  # what the agent's clock shows of a second of the manager's
        sent_at, travel_s = chance.uniform(0, 1000), chance.uniform(0, 100)
        lease = Lease()
        lease.ask(sent_at * slow)
        lease.renew(lease.answered(), lease_s)
        manager_ends = sent_at + travel_s + lease_s
        assert lease.until / slow <= manager_ends + 1e-6
        noticing_s, killing_s = 0.2, 1.0
        stopped_at = (lease.until + after_s + grace_s) / slow + noticing_s + killing_s
        spec = ServiceSpec(
            name="web",
            container=ContainerSpec(image="i", stop_grace_period_s=grace_s),
            on_disconnect=OnDisconnect.STOP,
            on_disconnect_after_s=after_s,
        )
        assert stopped_at < manager_ends + fence_s(spec)


def test_the_clock_goes_on_and_only_forward() -> None:
    first = clock()
    time.sleep(0.01)
    assert 0.005 < clock() - first < 5.0


def test_only_those_that_never_run_twice_need_a_lease() -> None:
    all_of_them = (assigned("any", None), assigned("soon", 0.0), assigned("later", 30.0))
    silent = [0.0]
    fence = Fence(lambda: silent[0])
    assert fence.overdue(all_of_them) == set()
    silent[0] = 1.0
    assert fence.overdue(all_of_them) == {"soon"}
    silent[0] = math.inf
    assert fence.overdue(all_of_them) == {"soon", "later"}


def test_a_lease_that_is_back_excuses_nothing() -> None:
    fence = Fence(lambda: 0.0)
    fence.lapse((assigned("soon", 0.0), assigned("later", 30.0)), 7.0)
    assert fence.silent_s(ReplicaId("soon")) == 7.0
    assert fence.silent_s(ReplicaId("later")) == 0.0
    assert fence.stopped(ReplicaId("soon"))
    assert fence.silent_s(ReplicaId("soon")) == 0.0
    assert not fence.stopped(ReplicaId("soon"))


def test_it_is_known_to_the_next_agent_on_the_same_boot_of_the_machine(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.lease_until() == -math.inf
    asyncio.run(home.keep_lease(1234.5))
    assert home.lease_until() == 1234.5
    (tmp_path / "lease").write_text("another-boot 1234.5")
    assert home.lease_until() == -math.inf
    (tmp_path / "lease").write_text("garbage")
    assert home.lease_until() == -math.inf
