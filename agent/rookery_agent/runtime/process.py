"""Replicas as plain processes, for machines without a container engine.

Invariant: each replica is a directory of this agent's own, with a supervisor that outlives the agent; a process is only signalled
when its pid and start time are those that the supervisor wrote down.
"""

import asyncio
import builtins
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from rookery.model import Assignment, Endpoint, PortMode, PortProtocol, ReplicaId, ReplicaStats, RuntimeKind

from rookery_agent.runtime import process_logs, process_ports, process_stats
from rookery_agent.runtime.blocking import Calls
from rookery_agent.runtime.docker_spec import environment, reachable_ports
from rookery_agent.runtime.files import ReplicaFiles
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.process_limits import Groups
from rookery_agent.runtime.process_run import command
from rookery_agent.runtime.process_spec import argv, check, identity, stop_signal
from rookery_agent.runtime.protocol import Instance, InstanceState, LogLine, RuntimeEvent, RuntimeFailure
from rookery_agent.runtime.supervisor import start_time

FILES = "ROOKERY_FILES"
"""The variable of a process that has secrets or configs: the file with the target /run/x is $ROOKERY_FILES/run/x."""
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_LOG_BYTES = 16 * 1024 * 1024
_START_S = 20.0
_KILL_S = 10.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class ProcessRuntime:
    """The Runtime of plain processes, kept under `data`."""

    kind = RuntimeKind.PROCESS

    def __init__(self, place: Place, data: Path, files: ReplicaFiles) -> None:
        self._place = place
        self._files = files
        self._swept = False
        self._replicas = data / "replicas"
        self._replicas.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._groups = Groups(place.node_id)
        self._calls = Calls("process", 8)
        self._watched: dict[ReplicaId, int] = {}  # pidfds of supervisors
        self._ended: dict[ReplicaId, asyncio.Event] = {}
        self._news: dict[ReplicaId, None] = {}
        self._wake = asyncio.Event()
        self._usage: dict[ReplicaId, tuple[float, process_stats.Usage]] = {}

    async def describe(self) -> str:
        return f"plain processes on {platform.system()} {platform.release()}, {self._groups.describe()}"

    async def data_root(self) -> Path | None:
        return None  # it is the agent's own

    async def list(self) -> tuple[Instance, ...]:
        found = []
        for folder in self._replicas.iterdir():
            instance = await self.inspect(ReplicaId(folder.name))
            if instance is not None:
                found.append(instance)
        if not self._swept:
            await self._calls.run(lambda: self._files.sweep({instance.replica_id for instance in found}), 60)
            self._swept = True
        return tuple(found)

    async def inspect(self, replica_id: ReplicaId) -> Instance | None:
        folder = self._folder(replica_id)
        spec = _load(folder / "spec.json")
        if not spec:
            return None
        run, end = _load(folder / "run.json"), _load(folder / "exit.json")
        if end:
            state = InstanceState.EXITED
        elif run and _alive(run["supervisor"], run["supervisor_start"]):
            state = InstanceState.RUNNING
            self._watch(replica_id, run)
        else:
            end = _load(folder / "exit.json")  # it may have ended since the first look
            state = InstanceState.EXITED if run or end else InstanceState.CREATED
        return Instance(
            replica_id=replica_id,
            id=spec["id"],
            state=state,
            endpoints=self._endpoints(replica_id, spec) if state is InstanceState.RUNNING else (),
            exit_code=end.get("exit_code"),
            started_at=run.get("started_at", 0.0),
            finished_at=end.get("finished_at", 0.0),
        )

    async def prepare(self, assignment: Assignment) -> None:
        check(assignment)

    async def start(self, assignment: Assignment) -> Instance:
        known = await self.inspect(assignment.replica_id)
        if known is not None and known.state is InstanceState.RUNNING:
            return known
        check(assignment)
        folder = self._folder(assignment.replica_id)
        locks: list[int] = []
        try:
            files = await self._put_files(assignment)
            spec = self._spec(assignment, _load(folder / "spec.json"), locks, files)
            folder.mkdir(mode=0o700, exist_ok=True)
            for name in ("run.json", "exit.json"):
                (folder / name).unlink(missing_ok=True)
            _save(folder / "spec.json", spec)
            await self._calls.run(lambda: _launch(folder, tuple(locks)), _START_S + 1)
        except (OSError, TimeoutError, subprocess.SubprocessError) as error:
            raise RuntimeFailure(f"{assignment.name} can't be started: {error or 'its supervisor did not answer'}") from error
        finally:
            for lock in locks:
                os.close(lock)
        end = _load(folder / "exit.json")
        if "failure" in end:
            (folder / "exit.json").unlink(missing_ok=True)
            raise RuntimeFailure(f"{spec['args'][0]} can't be started: {end['failure']}")
        made = await self.inspect(assignment.replica_id)
        if made is None or made.state is InstanceState.CREATED:
            raise RuntimeFailure(f"{assignment.name} can't be started: its supervisor ended at once")
        return made

    async def stop(self, replica_id: ReplicaId, *, grace_s: float) -> Instance | None:
        folder = self._folder(replica_id)
        number = _load(folder / "spec.json").get("stop_signal", signal.SIGTERM)
        for sent, wait_s in ((number, grace_s), (signal.SIGKILL, _KILL_S)):
            known = await self.inspect(replica_id)
            if known is None or known.state is not InstanceState.RUNNING:
                return known
            run = _load(folder / "run.json")
            if _alive(run["pid"], run["pid_start"]):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run["pid"], sent)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._ended.setdefault(replica_id, asyncio.Event()).wait()
        known = await self.inspect(replica_id)
        if known is not None and known.state is InstanceState.RUNNING:
            raise RuntimeFailure(f"process {run['pid']} did not end after SIGKILL")
        return known

    async def remove(self, replica_id: ReplicaId) -> None:
        await self.stop(replica_id, grace_s=0.0)
        self._unwatch(replica_id)
        folder = self._folder(replica_id)
        await self._calls.run(lambda: shutil.rmtree(folder, ignore_errors=True), 60)
        await self._calls.run(lambda: self._files.drop(replica_id), 60)
        self._groups.remove(replica_id)
        self._usage.pop(replica_id, None)

    async def execute(self, replica_id: ReplicaId, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
        spec = _load(self._folder(replica_id) / "spec.json")
        if not spec:
            raise RuntimeFailure("it has no process")
        who = (spec["uid"], spec["gid"], tuple(spec["groups"]))
        return await command(args, environment=spec["environment"], folder=spec["working_dir"], who=who, timeout_s=timeout_s)

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        yield RuntimeEvent(replica_id=None)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._news:
                replica_id, _ = self._news.popitem()
                yield RuntimeEvent(replica_id=replica_id)

    async def logs(self, replica_id: ReplicaId, *, follow: bool, tail: int, since_at: float) -> AsyncIterator[LogLine]:
        folder = self._folder(replica_id)
        if not (folder / "spec.json").exists():
            raise RuntimeFailure("it has no process, so there is no log")
        async for line in process_logs.read(folder, follow=follow, tail=tail, since_at=since_at, alive=lambda: _running(folder)):
            yield line

    async def stats(self) -> tuple[ReplicaStats, ...]:
        runs = {replica_id: _load(self._folder(replica_id) / "run.json") for replica_id in self._watched}
        sessions = {replica_id: run["pid"] for replica_id, run in runs.items() if run}
        now, seen = time.monotonic(), process_stats.by_session(sessions.values())
        found = []
        for replica_id, session in sessions.items():
            at, before = self._usage.get(replica_id, (now, process_stats.Usage()))
            usage = seen[session]
            share = max(0.0, usage.cpu_s - before.cpu_s) / (now - at) if now > at else 0.0
            found.append(ReplicaStats(replica_id=replica_id, cpu_percent=100 * share, memory_bytes=usage.memory_bytes))
            self._usage[replica_id] = (now, usage)
        return tuple(found)

    async def close(self) -> None:
        for replica_id in tuple(self._watched):
            self._unwatch(replica_id)
        self._calls.close()
        self._groups.close()

    def _folder(self, replica_id: ReplicaId) -> Path:
        if not replica_id or "/" in replica_id or replica_id.startswith("."):
            raise RuntimeFailure(f"{replica_id!r} is no id of a replica")
        return self._replicas / replica_id

    async def _put_files(self, a: Assignment) -> dict[str, str]:
        """The variable that says below which directory its secrets and configs lie at their targets."""
        if not a.spec.container.files:
            return {}
        who = identity(a.spec.container.user)
        reader = (os.geteuid() if who.uid is None else who.uid, os.getegid() if who.gid is None else who.gid)
        await self._calls.run(lambda: self._files.put(a, reader=reader), 60)
        return {FILES: str(self._files.folder(a.replica_id))}

    def _spec(
        self, a: Assignment, before: dict[str, Any], locks: "builtins.list[int]", files: Mapping[str, str]
    ) -> dict[str, Any]:
        """What the supervisor is told; takes the ports and adds their locks to `locks`."""
        c, who = a.spec.container, identity(a.spec.container.user)
        ports: dict[str, int] = {}
        own = {p.target: p.published for p in a.spec.ports if p.mode is PortMode.HOST and p.published}
        for target, protocol in reachable_ports(a.spec):
            if target not in own:
                wanted = before.get("ports", {}).get(f"{target}/{protocol}", 0)
                ports[f"{target}/{protocol}"], lock = process_ports.take(wanted, int.from_bytes(os.urandom(4)))
                locks.append(lock)
        ports.update(
            {f"{p.target}/{p.protocol}": p.published for p in a.spec.ports if p.target in own and p.mode is PortMode.HOST}
        )
        numbers = [(name.partition("/")[0], port) for name, port in ports.items()]
        told = {f"PORT_{target}": str(port) for target, port in numbers}
        if numbers:
            told["PORT"] = str(numbers[0][1])
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        home = {"HOME": who.home} if who.home else {}
        limits = self._groups.limits(a.replica_id, a.spec.limits, c.ulimits)
        return {
            "id": before.get("id") or f"{a.replica_id}-{os.urandom(4).hex()}",
            "args": list(argv(a)),
            "environment": {**inherited, **home, **told, **files, **environment(a, self._place)},
            "working_dir": c.working_dir or str(Path.cwd()),
            "uid": who.uid,
            "gid": who.gid,
            "groups": list(who.groups),
            "cgroups": list(limits.cgroups),
            "rlimits": [list(limit) for limit in limits.rlimits],
            "nice": 0,
            "log_bytes": _LOG_BYTES,
            "ports": ports,
            "stop_signal": stop_signal(c),
        }

    def _endpoints(self, replica_id: ReplicaId, spec: dict[str, Any]) -> tuple[Endpoint, ...]:
        found = []
        for name, port in spec["ports"].items():
            target, _, protocol = name.partition("/")
            found.append(
                Endpoint(
                    replica_id=replica_id,
                    address=self._place.address,
                    port=port,
                    target=int(target),
                    protocol=PortProtocol(protocol),
                )
            )
        return tuple(found)

    def _watch(self, replica_id: ReplicaId, run: dict[str, Any]) -> None:
        """Is told when the supervisor ends."""
        if replica_id in self._watched:
            return
        try:
            descriptor = os.pidfd_open(run["supervisor"])
        except OSError:  # it ended just now
            self._tell(replica_id)
            return
        self._watched[replica_id] = descriptor
        self._ended[replica_id] = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._on_end, replica_id, run["supervisor"])

    def _unwatch(self, replica_id: ReplicaId) -> None:
        descriptor = self._watched.pop(replica_id, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
        self._ended.pop(replica_id, None)

    def _on_end(self, replica_id: ReplicaId, supervisor: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(supervisor, os.WNOHANG)  # an agent that is process 1 inherits it
        ended = self._ended.get(replica_id)
        self._unwatch(replica_id)
        if ended is not None:
            ended.set()
        self._tell(replica_id)

    def _tell(self, replica_id: ReplicaId) -> None:
        self._news[replica_id] = None
        self._wake.set()


def _launch(folder: Path, locks: tuple[int, ...]) -> None:
    """Returns when the supervisor has started the command, or failed to."""
    subprocess.run(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        pass_fds=locks,
        timeout=_START_S,
        check=True,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _save(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file)
    temporary.replace(path)


def _alive(pid: int, started: str) -> bool:
    """Whether this very process still runs."""
    try:
        if start_time(pid) != started:
            return False
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def _running(folder: Path) -> bool:
    run = _load(folder / "run.json")
    return bool(run) and not (folder / "exit.json").exists() and _alive(run["supervisor"], run["supervisor_start"])
