"""The agent as a process, with plain processes as replicas: killed, started again, stopped, misused."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from fake_manager import FakeManager, whole
from rookery.model import (
    Argv,
    Assignment,
    ContainerSpec,
    Desired,
    OnDisconnect,
    ReplicaId,
    ReplicaState,
    RuntimeKind,
    ServiceSpec,
)
from rookery.v1 import dispatch_pb2


def assigned(
    name: str, *, desired: Desired = Desired.RUN, script: str = "echo up; exec sleep 300", once: bool = False
) -> Assignment:
    spec = ServiceSpec(
        name="web",
        container=ContainerSpec(command=Argv(args=("sh", "-c", script))),
        runtime=RuntimeKind.PROCESS,
        expose=(80,),
        on_disconnect=OnDisconnect.STOP if once else OnDisconnect.KEEP,
        on_disconnect_after_s=0.5 if once else 0.0,
    )
    return Assignment(replica_id=ReplicaId(name), app="shop", service="web", slot=1, revision=1, spec=spec, desired=desired)


def start(manager: str, data: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "rookery_agent.main",
        "--insecure",
        "--manager",
        manager,
        "--data",
        str(data),
        "--runtime",
        "process",
    ]
    return subprocess.Popen([*command, "--name", "n1", *more], stderr=subprocess.PIPE)


def finish(agent: subprocess.Popen[bytes], *, number: int = signal.SIGTERM, timeout_s: float = 30) -> tuple[int, str]:
    """Signals the agent: its exit status and what it logged."""
    agent.send_signal(number)
    _, log = agent.communicate(timeout=timeout_s)
    return agent.returncode, log.decode()


def replicas(data: Path) -> set[int]:
    """The pids of supervisors of this data directory."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(data) in argument for argument in process.cmdline()) and "supervisor.py" in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


def play(data: Path, test: Callable[[FakeManager, str], Awaitable[None]]) -> None:
    async def run() -> None:
        manager = FakeManager(heartbeat_s=0.1, lease_s=1.0)
        try:
            await test(manager, await manager.start())
        finally:
            await manager.stop()

    try:
        asyncio.run(run())
    finally:
        for pid in replicas(data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def ready(manager: FakeManager, name: str) -> bool:
    return name in manager.statuses and manager.statuses[name].ready


def test_killed_and_started_again_it_adopts_and_restarts_nothing(tmp_path: Path) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        agent = start(at, tmp_path)
        await manager.until(lambda: manager.connections)
        assert psutil.Process(agent.pid).rlimit(psutil.RLIMIT_CORE)[0] == 0  # there are secrets in its memory
        manager.say(whole(3, assigned("a"), assigned("b")))
        await manager.until(lambda: ready(manager, "a") and ready(manager, "b"))
        before = replicas(tmp_path)
        await asyncio.to_thread(finish, agent, number=signal.SIGKILL)
        manager.statuses.clear()
        agent = start(at, tmp_path, "--on-stop", "leave")
        await manager.until(lambda: manager.connections == 2)
        hello = manager.heard_of("hello")[-1]
        assert hello.generation == 3
        assert sorted(status.replica_id for status in hello.replicas) == ["a", "b"]
        assert all(status.ready and status.restarts == 0 for status in hello.replicas)
        assert replicas(tmp_path) == before
        assert hello.node_id == manager.heard_of("hello")[0].node_id
        status, _ = await asyncio.to_thread(finish, agent)
        assert status == 0
        assert replicas(tmp_path) == before  # it left them running

    play(tmp_path, test)


def test_without_a_manager_it_restarts_what_crashes(tmp_path: Path) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        agent = start(at, tmp_path, "--on-stop", "leave")
        await manager.until(lambda: manager.connections)
        manager.say(whole(3, assigned("a")))
        await manager.until(lambda: ready(manager, "a"))
        await manager.stop()
        (pid,) = replicas(tmp_path)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while replicas(tmp_path) <= {pid}:  # noqa: ASYNC110 processes don't tell
                await asyncio.sleep(0.05)
        await manager.start(int(at.rpartition(":")[2]))
        await manager.until(lambda: manager.statuses["a"].restarts == 1 and ready(manager, "a"))
        _, log = await asyncio.to_thread(finish, agent)
        assert log.count("no manager at") == 1
        assert "Traceback" not in log

    play(tmp_path, test)


def test_frozen_for_longer_than_its_lease_it_stops_first_what_must_not_run_twice(tmp_path: Path) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        agent = start(at, tmp_path, "--on-stop", "leave")
        await manager.until(lambda: manager.connections)
        manager.say(whole(3, assigned("once", once=True), assigned("any")))
        await manager.until(lambda: ready(manager, "once") and ready(manager, "any"))
        before = replicas(tmp_path)
        agent.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2.0)  # its lease of 1 s, the 0.5 s that the replica may run on, and some more
        manager.statuses.clear()
        agent.send_signal(signal.SIGCONT)  # the manager answers at once: the lease is back before anybody looks
        await manager.until(lambda: "silent for" in getattr(manager.statuses.get("once"), "why", ""))
        await manager.until(lambda: ready(manager, "once"))
        assert manager.statuses["once"].restarts == 0
        assert len(before & replicas(tmp_path)) == 1  # the other one went on
        _, log = await asyncio.to_thread(finish, agent)
        assert "stop shop/web.1: stopped: the manager has been silent" in log

    play(tmp_path, test)


