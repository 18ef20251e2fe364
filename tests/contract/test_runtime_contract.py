"""One suite for every Runtime: what the agent relies on holds for containers and for plain processes alike."""

import asyncio
import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from busybox_image import busybox
from memory_files import files_of
from rookery.model import (
    Argv,
    Assignment,
    ContainerSpec,
    NodeId,
    PullPolicy,
    ReplicaId,
    Resources,
    ServiceSpec,
)
from rookery_agent.runtime.docker import DockerRuntime
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.process import ProcessRuntime
from rookery_agent.runtime.protocol import Instance, InstanceState, Runtime, RuntimeEvent, RuntimeFailure

# Ends at once on the stop signal, and prints a line on each stream first.
SERVE = "trap 'exit 7' TERM; echo ready; echo trouble >&2; while true; do sleep 0.1; done"
# Does not care for the stop signal.
STUBBORN = "trap '' TERM; echo ready; while true; do sleep 0.1; done"


@dataclass
class Bench:
    """A runtime under test, and how to have a second one for the same node."""

    make: Callable[[str], Runtime]
    image: str
    node: str
    runtime: Runtime
    made: list[Runtime] = field(default_factory=list)

    def again(self, node: str = "") -> Runtime:
        made = self.make(node or self.node)
        self.made.append(made)
        return made

    def assignment(self, script: str, **changes: Any) -> Assignment:
        replica_id = ReplicaId(uuid.uuid4().hex[:16])
        container = ContainerSpec(
            image=self.image,
            command=Argv(args=("sh", "-c", script)),
            environment={"COLOUR": "green"},
            pull_policy=PullPolicy.NEVER,
        )
        spec = ServiceSpec(name="web", container=replace(container, **changes.pop("container", {})), **changes)
        return Assignment(replica_id=replica_id, app="contract", service="web", slot=1, revision=1, spec=spec)


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(kind: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("image")) if kind == "docker" else ""


def check(kind: str, engine: str, data: Path, test: Callable[[Bench], Awaitable[None]]) -> None:
    """Runs a test with a runtime of its own node, and removes all that it made."""

    def make(node: str) -> Runtime:
        place = Place(node_id=NodeId(node), hostname="n1", address="127.0.0.1")
        files = files_of(place.node_id)
        return DockerRuntime(place, files) if kind == "docker" else ProcessRuntime(place, data / node, files)

    async def run() -> None:
        node = f"contract-{uuid.uuid4().hex[:8]}"
        runtime = make(node)
        bench = Bench(make=make, image=engine, node=node, runtime=runtime, made=[runtime])
        try:
            await runtime.list()
            await test(bench)
        finally:
            cleaner = bench.again()
            for instance in await cleaner.list():
                await cleaner.remove(instance.replica_id)
            for made in bench.made:
                await made.close()

    asyncio.run(run())


async def begin(runtime: Runtime, assignment: Assignment) -> Instance:
    await runtime.prepare(assignment)
    return await runtime.start(assignment)


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 60.0) -> Any:
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):  # noqa: ASYNC110 the runtime is asked, it does not tell
            await asyncio.sleep(0.02)
        return found


async def printed(runtime: Runtime, replica_id: ReplicaId, count: int) -> list[tuple[bool, bytes]]:
    """The whole log, once it has so many lines."""

    async def look() -> list[tuple[bool, bytes]]:
        lines = [(line.stderr, line.line) async for line in runtime.logs(replica_id, follow=False, tail=-1, since_at=0.0)]
        return lines if len(lines) >= count else []

    return list(await until(look))


