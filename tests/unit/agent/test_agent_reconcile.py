"""The agent's loop over a runtime in memory: what it does when, and what it leaves alone."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from fake_runtime import FakeRuntime
from ports import free_port
from rookery.model import (
    Assignment,
    CommandProbe,
    ContainerSpec,
    Desired,
    Endpoint,
    NoProbe,
    Probe,
    ProbeTiming,
    ReplicaId,
    ReplicaState,
    ReplicaStatus,
    RestartPolicy,
    ServiceSpec,
    TcpProbe,
)
from rookery_agent.assignments import Held
from rookery_agent.reconcile import Reconciler
from rookery_agent.record import Record, dump, load
from rookery_agent.runtime.protocol import EngineAway, ImageMissing, Instance, InstanceState, RuntimeFailure


def assigned(name: str, *, desired: Desired = Desired.RUN, probe: Probe | None = None, image: str = "web:1") -> Assignment:
    spec = ServiceSpec(
        name="web", container=ContainerSpec(image=image), probe=probe or NoProbe(), restart=RestartPolicy(delay_s=0.0)
    )
    return Assignment(replica_id=ReplicaId(name), app="shop", service="web", slot=1, revision=1, spec=spec, desired=desired)


@dataclass
class Node:
    """A reconciler under test, and what it told."""

    runtime: FakeRuntime
    loop: Reconciler
    changed: asyncio.Event
    told: list[ReplicaStatus] = field(default_factory=list)
    generation: int = 0

    def want(self, *assignments: Assignment, confirmed: bool = True) -> None:
        self.generation += 1
        held = Held(generation=self.generation, assignments={a.replica_id: a for a in assignments})
        self.loop.take(held, confirmed=confirmed)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.changed.wait()
                except TimeoutError:
                    continue

    def state(self, name: str) -> ReplicaState | None:
        status = self.loop.statuses.get(ReplicaId(name))
        return status.state if status else None

    def ready(self, name: str) -> bool:
        status = self.loop.statuses.get(ReplicaId(name))
        return status is not None and status.ready


def play(
    test: Callable[[Node], Awaitable[None]], *, runtime: FakeRuntime | None = None, records: dict[ReplicaId, Record] | None = None
) -> None:
    async def run() -> None:
        fake, changed, told = runtime or FakeRuntime(), asyncio.Event(), []  # type: ignore[var-annotated]

        def report(status: ReplicaStatus) -> None:
            told.append(status)
            changed.set()

        loop = Reconciler(fake, records or {}, report=report, remember=lambda: None, silent_s=lambda: 0.0)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(loop.run())
            try:
                await test(Node(runtime=fake, loop=loop, changed=changed, told=told))
            finally:
                task.cancel()

    asyncio.run(run())


def test_a_replica_goes_through_its_states_and_away_again() -> None:
    async def test(node: Node) -> None:
        node.want(assigned("a"))
        await node.until(lambda: node.ready("a"))
        node.want(assigned("a", desired=Desired.STOP))
        await node.until(lambda: node.state("a") is ReplicaState.STOPPED)
        node.want()
        await node.until(lambda: not node.loop.records)
        assert [name for name, _ in node.runtime.calls] == ["prepare", "start", "stop", "remove"]
        order = list(ReplicaState)
        told = [order.index(status.state) for status in node.told]
        assert told == sorted(told)

    play(test)


def test_a_crash_is_restarted_at_once() -> None:
    async def test(node: Node) -> None:
        node.want(assigned("a"))
        await node.until(lambda: node.ready("a"))
        node.runtime.end("a", 1)
        await node.until(lambda: node.loop.statuses[ReplicaId("a")].restarts == 1 and node.ready("a"))
        assert [name for name, _ in node.runtime.calls] == ["prepare", "start", "start"]

    play(test)


def test_what_was_removed_from_outside_comes_back() -> None:
    async def test(node: Node) -> None:
        node.want(assigned("a"))
        await node.until(lambda: node.ready("a"))
        node.runtime.lose("a")
        await node.until(lambda: node.loop.statuses[ReplicaId("a")].restarts == 1 and node.ready("a"))

    play(test)


def test_what_runs_already_is_adopted() -> None:
    runtime = FakeRuntime()
    runtime.instances[ReplicaId("a")] = Instance(replica_id=ReplicaId("a"), id="c-a", state=InstanceState.RUNNING, started_at=5.0)

    async def test(node: Node) -> None:
        node.want(assigned("a"), confirmed=False)
        await node.until(lambda: node.ready("a"))
        assert runtime.calls == []
        assert node.loop.statuses[ReplicaId("a")].restarts == 0

    play(test, runtime=runtime)


def test_the_unknown_stays_until_the_manager_has_spoken() -> None:
    runtime = FakeRuntime()
    for name in ("a", "b"):
        key = ReplicaId(name)
        runtime.instances[key] = Instance(replica_id=key, id=f"c-{name}", state=InstanceState.RUNNING, started_at=5.0)

    async def test(node: Node) -> None:
        node.want(assigned("a"), confirmed=False)
        await node.until(lambda: node.ready("a"))
        assert runtime.calls == []
        node.want(assigned("a"))
        await node.until(lambda: ReplicaId("b") not in runtime.instances)
        assert runtime.calls == [("stop", "b"), ("remove", "b")]

    play(test, runtime=runtime)


def test_a_missing_image_blocks_nobody_else() -> None:
    async def test(node: Node) -> None:
        node.runtime.broken["prepare"] = ImageMissing("image gone:1 is not on this node")
        node.want(assigned("a", image="gone:1"))
        await node.until(lambda: "gone:1 is not on this node" in (node.told[-1].why if node.told else ""))
        assert node.state("a") is ReplicaState.PREPARING
        node.runtime.broken.clear()
        node.want(assigned("a", image="gone:1"), assigned("b"))
        await node.until(lambda: node.ready("b"))
        await node.until(lambda: node.ready("a"))  # after its back-off

    play(test)


def test_a_long_pull_ends_when_nobody_wants_it() -> None:
    async def test(node: Node) -> None:
        node.runtime.held["prepare"] = asyncio.Event()
        node.want(assigned("a"))
        await node.until(lambda: node.runtime.calls == [("prepare", "a")])
        node.want(assigned("a", desired=Desired.STOP))
        await node.until(lambda: node.state("a") is ReplicaState.STOPPED)

    play(test)


def test_a_start_that_fails_is_prepared_and_tried_again() -> None:
    async def test(node: Node) -> None:
        node.runtime.broken["start"] = RuntimeFailure("port 80 is taken")
        node.want(assigned("a"))
        await node.until(lambda: node.told and "port 80 is taken" in node.told[-1].why)
        node.runtime.broken.clear()
        await node.until(lambda: node.ready("a"))
        assert [name for name, _ in node.runtime.calls] == ["prepare", "start", "prepare", "start"]

    play(test)


def test_an_engine_that_goes_is_a_condition_and_nothing_is_done_meanwhile() -> None:
    async def test(node: Node) -> None:
        node.want(assigned("a"))
        await node.until(lambda: node.ready("a"))
        node.runtime.go_away("the engine does not answer")
        await node.until(lambda: node.loop.conditions())
        assert node.loop.conditions()[0].name == "engine-away"
        calls = len(node.runtime.calls)
        node.want(assigned("a"), assigned("b"))
        node.runtime.instances.clear()  # it comes back without what ran on it
        node.runtime.away = ""
        await node.until(lambda: not node.loop.conditions())
        await node.until(lambda: node.ready("a") and node.ready("b"))
        assert ("stop", "a") not in node.runtime.calls[calls:]
        assert node.loop.statuses[ReplicaId("a")].restarts == 1

    play(test)


def test_probes_decide_and_a_sick_one_is_restarted() -> None:
    timing = ProbeTiming(interval_s=0.05, timeout_s=1.0, retries=2)

    async def test(node: Node) -> None:
        node.want(assigned("a", probe=CommandProbe(args=("check",), timing=timing)))
        await node.until(lambda: node.ready("a"))
        node.runtime.broken["check"] = RuntimeFailure("it coughs")
        await node.until(lambda: ("stop", "a") in node.runtime.calls)
        del node.runtime.broken["check"]
        await node.until(lambda: node.loop.statuses[ReplicaId("a")].restarts == 1 and node.ready("a"))
        assert any("failed 2 times in a row: it coughs" in status.why for status in node.told)

    play(test)


def test_probes_by_command_say_nothing_while_the_engine_is_away() -> None:
    timing = ProbeTiming(interval_s=0.05, timeout_s=1.0, retries=2)

    async def test(node: Node) -> None:
        node.want(assigned("a", probe=CommandProbe(args=("check",), timing=timing)))
        await node.until(lambda: node.ready("a"))
        node.runtime.broken["check"] = EngineAway("it hangs")
        asked = len(node.runtime.calls)
        await node.until(lambda: len(node.runtime.calls) > asked + 10)
        assert node.ready("a")
        assert ("stop", "a") not in node.runtime.calls

    play(test)


def test_probes_by_tcp_go_on_while_the_engine_is_away_and_nothing_is_done_about_them() -> None:
    timing = ProbeTiming(interval_s=0.05, timeout_s=1.0, retries=2)

    async def test(node: Node) -> None:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        port = free_port()
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        key = ReplicaId("a")
        node.runtime.endpoints[key] = (Endpoint(replica_id=key, address="127.0.0.1", port=port, target=80),)
        node.want(assigned("a", probe=TcpProbe(port=80, timing=timing)))
        await node.until(lambda: node.ready("a"))
        node.runtime.go_away("it hangs")
        await node.until(lambda: node.loop.conditions())
        server.close()
        await node.until(lambda: not node.ready("a"))
        assert "health check failed" in node.told[-1].why
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        await node.until(lambda: node.ready("a"))
        node.runtime.away = ""
        await node.until(lambda: not node.loop.conditions())
        await asyncio.sleep(0.2)  # in which nothing may happen
        assert [name for name, _ in node.runtime.calls] == ["prepare", "start"]
        server.close()

    play(test)


def test_no_space_left_is_the_reason_and_a_condition_of_the_node() -> None:
    async def test(node: Node) -> None:
        node.runtime.broken["start"] = RuntimeFailure("mkdir /var/lib/docker/x: no space left on device")
        node.want(assigned("a"))
        await node.until(lambda: node.told and "no space left on device" in node.told[-1].why)
        assert [c.name for c in node.loop.conditions()] == ["disk-full"]

    play(test)


PHASES = ["prepare", "start", "stop", "remove"]


@pytest.mark.parametrize("done", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_the_middle_of_anything_the_next_agent_finishes_it(phase: str, done: bool) -> None:
    """The engine may do what it was asked to, or not, after the agent that asked is gone."""
    before, after, saved = FakeRuntime(), FakeRuntime(), b"[]"
    stopping = phase in ("stop", "remove")

    async def first(node: Node) -> None:
        nonlocal saved
        before.held[phase] = asyncio.Event()
        node.want(assigned("a"))
        if stopping:
            await node.until(lambda: node.ready("a"))
            saved = dump(node.loop.records)  # what came after that was not written yet
            node.want(assigned("a", desired=Desired.STOP))
        await node.until(lambda: (phase, "a") in before.calls)

    async def second(node: Node) -> None:
        node.want(assigned("a", desired=Desired.STOP if stopping else Desired.RUN))
        if stopping:
            await node.until(lambda: node.state("a") is ReplicaState.STOPPED)
            assert not after.instances
        else:
            await node.until(lambda: node.ready("a"))
            assert node.loop.statuses[ReplicaId("a")].restarts == 0
        assert after.calls.count(("start", "a")) == (0 if stopping or (done and phase == "start") else 1)

    play(first, runtime=before)
    after.instances = before.instances
    if done:
        finish(after, phase)
    play(second, runtime=after, records=load(saved))


def finish(runtime: FakeRuntime, phase: str) -> None:
    """The engine does what it was asked to by an agent that is gone."""
    key = ReplicaId("a")
    match phase:
        case "start":
            runtime.instances[key] = Instance(replica_id=key, id="c-a", state=InstanceState.RUNNING, started_at=5.0)
        case "stop":
            runtime.instances[key] = Instance(replica_id=key, id="c-a", state=InstanceState.EXITED, exit_code=143, started_at=5.0)
        case "remove":
            runtime.instances.pop(key, None)


def test_stopped_waits_for_what_is_being_stopped() -> None:
    async def test(node: Node) -> None:
        node.want(assigned("a"), assigned("b"))
        await node.until(lambda: node.ready("a") and node.ready("b"))
        node.runtime.held["stop"] = asyncio.Event()
        node.want(assigned("a"), assigned("b", desired=Desired.STOP))
        await node.until(lambda: ("stop", "b") in node.runtime.calls)
        waiting = asyncio.ensure_future(node.loop.stopped())
        await asyncio.sleep(0)
        assert not waiting.done()
        node.runtime.held["stop"].set()
        async with asyncio.timeout(30):
            await waiting

    play(test)
