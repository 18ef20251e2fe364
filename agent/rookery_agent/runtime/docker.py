"""Replicas as containers of a Docker engine.

Invariant: only containers with this node's label are ever looked at or touched. A start costs three calls (create, start,
inspect), plus one for each network after the first.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rookery.model import Assignment, FileMount, ReplicaId, ReplicaStats, RuntimeKind

from rookery_agent.isolation.ruleset import Inside, Seat
from rookery_agent.runtime import cgroup, docker_spec
from rookery_agent.runtime.docker_engine import Conflict, Engine, Missing
from rookery_agent.runtime.docker_exec import execute
from rookery_agent.runtime.docker_provision import Images, Networks, check_volumes
from rookery_agent.runtime.docker_stream import Stream
from rookery_agent.runtime.files import ReplicaFiles
from rookery_agent.runtime.loglines import Lines
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.protocol import EngineAway, Guard, Instance, InstanceState, LogLine, RuntimeEvent, RuntimeFailure

log = logging.getLogger("rookery.agent")

_EVENTS = ["die", "destroy", "health_status", "pause", "unpause"]
_POLL_S = 2.0
_START_TRIES = 5
_STATS_CALL_S = 10.0


class DockerRuntime:
    """The Runtime on the engine at `url` (empty: where the docker package looks for it)."""

    kind = RuntimeKind.DOCKER

    def __init__(
        self, place: Place, files: ReplicaFiles, url: str = "", *, pull_stalled_s: float = 300.0, guard: Guard | None = None
    ) -> None:
        self._place = place
        self._files = files
        self._guard = guard
        self._engine = Engine(url)
        self._images = Images(self._engine, stalled_s=pull_stalled_s)
        self._networks = Networks(self._engine, place)
        self._instances: dict[ReplicaId, Instance] = {}
        self._fresh = False  # whether `_instances` is kept up to date by events
        self._swept = False
        self._whole: set[str] = set()  # containers that this process made completely
        self._renamed: set[str] = set()  # ours under another name
        self._copies: set[str] = set()  # strangers' with our labels
        self._ending: dict[ReplicaId, asyncio.Event] = {}  # being stopped or removed by this agent
        self._details: dict[ReplicaId, _Details] = {}
        self._usage: dict[ReplicaId, tuple[float, cgroup.Usage]] = {}
        self._latest: dict[ReplicaId, ReplicaStats] = {}

    async def describe(self) -> str:
        version = await self._engine.call(lambda client: client.version(), timeout_s=8, pool="check")
        return f"Docker {version.get('Version', '?')} (API {version.get('ApiVersion', '?')})"

    async def data_root(self) -> Path | None:
        if not self._engine.is_local:
            return None
        root = Path((await self._engine.call(lambda client: client.info(), timeout_s=20, pool="check"))["DockerRootDir"])
        return root if await asyncio.to_thread(root.is_dir) else None

    async def list(self) -> tuple[Instance, ...]:
        filters = {"label": [f"{docker_spec.NODE}={self._place.node_id}"]}
        found = await self._engine.call(lambda client: client.containers(all=True, filters=filters), timeout_s=30)
        listed: dict[ReplicaId, Any] = {
            ReplicaId(c["Labels"].get(docker_spec.REPLICA, "")): c for c in found if not await self._is_copy(c)
        }
        for replica_id in self._instances.keys() - listed.keys():
            del self._instances[replica_id]
        await asyncio.gather(
            *[self._look(c["Id"]) for replica_id, c in listed.items() if not self._known(replica_id, c["Id"], c["State"])]
        )
        if not self._swept:
            await self._networks.sweep()
            await asyncio.to_thread(self._files.sweep, listed.keys())
            self._swept = True
        return tuple(self._instances.values())

    async def inspect(self, replica_id: ReplicaId) -> Instance | None:
        known = self._instances.get(replica_id)
        return await self._look(known.id) if known is not None else None

    async def prepare(self, assignment: Assignment) -> None:
        container = assignment.spec.container
        await self._images.ensure(container.image, container.pull_policy, container.platform)
        await self._networks.ensure(assignment)
        await check_volumes(self._engine, assignment)

    async def start(self, assignment: Assignment) -> Instance:
        for _ in range(_START_TRIES):
            try:
                return await self._start(assignment)
            except RuntimeFailure as error:
                if "marked for removal" in str(error):  # somebody removes the container; another one is made
                    self._instances.pop(assignment.replica_id, None)
                    await asyncio.sleep(0.2)
                elif "ambiguous" in str(error):
                    await asyncio.sleep(0.2)  # another agent made the same network at the same time; one of the two goes
                    await self._networks.ensure(assignment)
                else:
                    raise
        return await self._start(assignment)

    async def _start(self, assignment: Assignment) -> Instance:
        files = await self._put_files(assignment)
        known = self._instances.get(assignment.replica_id)
        if known is not None and known.state is InstanceState.CREATED and known.id not in self._whole:
            await self._remove(known.id)  # an agent was killed while it made this: its files or networks may be missing
            known = None
        container_id = known.id if known is not None else await self._create(assignment, files)
        if self._guard is not None:
            await self._guard.cover(await self._networks.bridges())
        try:
            await self._engine.call(lambda client: client.start(container_id), timeout_s=120, pool="start")
        except Missing as error:
            self._forget_missing(assignment, str(error))
            if "No such container" in str(error):
                self._instances.pop(assignment.replica_id, None)
            raise RuntimeFailure(str(error)) from error
        except RuntimeFailure as error:
            self._forget_doubtful(str(error))
            raise
        made = await self._look(container_id)
        if made is None:
            raise RuntimeFailure(f"{assignment.name}: its container was removed while it was started")
        if self._guard is not None:
            self._guard.moved()
        return made

    async def stop(self, replica_id: ReplicaId, *, grace_s: float) -> Instance | None:
        known = self._instances.get(replica_id)
        if known is None:
            return None
        ended = self._ending.setdefault(replica_id, asyncio.Event())
        try:
            for signal, wait_s in (("", grace_s), ("SIGKILL", 30.0)):
                try:
                    await self._kill(known.id, signal or self._details[replica_id].stop_signal)
                except (Missing, Conflict):  # gone, or not running
                    return await self._look(known.id)
                left = await self._wait(replica_id, known.id, ended, wait_s)
                if left is None or left.state is not InstanceState.RUNNING:
                    return left
            raise RuntimeFailure(f"container {known.id[:12]} did not end after SIGKILL")
        finally:
            self._ending.pop(replica_id, None)

    async def remove(self, replica_id: ReplicaId) -> None:
        known = self._instances.pop(replica_id, None)
        if known is not None:
            try:
                await self._remove(known.id)
            except RuntimeFailure:
                self._instances[replica_id] = known
                raise
            self._details.pop(replica_id, None)
            self._usage.pop(replica_id, None)
            self._latest.pop(replica_id, None)
        await asyncio.to_thread(self._files.drop, replica_id)
        await self._networks.release(replica_id)

    async def execute(self, replica_id: ReplicaId, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
        known = self._instances.get(replica_id)
        if known is None:
            raise RuntimeFailure("it has no container")
        return await execute(self._engine, known.id, args, timeout_s=timeout_s)

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        filters = {"type": ["container"], "event": _EVENTS, "label": [f"{docker_spec.NODE}={self._place.node_id}"]}
        params = {"filters": json.dumps(filters)}
        try:
            async for event in self._engine.stream(lambda client: Stream(client, "/events", params=params), Stream.messages):
                if event is None:
                    self._instances_stale()
                    yield RuntimeEvent(replica_id=None)
                    self._fresh = True
                    continue
                attributes = event["Actor"]["Attributes"]
                replica_id = ReplicaId(attributes.get(docker_spec.REPLICA, ""))
                if self._notice(replica_id, event, attributes):
                    yield RuntimeEvent(replica_id=replica_id)
        finally:
            self._instances_stale()
        raise EngineAway(f"{self._engine.where} closed its stream of events")

    async def logs(self, replica_id: ReplicaId, *, follow: bool, tail: int, since_at: float) -> AsyncIterator[LogLine]:
        known = self._instances.get(replica_id)
        if known is None:
            raise RuntimeFailure("it has no container, so there is no log")
        tty = bool((await self._engine.call(lambda client: client.inspect_container(known.id)))["Config"]["Tty"])
        params = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(follow),
            "tail": "all" if tail < 0 else str(tail),
            "since": f"{since_at:.9f}" if since_at else "0",
        }

        path = f"/containers/{known.id}/logs"
        lines = Lines()
        async for frame in self._engine.stream(
            lambda client: Stream(client, path, params=params), _plain if tty else Stream.frames
        ):
            if frame is not None:
                for line in lines.take(*frame):
                    yield line
        for line in lines.rest():
            yield line

    async def stats(self) -> tuple[ReplicaStats, ...]:
        found = []
        for replica_id, instance in tuple(self._instances.items()):
            if instance.state is InstanceState.RUNNING:
                stats = await self._stats(replica_id, instance)
                if stats is not None:
                    found.append(stats)
        return tuple(found)

    async def inside(self) -> Inside:
        """Where the running replicas are. Raises EngineAway."""
        running = [r for r, instance in self._instances.items() if instance.state is InstanceState.RUNNING]
        seats = tuple([self._details[r].seat for r in running if r in self._details])
        return Inside(bridges=await self._networks.bridges(), seats=seats)

    async def neighbours(self) -> tuple[Seat, ...]:
        """Where the running replicas of other agents on this engine are. Raises EngineAway."""
        found = await self._engine.call(lambda client: client.containers(filters={"label": [docker_spec.APP]}), timeout_s=30)
        return tuple([docker_spec.seat(c) for c in found if c["Labels"].get(docker_spec.NODE) != self._place.node_id])

    async def close(self) -> None:
        self._engine.close()

    async def _is_copy(self, container: Any) -> bool:
        """Whether it is a stranger's, made of an image that somebody made of one of ours: such an image has our labels, too."""
        container_id, replica_id = container["Id"], container["Labels"].get(docker_spec.REPLICA, "")
        if any(name.endswith(f"-{replica_id[:8]}") for name in container.get("Names") or ()) or container_id in self._renamed:
            return False
        if container_id in self._copies:
            return True
        try:
            image = await self._engine.call(lambda client: client.inspect_image(container["ImageID"]), timeout_s=20)
        except Missing:
            image = {}
        if replica_id and ((image.get("Config") or {}).get("Labels") or {}).get(docker_spec.REPLICA) != replica_id:
            self._renamed.add(container_id)
            return False
        self._copies.add(container_id)
        log.warning("container %s has labels of this node but was not made by it; it is left alone", container_id[:12])
        return True

    def _known(self, replica_id: ReplicaId, container_id: str, state: str) -> bool:
        known = self._instances.get(replica_id)
        return self._fresh and known is not None and known.id == container_id and known.state.value == state

    def _instances_stale(self) -> None:
        self._fresh = False
        self._networks.forget()

    async def _look(self, container_id: str) -> Instance | None:
        """The container as it is now."""
        try:
            inspected = await self._engine.call(lambda client: client.inspect_container(container_id), timeout_s=30)
        except Missing:
            for replica_id, known in tuple(self._instances.items()):
                if known.id == container_id:
                    del self._instances[replica_id]
            return None
        made = docker_spec.instance(inspected, self._place)
        if made is not None:
            self._instances[made.replica_id] = made
            self._details[made.replica_id] = _details(inspected)
            self._networks.adopt(made.replica_id, tuple(inspected["NetworkSettings"]["Networks"]))
        return made

    def _notice(self, replica_id: ReplicaId, event: Any, attributes: Any) -> bool:
        """Takes over what an event says; whether others need to hear of it."""
        known = self._instances.get(replica_id)
        if known is None or known.id != event["id"]:
            return False
        if event["status"] == "die" and replica_id in self._ending:
            code = attributes.get("exitCode", "")
            self._instances[replica_id] = replace(
                known,
                state=InstanceState.EXITED,
                exit_code=int(code) if code.isdigit() else None,
                finished_at=event.get("timeNano", 0) / 1e9 or time.time(),
                endpoints=(),
            )
            self._ending[replica_id].set()
            return False
        if event["status"] == "destroy":
            del self._instances[replica_id]
        return True

    async def _put_files(self, a: Assignment) -> Mapping[FileMount, Path]:
        """Secrets and configs lie in this machine's memory, and are mounted from there."""
        if not a.spec.container.files:
            return {}
        if not self._engine.is_local:
            raise RuntimeFailure(
                f"{a.name} has secrets or configs, and {self._engine.where} is not on this machine: they would have to lie on "
                "its disk; run the agent beside the engine"
            )
        return await asyncio.to_thread(self._files.put, a)

    async def _create(self, a: Assignment, files: Mapping[FileMount, Path]) -> str:
        entrypoint = self._images.entrypoint(a.spec.container.image)
        body = docker_spec.create_body(a, self._place, image_entrypoint=entrypoint, files=files)
        name, platform = docker_spec.container_name(a), a.spec.container.platform or None

        def create(client: Any) -> str:
            return str(client.create_container_from_config(body, name, platform)["Id"])

        try:
            container_id = await self._engine.call(create, timeout_s=120)
        except Conflict as error:
            container_id = await self._take_over(a, name, str(error))
            if container_id in self._whole:
                return container_id
            container_id = await self._engine.call(create, timeout_s=120)
        except Missing as error:
            self._forget_missing(a, str(error))
            raise RuntimeFailure(str(error)) from error
        except RuntimeFailure as error:
            self._forget_doubtful(str(error))
            if files and f"bind source path does not exist: {self._files.root}" in str(error):
                raise RuntimeFailure(
                    f"{a.name}: the engine does not see {self._files.root.parent}, where its secrets and configs lie: an agent "
                    "that runs in a container needs that directory of the host mounted at the same path"
                ) from error
            raise
        try:
            for network in docker_spec.networks(a, self._place)[1:]:
                await self._engine.call(partial(_join, container_id, network, docker_spec.endpoint_config(a, network)))
        except RuntimeFailure as error:
            if not isinstance(error, EngineAway):
                await self._remove(container_id)
            raise
        self._whole.add(container_id)
        self._instances[a.replica_id] = Instance(replica_id=a.replica_id, id=container_id, state=InstanceState.CREATED)
        return container_id

    async def _take_over(self, a: Assignment, name: str, words: str) -> str:
        """Deals with a container that has the name already: our own of an attempt that was cut short, or a stranger's."""
        try:
            inspected = await self._engine.call(lambda client: client.inspect_container(name), timeout_s=30)
        except Missing:
            return ""
        found = docker_spec.instance(inspected, self._place)
        if found is None or found.replica_id != a.replica_id:
            raise RuntimeFailure(f"{words} It is not of this node; remove or rename it") from None
        if found.state is InstanceState.CREATED and found.id not in self._whole:
            await self._remove(found.id)
            return ""
        self._whole.add(found.id)
        return found.id

    def _forget_missing(self, a: Assignment, words: str) -> None:
        """What was thought to be there is not: it is looked for when the replica is prepared the next time."""
        self._images.forget(a.spec.container.image)
        if "network" in words:
            self._networks.forget()

    def _forget_doubtful(self, words: str) -> None:
        """There are two networks of one name, made by two agents at the same time: the next preparation settles it."""
        if "ambiguous" in words:
            self._networks.forget()

    async def _kill(self, container_id: str, signal: str) -> None:
        await self._engine.call(lambda client: client.kill(container_id, signal), timeout_s=30)

    async def _wait(self, replica_id: ReplicaId, container_id: str, ended: asyncio.Event, wait_s: float) -> Instance | None:
        """The instance once it ended, or as it is after `wait_s`. Events tell it; where they don't come, it is asked for."""
        until = time.monotonic() + wait_s
        while True:
            left_s = until - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, min(_POLL_S, left_s))):
                    await ended.wait()
                return self._instances.get(replica_id)
            except TimeoutError:
                seen = await self._look(container_id)
                if seen is None or seen.state is not InstanceState.RUNNING or left_s <= _POLL_S:
                    return seen

    async def _remove(self, container_id: str) -> None:
        self._whole.discard(container_id)
        try:
            await self._engine.call(lambda client: client.remove_container(container_id, v=True, force=True), timeout_s=120)
        except Missing:
            return
        except Conflict as error:
            if "already in progress" not in str(error):
                raise

    async def _stats(self, replica_id: ReplicaId, instance: Instance) -> ReplicaStats | None:
        details = self._details.get(replica_id)
        if details is None:
            return None
        now = time.monotonic()
        before = self._usage.get(replica_id)
        if details.groups is not None:
            seen = cgroup.usage(*details.groups)
        elif before is not None and now - before[0] < _STATS_CALL_S:
            return self._latest.get(replica_id)
        else:
            seen = await self._ask_usage(instance.id)
        if seen is None:
            return None
        self._usage[replica_id] = (now, seen)
        cpu_s = max(0.0, seen.cpu_s - before[1].cpu_s) / (now - before[0]) if before is not None and now > before[0] else 0.0
        self._latest[replica_id] = ReplicaStats(replica_id=replica_id, cpu_percent=100 * cpu_s, memory_bytes=seen.memory_bytes)
        return self._latest[replica_id]

    async def _ask_usage(self, container_id: str) -> cgroup.Usage | None:
        """The engine's own figures, where the control groups can't be seen from here."""
        try:
            stats = await self._engine.call(lambda client: client.stats(container_id, stream=False, one_shot=True), timeout_s=10)
        except EngineAway:
            raise
        except RuntimeFailure:
            return None
        memory = stats.get("memory_stats") or {}
        idle = (memory.get("stats") or {}).get("total_inactive_file", (memory.get("stats") or {}).get("inactive_file", 0))
        return cgroup.Usage(
            cpu_s=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, memory_bytes=max(0, memory.get("usage", 0) - idle)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Details:
    """What is known of a container beyond its instance; `groups` are its CPU and memory control groups, if they can be seen."""

    stop_signal: str
    seat: Seat
    groups: tuple[Path, Path] | None


def _details(inspected: Any) -> _Details:
    pid = inspected["State"].get("Pid") or 0
    return _Details(
        stop_signal=inspected["Config"].get("StopSignal") or "SIGTERM",
        seat=docker_spec.seat(inspected),
        groups=cgroup.paths(pid, inspected["Id"]) if pid else None,
    )


def _plain(stream: Stream) -> Iterator[tuple[bool, bytes]]:
    """The output of a container with a terminal: one stream, without frames."""
    for piece in stream.pieces():
        yield False, piece


def _join(container_id: str, network: str, config: Any, client: Any) -> None:
    """Connects a container to one more network."""
    addresses = config.get("IPAMConfig", {})
    client.connect_container_to_network(
        container_id,
        network,
        aliases=config.get("Aliases") or None,
        ipv4_address=addresses.get("IPv4Address"),
        ipv6_address=addresses.get("IPv6Address"),
    )