@contextlib.asynccontextmanager
async def listening(runtime: Runtime) -> AsyncIterator["asyncio.Queue[RuntimeEvent]"]:
    """The runtime's events, from when its stream stands."""
    heard: asyncio.Queue[RuntimeEvent] = asyncio.Queue(100)

    async def listen() -> None:
        async for event in runtime.events():
            heard.put_nowait(event)

    task = asyncio.ensure_future(listen())
    try:
        async with asyncio.timeout(60):
            assert await heard.get() == RuntimeEvent(replica_id=None)
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_an_instance_lives_from_prepare_to_remove(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = bench.runtime, bench.assignment(SERVE)
        assert await runtime.inspect(a.replica_id) is None
        made = await begin(runtime, a)
        assert made.state is InstanceState.RUNNING
        assert made.replica_id == a.replica_id
        assert made.started_at > 0
        assert [i.id for i in await runtime.list()] == [made.id]
        await printed(runtime, a.replica_id, 2)
        left = await runtime.stop(a.replica_id, grace_s=10)
        assert left is not None
        assert (left.state, left.exit_code) == (InstanceState.EXITED, 7)
        assert left.endpoints == ()
        await runtime.remove(a.replica_id)
        assert await runtime.inspect(a.replica_id) is None
        assert await runtime.list() == ()

    check(kind, engine, tmp_path, test)


def test_everything_twice_is_harmless(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = bench.runtime, bench.assignment(SERVE)
        await runtime.prepare(a)
        first = await begin(runtime, a)
        second = await runtime.start(a)
        assert (first.id, first.started_at) == (second.id, second.started_at)
        await runtime.stop(a.replica_id, grace_s=5)
        left = await runtime.stop(a.replica_id, grace_s=5)
        assert left is not None
        assert left.state is InstanceState.EXITED
        await runtime.remove(a.replica_id)
        await runtime.remove(a.replica_id)
        assert await runtime.stop(a.replica_id, grace_s=1) is None

    check(kind, engine, tmp_path, test)


def test_a_restart_starts_the_same_instance_again(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = (
            bench.runtime,
            bench.assignment("echo once; sleep 0.3; exit 3"),
        )  # an engine may note the start of a shorter run after its end

        async def ended() -> Instance | None:
            seen = await runtime.inspect(a.replica_id)
            return seen if seen is not None and seen.state is InstanceState.EXITED else None

        first = await begin(runtime, a)
        seen = await until(ended)
        assert seen.exit_code == 3
        assert seen.finished_at >= seen.started_at > 0
        second = await runtime.start(a)
        assert second.id == first.id
        assert second.run != seen.run
        assert await printed(runtime, a.replica_id, 2) == [(False, b"once")] * 2

    check(kind, engine, tmp_path, test)


def test_an_exit_is_told_by_an_event(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = bench.runtime, bench.assignment("sleep 0.3; exit 5")
        async with listening(runtime) as heard:
            await begin(runtime, a)
            async with asyncio.timeout(30):
                assert (await heard.get()).replica_id == a.replica_id
            seen = await runtime.inspect(a.replica_id)
            assert seen is not None
            assert (seen.state, seen.exit_code) == (InstanceState.EXITED, 5)

    check(kind, engine, tmp_path, test)


def test_a_second_runtime_adopts_what_runs(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        a = bench.assignment(SERVE, expose=(80,))
        made = await begin(bench.runtime, a)
        await bench.runtime.close()
        bench.made.remove(bench.runtime)
        second = bench.again()
        adopted = await second.list()
        assert [(i.id, i.run, i.state, i.endpoints) for i in adopted] == [
            (made.id, made.run, InstanceState.RUNNING, made.endpoints)
        ]
        async with listening(second) as heard:
            await second.list()
            await printed(second, a.replica_id, 2)
            status, _ = await second.execute(a.replica_id, ("true",), timeout_s=10)
            assert status == 0
            left = await second.stop(a.replica_id, grace_s=5)
            assert left is not None
            assert left.exit_code == 7
            del heard

    check(kind, engine, tmp_path, test)


def test_another_nodes_instances_are_strangers(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        a = bench.assignment(SERVE)
        await begin(bench.runtime, a)
        other = bench.again(f"{bench.node}-other")
        assert await other.list() == ()
        assert await other.inspect(a.replica_id) is None
        assert await other.stop(a.replica_id, grace_s=0) is None
        await other.remove(a.replica_id)
        with pytest.raises(RuntimeFailure):
            await other.execute(a.replica_id, ("true",), timeout_s=5)
        seen = await bench.runtime.inspect(a.replica_id)
        assert seen is not None
        assert seen.state is InstanceState.RUNNING

    check(kind, engine, tmp_path, test)


def test_what_ignores_the_stop_signal_is_killed_after_the_grace(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = bench.runtime, bench.assignment(STUBBORN)
        await begin(runtime, a)
        await printed(runtime, a.replica_id, 1)
        began = asyncio.get_running_loop().time()
        left = await runtime.stop(a.replica_id, grace_s=0.5)
        took_s = asyncio.get_running_loop().time() - began
        assert left is not None
        assert left.exit_code == 137
        assert took_s >= 0.5

    check(kind, engine, tmp_path, test)


def test_the_spec_names_the_stop_signal(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        script = "trap 'exit 9' INT; echo ready; while true; do sleep 0.1; done"
        a = bench.assignment(script, container={"stop_signal": "SIGINT"})
        await begin(bench.runtime, a)
        await printed(bench.runtime, a.replica_id, 1)
        left = await bench.runtime.stop(a.replica_id, grace_s=10)
        assert left is not None
        assert left.exit_code == 9

    check(kind, engine, tmp_path, test)


def test_logs_by_tail_since_and_follow(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime = bench.runtime
        a = bench.assignment("for i in 1 2 3 4; do echo line $i; done; sleep 0.7; echo late; sleep 30")
        await begin(runtime, a)
        assert await printed(runtime, a.replica_id, 4) == [(False, f"line {i}".encode()) for i in range(1, 5)]
        tail = [line async for line in runtime.logs(a.replica_id, follow=False, tail=2, since_at=0.0)]
        assert [line.line for line in tail][:2] in ([b"line 3", b"line 4"], [b"line 4", b"late"])
        followed: list[bytes] = []
        async with asyncio.timeout(60):
            async for line in runtime.logs(a.replica_id, follow=True, tail=1, since_at=0.0):
                followed.append(line.line)
                late_at = line.at
                if line.line == b"late":
                    break
        assert followed[-1] == b"late"
        since = [line.line async for line in runtime.logs(a.replica_id, follow=False, tail=-1, since_at=late_at - 0.2)]
        assert since == [b"late"]

    check(kind, engine, tmp_path, test)


def test_both_streams_are_told_apart(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        a = bench.assignment(SERVE)
        await begin(bench.runtime, a)
        assert sorted(await printed(bench.runtime, a.replica_id, 2)) == [(False, b"ready"), (True, b"trouble")]

    check(kind, engine, tmp_path, test)


def test_the_log_of_nothing_is_an_error(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(RuntimeFailure, match="no log"):
            _ = [line async for line in bench.runtime.logs(ReplicaId("nobody"), follow=False, tail=-1, since_at=0.0)]

    check(kind, engine, tmp_path, test)


def test_commands_run_beside_the_instance(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = bench.runtime, bench.assignment(SERVE)
        await begin(runtime, a)
        assert await runtime.execute(a.replica_id, ("sh", "-c", "echo $COLOUR; exit 4"), timeout_s=10) == (4, b"green\n")
        status, output = await runtime.execute(
            a.replica_id, ("sh", "-c", "while true; do echo xxxxxxxx; done | head -c 9000"), timeout_s=10
        )
        assert len(output) <= 4096
        assert status in (0, 127)
        with pytest.raises(TimeoutError):
            await runtime.execute(a.replica_id, ("sleep", "30"), timeout_s=0.5)
        seen = await runtime.inspect(a.replica_id)
        assert seen is not None
        assert seen.state is InstanceState.RUNNING

    check(kind, engine, tmp_path, test)


def test_replicas_are_told_who_they_are(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        a = bench.assignment("echo $ROOKERY_APP $ROOKERY_SERVICE $ROOKERY_SLOT $ROOKERY_NODE $ROOKERY_REPLICA; sleep 30")
        await begin(bench.runtime, a)
        assert await printed(bench.runtime, a.replica_id, 1) == [(False, f"contract web 1 n1 {a.replica_id}".encode())]

    check(kind, engine, tmp_path, test)


def test_endpoints_answer(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        program = busybox()
        if program is None:
            pytest.skip("no busybox on this machine")
        serve = "httpd -f -p 8080" if kind == "docker" else f"exec {program} httpd -f -p $PORT"
        a = bench.assignment(serve, expose=(8080,))
        made = await begin(bench.runtime, a)
        assert [(e.target, e.address) for e in made.endpoints] == [(8080, "127.0.0.1")]

        async def answers() -> bool:
            try:
                _, writer = await asyncio.open_connection(made.endpoints[0].address, made.endpoints[0].port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await until(answers)

    check(kind, engine, tmp_path, test)


def test_stats_tell_cpu_and_memory(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = bench.runtime, bench.assignment("while true; do :; done")
        await begin(runtime, a)
        await runtime.stats()

        async def busy() -> bool:
            found = await runtime.stats()
            return [s.replica_id for s in found] == [a.replica_id] and found[0].cpu_percent > 5 and found[0].memory_bytes > 0

        await until(busy)

    check(kind, engine, tmp_path, test)


def test_limits_hold_or_are_said_not_to(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime = bench.runtime
        a = bench.assignment("while true; do :; done", limits=Resources(cpus=0.2, memory_bytes=64 * 1024**2))
        await begin(runtime, a)
        if "CPU not limited" in await runtime.describe():
            return
        await runtime.stats()
        await asyncio.sleep(1.0)  # a share of the CPU has no meaning but over time
        (stats,) = await runtime.stats()
        assert stats.cpu_percent < 40

    check(kind, engine, tmp_path, test)


def test_a_command_that_is_missing_is_named(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        a = bench.assignment("", container={"command": Argv(args=("no-such-program", "-x"))})
        with pytest.raises(RuntimeFailure, match="no-such-program"):
            await begin(bench.runtime, a)
        await bench.runtime.remove(a.replica_id)
        assert await bench.runtime.list() == ()

    check(kind, engine, tmp_path, test)


def test_what_cannot_be_prepared_is_named(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        if kind == "docker":
            a, named = bench.assignment(SERVE, container={"image": "no-such-image:9"}), "no-such-image:9"
        else:
            a, named = bench.assignment(SERVE, container={"command": None}), "no command"
        with pytest.raises(RuntimeFailure, match=named):
            await bench.runtime.prepare(a)

    check(kind, engine, tmp_path, test)


def test_an_instance_killed_from_outside_is_seen(kind: str, engine: str, tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        runtime, a = bench.runtime, bench.assignment(SERVE)
        async with listening(runtime) as heard:
            made = await begin(runtime, a)
            if kind == "docker":
                await asyncio.to_thread(subprocess.run, ["docker", "kill", made.id], check=True, capture_output=True, timeout=30)
            else:
                os.kill(main_process(a.replica_id), signal.SIGKILL)
            async with asyncio.timeout(30):
                assert (await heard.get()).replica_id == a.replica_id
            seen = await runtime.inspect(a.replica_id)
            assert seen is not None
            assert (seen.state, seen.exit_code) == (InstanceState.EXITED, 137)

    check(kind, engine, tmp_path, test)


def main_process(replica_id: str) -> int:
    """The pid of a replica's process."""
    return next(int(f.name) for f in Path("/proc").iterdir() if f.name.isdigit() and is_replica(f, replica_id))


def is_replica(folder: Path, replica_id: str) -> bool:
    """Whether a process is the main one of a replica: the leader of its session, with its environment."""
    try:
        leads = os.getsid(int(folder.name)) == int(folder.name)
        return leads and f"ROOKERY_REPLICA={replica_id}".encode() in (folder / "environ").read_bytes()
    except OSError:
        return False
