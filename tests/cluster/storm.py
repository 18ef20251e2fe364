"""A storm: random faults on a cluster of real engines, one after another, from one seed, with requests and writes going on.

Invariant of what is reported: a request counts as excused only if it failed while a fault was on, or within what its detection
takes after it began. Everything else that failed is unexplained, and a defect.
"""

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from cluster import Cluster, Traffic
from rig import Host, Late
from rookery.client import Client, ClientError

DETECTED_WITHIN_S = 5.0
"""The lease (3 s), and what planning and acknowledging take on a busy machine; a proxy gives a connect 3 s."""

RECOVERED_WITHIN_S = 60.0
LONGEST_FAULT_S = 6.0
REPLICAS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done, to what, and how it ends. `kills` tells whether containers may be started anew for it."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    kills: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """A fault as it was: `recovered_s` is from its beginning until all was as wanted again."""

    name: str
    began_at: float
    ended_at: float
    recovered_s: float


@dataclass(slots=True, kw_only=True)
class Report:
    seed: int
    blows: list[Blow] = field(default_factory=list)
    answered: int = 0
    excused: Counter[str] = field(default_factory=Counter)  # by the kind of fault
    reasons: dict[str, str] = field(default_factory=dict)  # the first of each cause
    unexplained: list[str] = field(default_factory=list)
    writes: int = 0
    writes_lost: int = 0
    restarted_needlessly: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        times = [blow.recovered_s for blow in self.blows] or [0.0]
        kinds = Counter(blow.name.partition(" ")[0] for blow in self.blows)
        return "\n".join(
            [
                f"seed {self.seed}: {len(self.blows)} faults ({', '.join(f'{n} {name}' for name, n in kinds.most_common())})",
                f"recovered in: median {statistics.median(times):.1f} s, worst {max(times):.1f} s "
                f"({max(self.blows, key=lambda b: b.recovered_s).name if self.blows else 'none'})",
                f"requests: {self.answered} answered, {self.excused.total()} failed until a fault was known "
                f"({', '.join(f'{n} {name}' for name, n in self.excused.most_common()) or 'none'}), "
                f"{len(self.unexplained)} failed otherwise",
                f"acknowledged writes: {self.writes}, lost {self.writes_lost}",
                f"containers restarted needlessly: {len(self.restarted_needlessly)}",
                *(f"  {cause}: {why}" for cause, why in self.reasons.items()),
                *(f"  unexplained: {why}" for why in self.unexplained[:10]),
                *(f"  needless: {what}" for what in self.restarted_needlessly[:10]),
            ]
        )


class Writer:
    """Writes a node's label again and again, each time with the next number, and remembers which were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self.tried = 0
        self.acknowledged = 0
        self.count = 0
        self._cluster = cluster
        self._node = cluster.hosts[0].name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        with Client(self._cluster.manager.address, identity=self._cluster.manager.admin, timeout_s=5.0) as client:
            while not self._stop.wait(0.1):
                self.tried += 1
                try:
                    client.update_node(self._node, set_labels={"seq": str(self.tried)})
                except ClientError:
                    continue
                self.acknowledged = self.tried
                self.count += 1

    def lost(self) -> int:
        """1 where the last acknowledged write, or a later one, is not there."""
        detail = next(d for d in self._cluster.client.list_nodes() if d.node.name == self._node)
        return int(int(detail.node.labels.get("seq", "0")) < self.acknowledged)


