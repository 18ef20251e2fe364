"""Asks replicas for their health: commands through the runtime, HTTP and TCP from here.

Invariant: at most one prober runs per replica, for the present run of its instance; a verdict is about that run only.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from rookery.model import CommandProbe, Endpoint, HttpProbe, Probe, ProbeTiming, ReplicaId, TcpProbe

from rookery_agent.runtime.protocol import EngineAway, Instance, Runtime, RuntimeFailure
from rookery_agent.step import Health, Verdict

_EAGER_S = 0.2
MadeProbe = CommandProbe | HttpProbe | TcpProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a run's probes came to so far."""

    succeeded: bool = False
    failures: int = 0


def pause_s(timing: ProbeTiming, tally: Tally, age_s: float, asked: int) -> float:
    """Seconds until the next probe, after `asked` of them, of a run that is `age_s` old.

    Before the first success it is asked more often than the interval says, so that what is ready is soon known to be.
    """
    if tally.succeeded:
        return timing.interval_s
    eager_s = min(timing.interval_s, _EAGER_S * 1.5 ** min(asked, 20))
    if age_s < timing.start_period_s:
        return min(eager_s, timing.start_interval_s)
    return eager_s if age_s < timing.interval_s else timing.interval_s


def judge(timing: ProbeTiming, tally: Tally, age_s: float, *, ok: bool) -> Tally:
    """The tally with one more result. Failures before the first success count once the run is older than the start period
    and one interval, the time at which Docker asks for the first time."""
    if ok:
        return Tally(succeeded=True)
    grace_s = timing.start_period_s + timing.interval_s
    if not tally.succeeded and age_s < grace_s:
        return tally
    return Tally(succeeded=tally.succeeded, failures=tally.failures + 1)


def verdict(timing: ProbeTiming, tally: Tally, run: str, told: str) -> Verdict:
    if tally.failures >= max(1, timing.retries):
        times = "once" if tally.failures == 1 else f"{tally.failures} times in a row"
        return Verdict(run=run, health=Health.UNHEALTHY, why=f"its health check failed {times}: {told}")
    if tally.succeeded:
        return Verdict(run=run, health=Health.HEALTHY)
    return Verdict(run=run, why=f"not yet healthy: {told}" if told else "")


class Prober:
    """Probes the replicas that it was told to `follow`; calls `changed` when a verdict is another one."""

    def __init__(self, runtime: Runtime, tasks: asyncio.TaskGroup, changed: Callable[[ReplicaId], None]) -> None:
        self._runtime = runtime
        self._tasks = tasks
        self._changed = changed
        self._running: dict[ReplicaId, tuple[str, asyncio.Task[None]]] = {}
        self._verdicts: dict[ReplicaId, Verdict] = {}

    def verdict(self, replica_id: ReplicaId) -> Verdict:
        return self._verdicts.get(replica_id, Verdict())

    def follow(self, instance: Instance, probe: Probe, *, ready: bool) -> None:
        """Probes this run from now on; `ready`: it was found healthy before (by an agent that ended since)."""
        replica_id = instance.replica_id
        known = self._running.get(replica_id)
        if known is not None and known[0] == instance.run:
            return
        self.drop(replica_id)
        if not isinstance(probe, MadeProbe):
            return
        self._verdicts[replica_id] = Verdict(run=instance.run, health=Health.HEALTHY if ready else Health.UNKNOWN)
        task = self._tasks.create_task(self._follow(instance, probe, Tally(succeeded=ready)), name=f"probe {replica_id}")
        self._running[replica_id] = (instance.run, task)

    def drop(self, replica_id: ReplicaId) -> None:
        known = self._running.pop(replica_id, None)
        if known is not None:
            known[1].cancel()
            self._verdicts.pop(replica_id, None)

    async def _follow(self, instance: Instance, probe: MadeProbe, tally: Tally) -> None:
        clock = asyncio.get_running_loop().time
        born, asked, timing = clock(), 0, probe.timing
        if tally.succeeded:
            await asyncio.sleep(min(1.0, timing.interval_s))
        while True:
            try:
                told = await ask(self._runtime, instance, probe)
                tally = judge(timing, tally, clock() - born, ok=not told)
            except EngineAway as error:  # that says nothing of the replica
                told = f"it can't be asked: {error}"
            asked += 1
            new = verdict(timing, tally, instance.run, told)
            old = self._verdicts.get(instance.replica_id)
            self._verdicts[instance.replica_id] = new
            if old != new:
                self._changed(instance.replica_id)
            await asyncio.sleep(pause_s(timing, tally, clock() - born, asked))


async def ask(runtime: Runtime, instance: Instance, probe: MadeProbe) -> str:
    """Probes once: why it failed, empty where it is healthy. Raises EngineAway where only the engine could tell."""
    timeout_s = probe.timing.timeout_s
    try:
        if isinstance(probe, CommandProbe):
            return await _ask_command(runtime, instance, probe)
        async with asyncio.timeout(timeout_s):
            at = _where(instance, probe.port)
            if isinstance(probe, HttpProbe):
                return await _ask_http(at, probe)
            _, writer = await _connect(at)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return ""
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except EngineAway:
        raise
    except (OSError, RuntimeFailure) as error:
        return str(error)


async def _ask_command(runtime: Runtime, instance: Instance, probe: CommandProbe) -> str:
    """Its deadline is the runtime's: it tells a command that hangs from an engine that does."""
    status, output = await runtime.execute(instance.replica_id, probe.args, timeout_s=probe.timing.timeout_s)
    text = output.decode(errors="replace").strip()[-200:]
    return "" if status == 0 else f"{probe.args[0]} exited with status {status}{': ' + text if text else ''}"


def _where(instance: Instance, port: int) -> Endpoint:
    for endpoint in instance.endpoints:
        if endpoint.target == port:
            return endpoint
    raise OSError(f"its port {port} can't be reached from the node")


async def _connect(at: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection(at.address, at.port)
    except OSError as error:  # whose own words are asyncio's
        words = os.strerror(error.errno).lower() if error.errno else str(error)
        raise OSError(f"port {at.target}, at {at.address}:{at.port}: {words}") from None


async def _ask_http(at: Endpoint, probe: HttpProbe) -> str:
    reader, writer = await _connect(at)
    try:
        host = f"[{at.address}]" if ":" in at.address else at.address
        head = f"GET {probe.path} HTTP/1.1\r\nHost: {host}:{at.port}\r\nUser-Agent: rookery-probe\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        line = await reader.readline()
    except ValueError:
        return f"GET {probe.path} was not answered in HTTP"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        return f"GET {probe.path} was not answered in HTTP"
    status = int(parts[1])
    return "" if probe.status_min <= status <= probe.status_max else f"GET {probe.path} answered {status}"
