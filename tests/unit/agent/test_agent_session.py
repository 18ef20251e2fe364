"""The session with a manager over real sockets: what is said when, and what is refused."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fake_manager import FakeManager, delta, whole
from rookery.identity.standing import Standing, Wanted
from rookery.model import (
    Assignment,
    ContainerSpec,
    FileContent,
    FileKind,
    FileMount,
    NodeInfo,
    NodeStats,
    ReplicaId,
    ReplicaState,
    ReplicaStatus,
    ServiceSpec,
)
from rookery.v1 import dispatch_pb2
from rookery.wire import encode
from rookery_agent import assignments
from rookery_agent.assignments import Copy, Gap, Held, complete, load, take_delta, take_set
from rookery_agent.lease import Lease
from rookery_agent.session import Hooks, Session, Vitals


def standing() -> Standing:
    return Standing(Path("unused"), "", "agent", Wanted(token=None, insecure=True), logging.getLogger("test"))


def assigned(name: str, *, secret: bool = False) -> Assignment:
    mounts = (FileMount(kind=FileKind.SECRET, name="key", target="/run/secrets/key"),) if secret else ()
    spec = ServiceSpec(name="web", container=ContainerSpec(image="web:1", files=mounts))
    files = (FileContent(kind=FileKind.SECRET, name="key", content=b"hunter2", digest=""),) if secret else ()
    return Assignment(replica_id=ReplicaId(name), app="shop", service="web", slot=1, revision=1, spec=spec, files=files)


@dataclass
class Agent:
    """What the session sees of an agent: it keeps sets, and tells statuses."""

    kept: list[Held] = field(default_factory=list)
    statuses: list[ReplicaStatus] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    durable: bool = True

    def hooks(self) -> Hooks:
        return Hooks(
            standing=standing(),
            info=lambda: NodeInfo(hostname="n1", address="127.0.0.1"),
            vitals=lambda: Vitals(stats=NodeStats(load_1m=1.5)),
            statuses=lambda: tuple(self.statuses),
            keep=self.keep,
            renewed=self.silences.append,
            logs=lambda _, request: self.asked.append(request.request_id),
            cancel_logs=lambda request_id: self.asked.append(f"not {request_id}"),
        )

    async def keep(self, held: Held) -> bool:
        self.kept.append(held)
        return self.durable


def play(
    test: Callable[[FakeManager, Agent, Session], Awaitable[None]], *, held: Held | None = None, connected: bool = True
) -> None:
    """Runs a test with a manager and a session towards it."""

    async def run() -> None:
        manager, agent = FakeManager(), Agent()
        session = Session(await manager.start(), "node-1", held or Held(), Lease(), agent.hooks(), seed=1)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(session.run())
            try:
                if connected:
                    await manager.until(lambda: manager.connections)
                await test(manager, agent, session)
            finally:
                task.cancel()
                await manager.stop()

    asyncio.run(run())


def test_hello_then_heartbeats_at_the_managers_pace() -> None:
    async def test(manager: FakeManager, _agent: Agent, session: Session) -> None:
        await manager.until(lambda: len(manager.heard_of("heartbeat")) >= 5)
        assert manager.heard[0].hello.node_id == "node-1"
        assert manager.heard[0].hello.info.hostname == "n1"
        assert manager.heard_of("heartbeat")[0].stats.load_1m == 1.5
        async with asyncio.timeout(60):
            while session.silent_s():  # noqa: ASYNC110 it is a clock
                await asyncio.sleep(0.02)

    play(test)


def test_a_set_is_kept_and_then_acknowledged() -> None:
    async def test(manager: FakeManager, agent: Agent, _session: Session) -> None:
        manager.say(whole(7, assigned("a"), assigned("b")))
        await manager.until(lambda: [a.generation for a in manager.heard_of("acknowledge")] == [7])
        assert set(agent.kept[-1].assignments) == {"a", "b"}
        manager.say(delta(7, 9, assigned("c"), removes=("a",)))
        await manager.until(lambda: [a.generation for a in manager.heard_of("acknowledge")] == [7, 9])
        assert set(agent.kept[-1].assignments) == {"b", "c"}

    play(test)


def test_what_is_not_on_disk_is_not_acknowledged() -> None:
    async def test(manager: FakeManager, agent: Agent, _session: Session) -> None:
        agent.durable = False
        manager.say(whole(7, assigned("a")))
        await manager.until(lambda: agent.kept)
        beats = len(manager.heard_of("heartbeat"))
        await manager.until(lambda: len(manager.heard_of("heartbeat")) > beats + 1)
        assert not manager.heard_of("acknowledge")

    play(test)


def test_a_delta_from_elsewhere_makes_it_ask_for_all() -> None:
    async def test(manager: FakeManager, agent: Agent, _session: Session) -> None:
        manager.say(whole(7, assigned("a")))
        await manager.until(lambda: manager.heard_of("acknowledge"))
        manager.say(delta(8, 9, assigned("b")))
        await manager.until(lambda: manager.connections == 2)
        assert [hello.generation for hello in manager.heard_of("hello")] == [0, 0]
        manager.say(whole(9, assigned("b")))
        await manager.until(lambda: len(agent.kept) == 2)
        assert set(agent.kept[-1].assignments) == {"b"}

    play(test)


def test_an_older_set_is_refused() -> None:
    async def test(manager: FakeManager, agent: Agent, _session: Session) -> None:
        manager.say(whole(7, assigned("a")))
        await manager.until(lambda: manager.heard_of("acknowledge"))
        manager.say(whole(6))
        await manager.until(lambda: manager.connections == 2)
        assert len(agent.kept) == 1
        assert manager.heard_of("hello")[-1].generation == 7

    play(test)


def test_a_changed_status_is_sent_at_once_and_all_of_them_after_a_reconnect() -> None:
    async def test(manager: FakeManager, agent: Agent, session: Session) -> None:
        status = ReplicaStatus(replica_id=ReplicaId("a"), state=ReplicaState.RUNNING, ready=True)
        agent.statuses = [status]
        session.report(status)
        await manager.until(lambda: manager.statuses.get("a"))
        manager.statuses.clear()
        manager.hang_up()
        await manager.until(lambda: manager.connections == 2)
        assert manager.statuses["a"] == status

    play(test)


def test_without_a_manager_the_lease_ends_and_comes_back_with_it() -> None:
    async def test(manager: FakeManager, _agent: Agent, session: Session) -> None:
        await manager.until(lambda: len(manager.heard_of("heartbeat")) >= 2)
        port = manager.port
        await manager.stop()
        async with asyncio.timeout(30):
            while not session.silent_s():  # noqa: ASYNC110 it is a clock
                await asyncio.sleep(0.02)
        assert not session.connected
        await manager.start(port)
        async with asyncio.timeout(60):
            while session.silent_s():  # noqa: ASYNC110 it is a clock
                await asyncio.sleep(0.02)

    play(test)


def test_the_lease_is_back_only_when_it_is_known_what_the_manager_wants() -> None:
    async def test(manager: FakeManager, agent: Agent, session: Session) -> None:
        manager.leases = False  # a welcome, no answers to heartbeats
        await manager.until(lambda: len(manager.heard_of("heartbeat")) >= 2)
        assert session.silent_s() > 0
        assert not agent.silences
        manager.say(whole(7, assigned("a")))
        await manager.until(lambda: manager.heard_of("acknowledge"))
        assert len(agent.kept) == len(agent.silences) == 1

    play(test)


def test_the_lease_counts_from_the_heartbeat_that_was_answered() -> None:
    async def test(manager: FakeManager, _agent: Agent, session: Session) -> None:
        manager.leases = False
        await manager.until(lambda: len(manager.heard_of("heartbeat")) >= 8)
        assert session.silent_s() > 0  # heartbeats alone renew nothing

    play(test)


def test_a_lease_that_nobody_asked_for_ends_the_stream() -> None:
    async def test(manager: FakeManager, _agent: Agent, _session: Session) -> None:
        manager.leases = False
        for _ in range(20):
            manager.say(dispatch_pb2.ManagerMessage(lease=dispatch_pb2.Lease(lease_s=3000.0)))
        await manager.until(lambda: manager.connections == 2)

    play(test)


def test_goodbye_waits_for_farewell() -> None:
    async def test(manager: FakeManager, _agent: Agent, session: Session) -> None:
        session.goodbye("it is Friday")
        await manager.until(lambda: [g.why for g in manager.heard_of("goodbye")] == ["it is Friday"])
        assert not session.farewell.is_set()
        manager.say(dispatch_pb2.ManagerMessage(farewell=dispatch_pb2.Farewell(why="go")))
        async with asyncio.timeout(30):
            await session.farewell.wait()

    play(test)


def test_requests_for_logs_are_handed_on() -> None:
    async def test(manager: FakeManager, agent: Agent, _session: Session) -> None:
        manager.say(dispatch_pb2.ManagerMessage(logs=dispatch_pb2.LogRequest(request_id="1", replica_id="a")))
        manager.say(dispatch_pb2.ManagerMessage(cancel_logs=dispatch_pb2.LogCancel(request_id="1")))
        manager.say(whole(1))
        await manager.until(lambda: manager.heard_of("acknowledge"))
        assert agent.asked == ["1", "not 1"]

    play(test)


def test_what_is_held_is_told_at_the_first_hello() -> None:
    async def test(manager: FakeManager, _agent: Agent, _session: Session) -> None:
        assert manager.heard_of("hello")[0].generation == 5

    play(test, held=Held(generation=5, assignments={ReplicaId("a"): assigned("a")}))


def test_missing_contents_of_secrets_make_it_ask_for_all() -> None:
    async def test(manager: FakeManager, _agent: Agent, _session: Session) -> None:
        assert manager.heard_of("hello")[0].generation == 0

    play(test, held=load(Copy().of(Held(generation=5, assignments={ReplicaId("a"): assigned("a", secret=True)}))))


def test_nonsense_ends_the_stream_not_the_agent() -> None:
    async def test(manager: FakeManager, agent: Agent, _session: Session) -> None:
        broken = dispatch_pb2.AssignmentSet(generation=3)
        broken.assignments.add(replica_id="x").spec.mode.SetInParent()
        manager.say(dispatch_pb2.ManagerMessage(assignments=broken))
        await manager.until(lambda: manager.connections == 2)
        assert not agent.kept

    play(test)


def message(what: str) -> dispatch_pb2.ManagerMessage:
    """What no honest manager says, by what it is counted as."""
    odd = assigned("b")
    match what:
        case "old-generation":
            return whole(3)
        case "gap":
            return delta(6, 9, odd)
        case "another-nodes":
            return dispatch_pb2.ManagerMessage(assignments=dispatch_pb2.AssignmentSet(generation=9, node_id="node-2"))
        case "too-large":
            return dispatch_pb2.ManagerMessage(delta=dispatch_pb2.AssignmentDelta(from_generation=7, removes=["r"] * 30_000))
        case "senseless name":
            return whole(9, replace(odd, replica_id=ReplicaId("../../etc")))
        case "senseless time":
            return whole(9, replace(odd, spec=replace(odd.spec, on_disconnect_after_s=float("nan"))))
        case "senseless lease":
            return dispatch_pb2.ManagerMessage(lease=dispatch_pb2.Lease(lease_s=float("inf")))
    broken = dispatch_pb2.AssignmentSet(generation=9)
    broken.assignments.add(replica_id="x").spec.mode.SetInParent()
    return dispatch_pb2.ManagerMessage(assignments=broken)


@pytest.mark.parametrize(
    "what",
    [
        "old-generation",
        "gap",
        "another-nodes",
        "too-large",
        "senseless name",
        "senseless time",
        "senseless lease",
        "message",
    ],
)
def test_what_no_honest_manager_says_is_refused_and_changes_nothing(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(manager: FakeManager, agent: Agent, session: Session) -> None:
        manager.say(whole(7, assigned("a")))
        await manager.until(lambda: manager.heard_of("acknowledge"))
        for again in range(3):
            manager.say(message(what))
            await manager.until(lambda n=again: manager.connections == 2 + n)  # type: ignore[misc]
        assert [set(held.assignments) for held in agent.kept] == [{"a"}]
        assert session.refused == {what.partition(" ")[0]: 3}
        manager.say(whole(9, assigned("c")))  # the next good word is taken
        await manager.until(lambda: len(agent.kept) == 2)

    play(test)
    told = [record.getMessage() for record in caplog.records if record.name == "rookery.agent" and record.levelname == "WARNING"]
    assert len(told) == 1  # however often it is refused
    assert told[0].startswith("refused (")


def test_contents_of_secrets_never_get_on_the_disk() -> None:
    held = Held(generation=5, assignments={ReplicaId("a"): assigned("a", secret=True)})
    data = Copy().of(held)
    assert b"hunter2" not in data
    back = load(data)
    assert back.generation == 5
    assert complete(held)
    assert not complete(back)


def test_a_copy_encodes_what_changed_and_says_all(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    monkeypatch.setattr(assignments, "encode", lambda a: (encoded.append(a.replica_id), encode(a))[1])
    copy = Copy()
    held = take_set(Held(), 3, (assigned("a"), assigned("b"), assigned("c")))
    copy.of(held)
    held = take_delta(held, 3, 5, (replace(assigned("b"), revision=2), assigned("d")), (ReplicaId("c"),))
    assert load(copy.of(held)) == held
    assert encoded == ["a", "b", "c", "b", "d"]


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"not a set at all"])
def test_garbage_on_the_disk_is_known_as_such(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 any
        load(data)


def test_sets_and_deltas() -> None:
    held = take_set(Held(), 3, (assigned("a"), assigned("b")))
    held = take_delta(held, 3, 5, (assigned("c"),), (ReplicaId("b"), ReplicaId("unknown")))
    assert (held.generation, set(held.assignments)) == (5, {"a", "c"})
    assert take_set(held, 5, ()).assignments == {}
    with pytest.raises(Gap):
        take_set(held, 4, ())
    for start, end in ((3, 6), (6, 7), (5, 4)):
        with pytest.raises(Gap):
            take_delta(held, start, end, (), ())