class Storm:
    """Faults on a cluster that runs the service of `cluster.web`."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self.report = Report(seed=seed)

    def blow(self, seconds: float) -> Report:
        """Goes on for so long, then waits until the cluster has come to rest, and reports."""
        cluster, report = self._cluster, self.report
        before = cluster.started()
        touched: set[str] = set()
        with Traffic(cluster) as traffic, Writer(cluster) as writer:
            cluster.wait(lambda: len(traffic.good) > 50, what="requests to flow")
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                report.blows.append(self._one(touched))
            cluster.wait(self._at_rest, what="the cluster to be at rest", within_s=RECOVERED_WITHIN_S)
        report.answered = len(traffic.good)
        for at, why in traffic.failed:
            cause = self._cause(at)
            if cause:
                report.excused[cause] += 1
                report.reasons.setdefault(cause, why)
            else:
                report.unexplained.append(f"{at:.1f} {why}")
        report.writes, report.writes_lost = writer.count, writer.lost()
        report.restarted_needlessly = self._needless(before, touched)
        return report

    def _one(self, touched: set[str]) -> Blow:
        fault = self._choose(touched)
        print(f"storm: {fault.name}", flush=True)
        began_at = time.monotonic()
        fault.begin()
        try:
            self._hold(self._random.uniform(0.2, LONGEST_FAULT_S))
        finally:
            fault.end()
        ended_at = time.monotonic()
        try:
            self._cluster.wait(self._at_rest, what=f"all to be well after: {fault.name}", within_s=RECOVERED_WITHIN_S)
        except Late:
            self._cluster.tell()
            raise
        return Blow(name=fault.name, began_at=began_at, ended_at=ended_at, recovered_s=time.monotonic() - began_at)

    def _hold(self, seconds: float) -> None:
        """The fault is on for so long: the one place where a time is waited for, since a duration is what is meant."""
        threading.Event().wait(seconds)

    def _choose(self, touched: set[str]) -> Fault:
        cluster, pick = self._cluster, self._random.choice
        host = pick(cluster.hosts)
        agent, engine, proxy, manager = cluster.agents[host.name], host.engine, cluster.proxies[0], cluster.manager
        nothing = lambda: None  # noqa: E731

        def revive_engine() -> None:
            engine.start()
            engine.wait_ready()

        def one_container() -> None:
            self._kill_containers(host, 1, touched)

        def all_containers() -> None:
            self._kill_containers(host, REPLICAS, touched)

        def note_all() -> None:
            touched.update(engine.started(label="rookery.app=shop"))

        def kill_engine() -> None:
            note_all()
            engine.kill()

        def losing(act: Callable[[], None]) -> Callable[[], None]:
            """A node that is given up stops what it still runs when it is back."""

            def begin() -> None:
                note_all()
                act()

            return begin

        return pick(
            [
                Fault(name="manager killed", begin=manager.kill, end=manager.start),
                Fault(name="manager frozen", begin=manager.freeze, end=manager.thaw),
                Fault(name=f"agent killed on {host.name}", begin=losing(agent.kill), end=agent.start),
                Fault(name=f"agent frozen on {host.name}", begin=losing(agent.freeze), end=agent.thaw),
                Fault(name="proxy killed", begin=proxy.kill, end=proxy.start),
                Fault(name=f"container killed on {host.name}", begin=one_container, end=nothing, kills=True),
                Fault(name=f"containers killed, all on {host.name}", begin=all_containers, end=nothing, kills=True),
                Fault(name=f"engine killed on {host.name}", begin=kill_engine, end=revive_engine, kills=True),
                Fault(name=f"engine frozen on {host.name}", begin=losing(engine.freeze), end=engine.thaw),
                Fault(name=f"link cut of {host.name}", begin=losing(host.cut), end=host.restore),
                Fault(name=f"link mute of {host.name}", begin=losing(host.mute), end=host.restore),
                Fault(name=f"link deaf of {host.name}", begin=losing(host.deafen), end=host.restore),
            ]
        )

    def _kill_containers(self, host: Host, most: int, touched: set[str]) -> None:
        for container_id in sorted(host.engine.started(label="rookery.app=shop"))[:most]:
            touched.add(container_id)
            host.engine.kill_container(container_id)

    def _at_rest(self) -> bool:
        cluster = self._cluster
        there = cluster.ready_nodes() == len(cluster.hosts) and cluster.converged() and len(cluster.started()) == REPLICAS
        return there and self._is_answered()

    def _is_answered(self) -> bool:
        with suppress(OSError):
            return bool(self._cluster.ask())
        return False

    def _cause(self, at: float) -> str:
        """The fault that a request failed of; empty where none was on."""
        blows = (blow for blow in reversed(self.report.blows) if blow.began_at <= at <= blow.ended_at + DETECTED_WITHIN_S)
        return next((blow.name.partition(" on ")[0].partition(" of ")[0] for blow in blows), "")

    def _needless(self, before: Mapping[str, str], touched: set[str]) -> list[str]:
        """Containers that were there before, that no fault touched, and that were started anew."""
        now = self._cluster.started()
        return [key for key, at in before.items() if key in now and now[key] != at and key not in touched]