def test_killed_it_leaves_behind_when_its_lease_ends(tmp_path: Path) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        agent = start(at, tmp_path)
        await manager.until(lambda: manager.connections)
        manager.say(whole(3, assigned("once", once=True), assigned("any")))
        await manager.until(lambda: ready(manager, "once") and ready(manager, "any"))
        beats = len(manager.heard_of("heartbeat"))
        await manager.until(lambda: len(manager.heard_of("heartbeat")) > beats + 3)
        await asyncio.to_thread(finish, agent, number=signal.SIGKILL)
        before = replicas(tmp_path)
        await manager.stop()
        await asyncio.sleep(1.5)
        agent = start(at, tmp_path, "--on-stop", "leave")
        async with asyncio.timeout(60):
            while len(replicas(tmp_path)) != 1:  # noqa: ASYNC110 processes don't tell
                await asyncio.sleep(0.05)
        assert replicas(tmp_path) < before
        await asyncio.to_thread(finish, agent)

    play(tmp_path, test)


def test_on_sigterm_it_serves_until_the_manager_lets_it_go(tmp_path: Path) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        agent = start(at, tmp_path)
        await manager.until(lambda: manager.connections)
        manager.say(whole(3, assigned("a")))
        await manager.until(lambda: ready(manager, "a"))
        agent.terminate()
        await manager.until(lambda: manager.heard_of("goodbye"))
        manager.say(whole(4, assigned("a", desired=Desired.STOP)))
        manager.say(dispatch_pb2.ManagerMessage(farewell=dispatch_pb2.Farewell(why="all moved")))
        await asyncio.to_thread(agent.communicate, timeout=30)
        assert agent.returncode == 0
        assert manager.statuses["a"].state in (ReplicaState.STOPPING, ReplicaState.STOPPED)
        assert not replicas(tmp_path)

    play(tmp_path, test)


def test_logs_go_up_when_they_are_asked_for(tmp_path: Path) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        agent = start(at, tmp_path, "--on-stop", "leave")
        await manager.until(lambda: manager.connections)
        manager.say(whole(3, assigned("a")))
        await manager.until(lambda: ready(manager, "a"))
        request = dispatch_pb2.LogRequest(request_id="q", replica_id="a", follow=True, tail=-1)
        manager.say(dispatch_pb2.ManagerMessage(logs=request))
        await manager.until(lambda: [line.line for upload in manager.uploads.get("q", []) for line in upload.lines] == [b"up"])
        manager.say(dispatch_pb2.ManagerMessage(cancel_logs=dispatch_pb2.LogCancel(request_id="q")))
        manager.say(dispatch_pb2.ManagerMessage(logs=dispatch_pb2.LogRequest(request_id="x", replica_id="nobody", tail=-1)))
        await manager.until(lambda: any("no log" in upload.error for upload in manager.uploads.get("x", [])))
        status, _ = await asyncio.to_thread(finish, agent)
        assert status == 0

    play(tmp_path, test)


@pytest.mark.parametrize("on_stop", [["leave"], ["drain", "--stop-timeout", "2"]], ids=["leave", "drain"])
def test_an_engine_that_hangs_does_not_hang_the_agent(tmp_path: Path, on_stop: list[str]) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        # Takes connections and never answers.
        with socket.socket(socket.AF_UNIX) as engine:
            engine.bind(str(tmp_path / "engine.sock"))
            engine.listen(100)
            command = [
                sys.executable,
                "-m",
                "rookery_agent.main",
                "--insecure",
                "--manager",
                at,
                "--data",
                str(tmp_path / "data"),
                "--runtime",
            ]
            more = ["docker", "--docker-host", f"unix://{tmp_path}/engine.sock", "--on-stop", *on_stop]
            agent = await asyncio.to_thread(subprocess.Popen, [*command, *more], stderr=subprocess.PIPE)
            await manager.until(lambda: manager.connections, timeout_s=60)
            await manager.until(
                lambda: [c.name for beat in manager.heard_of("heartbeat")[-1:] for c in beat.conditions] == ["engine-away"],
                timeout_s=30,
            )
            assert "hangs" in manager.heard_of("heartbeat")[-1].conditions[0].why
            beats = len(manager.heard_of("heartbeat"))
            await manager.until(lambda: len(manager.heard_of("heartbeat")) > beats + 10)
            status, log = await asyncio.to_thread(finish, agent)
            assert status == 0, log

    play(tmp_path, test)


def test_two_agents_cannot_share_a_data_directory(tmp_path: Path) -> None:
    async def test(manager: FakeManager, at: str) -> None:
        first = start(at, tmp_path)
        await manager.until(lambda: manager.connections)
        second = start(at, tmp_path)
        _, log = await asyncio.to_thread(second.communicate, timeout=30)
        assert second.returncode == 1
        assert "another agent uses the data directory" in log.decode()
        assert "Traceback" not in log.decode()
        await asyncio.to_thread(finish, first, number=signal.SIGKILL)

    play(tmp_path, test)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--manager", "nowhere"], "expected HOST:PORT"),
        (["--manager", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["--name", "a/b"], "--name: expected letters"),
        (["--stop-timeout", "-5"], "--stop-timeout: expected seconds"),
        (["--label", "zone"], "expected KEY=VALUE"),
        (["--endpoints", "network"], "expected host-port or network:NAME"),
        (["--address", "no.such.host.invalid"], "can't be found"),
    ],
)
def test_bad_options_are_told_in_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "rookery_agent.main", "--insecure", "--data", str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert len(done.stderr.decode().strip().splitlines()) == 1
