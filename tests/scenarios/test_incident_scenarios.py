"""What went wrong with a whole manager, as its events tell it afterwards."""

import asyncio
from pathlib import Path

from fake_agent import FakeAgent
from rookery.incidents import Incident, Kind, Outcome, find, story
from rookery.model import ContainerSpec, Event, ReplicaState, ReplicaStatus, Replicated, ServiceSpec, UpdateConfig
from rookery.v1 import control_pb2
from rookery.wire import decode
from whole_manager import PATIENCE_S, Manager, manager, until

LEASE_S = 1.5


def web(image: str = "web:1") -> ServiceSpec:
    return ServiceSpec(
        name="web",
        container=ContainerSpec(image=image),
        mode=Replicated(replicas=4),
        update=UpdateConfig(parallelism=2, monitor_s=0.05),
        rollback=UpdateConfig(parallelism=2, monitor_s=0.05),
    )


async def incidents(m: Manager) -> tuple[Incident, ...]:
    answer = await m.control.ListEvents(control_pb2.ListEventsRequest(limit=10_000), timeout=PATIENCE_S)
    return find(decode(Event, event) for event in answer.events)


def test_a_lost_node_is_one_story_with_the_right_figures(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path, lease_s=LEASE_S) as m, FakeAgent(m.address, "n1") as a, FakeAgent(m.address, "n2") as b:
            await m.deploy(web())
            await until(lambda: m.converged("web"))
            assert await incidents(m) == ()
            lost = sorted(assignment.name for assignment in a.assignments.values())
            a.paused = True
            await until(lambda: len(b.running()) == 4)
            await until(lambda: m.converged("web"))
            (one,) = await incidents(m)
            assert (one.kind, one.subject, one.what) == (Kind.NODE_DOWN, "n1", "n1 went down")
            assert (one.outcome, one.note, sorted(one.affected)) == (Outcome.RECOVERED, "n1 is still down", lost)
            assert LEASE_S - 0.1 <= one.noticed_after_s < LEASE_S + 10
            assert one.recovered_in_s is not None
            assert one.noticed_after_s <= one.recovered_in_s < one.noticed_after_s + 20
            told = [line.text for line in story(one).lines]
            assert told[:3] == [
                "n1 was heard for the last time",
                f"its lease ended, so n1 counts as down: silent for {one.noticed_after_s:.1f} s",
                " and ".join(one.affected) + " were lost",
            ]
            assert sum(" was placed on n2: n2 has " in text for text in told) == 2
            a.paused = False
            await until(lambda: _has_returned(m))
            assert story((await incidents(m))[0]).still_open == ()

    asyncio.run(scene())


async def _has_returned(m: Manager) -> bool:
    (one, *_) = await incidents(m)
    return any(line.text == "n1 came back after it was down" for line in story(one).lines)


def test_a_crash_a_failed_rollout_and_a_manager_that_was_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m:
            port = int(m.address.rpartition(":")[2])
            async with FakeAgent(m.address, "n1") as agent:
                await m.deploy(web())
                await until(lambda: m.converged("web"))
                replica = next(iter(agent.assignments.values()))
                told = {"replica_id": replica.replica_id, "state": ReplicaState.RUNNING, "restarts": 1}
                agent.report(ReplicaStatus(why="restarting: exited with status 137", **told))
                await until(lambda: _are(m, Outcome.OPEN))
                agent.report(ReplicaStatus(why="running, restarted once", ready=True, **told))
                await until(lambda: _are(m, Outcome.RECOVERED))
                agent.crashing = "web:2"
                await m.deploy(web("web:2"))
                await until(lambda: _are(m, Outcome.RECOVERED, Outcome.RECOVERED))
        async with manager(tmp_path, port=port) as m:
            crash, rollout, away = await incidents(m)
            assert (crash.what, crash.times) == (f"{replica.name} crashed", 1)
            assert rollout.what == "shop/web: revision 2 is rolled back to 1"
            assert (away.kind, away.outcome) == (Kind.MANAGER_AWAY, Outcome.RECOVERED)

    asyncio.run(scene())


async def _are(m: Manager, *outcomes: Outcome) -> bool:
    return tuple(one.outcome for one in await incidents(m)) == outcomes
