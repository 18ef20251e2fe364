"""The cluster of a FakeControl: what a test lays out, what is wanted of it, and how that comes true step by step."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
from fake_rollouts import T0, FakeRollouts, strategy_name, waits_for
from google.protobuf.message import Message
from rookery.client.values import LogEntry
from rookery.model import (
    OPEN,
    App,
    AppRevision,
    AppSpec,
    AppStatus,
    ChangeKind,
    Event,
    FieldChange,
    Node,
    NodeDetail,
    NodeId,
    NodeInfo,
    Proxy,
    Replica,
    ReplicaDetail,
    ReplicaId,
    ReplicaState,
    Resources,
    Revision,
    RouteTable,
    RuntimeKind,
    ScaleDecision,
    Service,
    ServiceChange,
    ServicePlan,
    ServiceReturn,
    ServiceSpec,
    ServiceStatus,
    Strategy,
    TrafficReport,
)
from rookery.wire import decode, encode


def wanted_replicas(spec: ServiceSpec) -> int:
    return getattr(spec.mode, "replicas", 1)


class FakeCluster:
    def __init__(self) -> None:
        self.address = ""
        self.revision = 1
        self.stalled = False
        self.fails: dict[str, str] = {}  # services whose replicas fail, and why
        self.dies_after_looks: dict[str, int] = {}  # services whose first replica fails after it was ready, and when
        self.earlier: dict[str, tuple[Revision, ...]] = {}  # of services, the revisions before the one in force
        self.rollouts = FakeRollouts()
        self.strategies: dict[str, Strategy] = {}  # by the service's name, in place of what a spec that is applied says
        self.decisions: list[ScaleDecision] = []  # of autoscaling: the latest look, and the changes before
        self.app_revisions: dict[str, tuple[AppRevision, ...]] = {}  # newest first
        self.store = bytes(range(256)) * 20  # what a backup gives
        self.store_digest = ""  # that is told with it; empty: the right one
        self.refuses: dict[str, tuple[grpc.StatusCode, str]] = {}  # by method
        self.seen: list[tuple[str, Any]] = []
        self.apps: dict[str, App] = {}
        self.specs: dict[str, ServiceSpec] = {}
        self.services: dict[str, Service] = {}
        self.replicas: dict[str, Replica] = {}
        self.nodes: dict[str, NodeDetail] = {}
        self.events: list[Event] = []
        self.proxies: tuple[Proxy, ...] = ()
        self.routes = RouteTable()
        self.traffic: list[TrafficReport] = [TrafficReport()]  # one for each time it is asked; the last stays
        self.log: list[LogEntry] = []
        self.log_errors: dict[str, str] = {}
        self.changed = asyncio.Event()

    # ---- laying it out

    def add_node(self, name: str, **given: Any) -> NodeDetail:
        info = NodeInfo(
            hostname=name, address="127.0.0.1", runtimes=(RuntimeKind.DOCKER,), capacity=Resources(cpus=2.0, memory_bytes=2 << 30)
        )
        detail = NodeDetail(node=Node(id=NodeId(f"{name}-0000-id"), info=info, joined_at=T0, **given), last_seen_at=T0)
        self.nodes[name] = detail
        return detail

    def add_app(self, spec: AppSpec, *, ready: bool = True) -> None:
        for service in spec.services:
            key = f"{spec.name}/{service.name}"
            self.specs[key] = service
            self.services[key] = Service(app=spec.name, name=service.name, revision=1, replicas=wanted_replicas(service))
        self._record(spec.name, "ann@box", "deployed")
        for key in [f"{spec.name}/{service.name}" for service in spec.services]:
            while ready and self._step(key):
                pass

    def _record(self, app: str, actor: str, why: str) -> None:
        """Another revision of the app: its services as they are wanted now."""
        mine = {service.name: service.revision for service in self.services.values() if service.app == app}
        number = self.app_revision(app) + 1
        self.apps[app] = App(name=app, services=tuple(mine), created_at=T0, changed_at=T0, revision=number)
        revision = AppRevision(app=app, number=number, services=mine, created_at=T0 + number, actor=actor, why=why)
        self.app_revisions[app] = (revision, *self.app_revisions.get(app, ()))

    def _decoded(self, message: Message) -> AppSpec:
        spec = decode(AppSpec, message)
        services = [replace(s, strategy=self.strategies.get(s.name, s.strategy)) for s in spec.services]
        return replace(spec, services=tuple(services))

    def app_revision(self, app: str) -> int:
        return self.apps[app].revision if app in self.apps else 0

    def spec_in_force(self, key: str) -> ServiceSpec:
        earlier, number = self.earlier.get(key, ()), self.services[key].revision
        return earlier[number - 1].spec if number <= len(earlier) else self.specs[key]

    def _newest(self, key: str) -> Revision:
        app, _, name = key.partition("/")
        number = len(self.earlier.get(key, ())) + 1
        return Revision(app=app, service=name, number=number, spec=self.specs[key], created_at=T0, actor="ann@box")

    def add_event(self, kind: str, subject: str, why: str, *, actor: str = "manager", **facts: Any) -> None:
        self.revision += 1
        made = Event(revision=self.revision, at=T0 + self.revision, actor=actor, kind=kind, subject=subject, why=why, **facts)
        self.events.append(made)

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.seen if name == method]

    # ---- how it gets on

    def _step(self, key: str) -> bool:
        """Makes one replica more or fewer, or replaces one; False when all is as wanted."""
        service, spec = self.services[key], self.specs[key]
        now = sorted((r for r in self.replicas.values() if r.key == key and not r.ended), key=lambda r: r.slot)
        wanted = 0 if service.removing or self.apps[service.app].removing else service.replicas
        stale = [r for r in now if r.revision != service.revision or r.created_at < service.restarted_at]
        if len(now) > wanted:
            del self.replicas[now[-1].id]
        elif len(now) < wanted or stale:
            slot = stale[0].slot if stale and len(now) == wanted else len(now) + 1
            if stale and len(now) == wanted:
                del self.replicas[stale[0].id]
            name = sorted(self.nodes)[(slot - 1) % len(self.nodes)] if self.nodes else ""
            replica_id = ReplicaId(f"{service.name}{slot:03}{self.revision:05}abcdef")
            failing = self.fails.get(service.name)
            replica = Replica(
                id=replica_id, app=service.app, service=service.name, slot=slot, revision=service.revision,
                node_id=self.nodes[name].node.id if name else NodeId(""), node_name=name,
                state=ReplicaState.FAILED if failing else ReplicaState.RUNNING, ready=not failing,
                why=failing or "its process runs",
                created_at=T0 + self.revision, changed_at=T0, exit_code=1 if failing else None,
            )  # fmt: skip
            if failing and any(r.key == key and r.state is ReplicaState.FAILED for r in self.replicas.values()):
                return False
            self.replicas[replica_id] = replica
        else:
            return False
        assert spec.name == service.name
        self.revision += 1
        return True

    def _advance(self, app: str) -> None:
        if self.stalled:
            return
        keys = [key for key, service in self.services.items() if service.app == app]
        moved = [self._step(key) for key in keys]
        for key in [key for key, is_moving in zip(keys, moved, strict=True) if not is_moving]:
            before = self.services[key]
            self.services[key] = self.rollouts.advance(before, self.spec_in_force(key))
            if self.services[key] is not before:
                self.revision += 1
                self.changed.set()
        if app in self.apps and self.apps[app].removing and not any(moved):
            del self.apps[app]
            for key in [key for key, service in self.services.items() if service.app == app]:
                del self.services[key]
        if any(moved):
            self.changed.set()

    def _die(self) -> None:
        for replica in [r for r in self.replicas.values() if r.ready and r.slot == 1 and r.service in self.dies_after_looks]:
            self.dies_after_looks[replica.service] -= 1
            if self.dies_after_looks[replica.service] == 0:
                why = "exited with status 1"
                self.replicas[replica.id] = replace(replica, state=ReplicaState.FAILED, ready=False, why=why)
                self.fails[replica.service] = why  # nothing replaces it
                self.revision += 1

    def _status(self, key: str) -> ServiceStatus:
        service, spec = self.services[key], self.spec_in_force(key)
        mine = [r for r in self.replicas.values() if r.key == key and not r.ended]
        ready = sum(r.ready for r in mine)
        updated = sum(r.ready and r.revision == service.revision and r.created_at >= service.restarted_at for r in mine)
        rolls = service.rollout is not None and service.rollout.state in OPEN
        done = updated == len(mine) == service.replicas and not rolls
        waits = waits_for(service.rollout) if service.rollout else ""
        return ServiceStatus(
            service=service, image=spec.container.image, wanted=service.replicas, running=len(mine), ready=ready, updated=updated,
            converged=done, why="" if done else waits or "pulling the image", ports=spec.ports, routes=spec.routes,
        )  # fmt: skip

    def _app_status(self, app: str) -> AppStatus:
        statuses = tuple(self._status(key) for key, service in self.services.items() if service.app == app)
        return AppStatus(app=self.apps[app], services=statuses, converged=all(s.converged for s in statuses))

    def _detail(self, replica: Replica) -> ReplicaDetail:
        return ReplicaDetail(replica=replica, image=self.specs[replica.key].container.image, node_name=replica.node_name)

    def _service_plan(self, change: ServiceChange, spec: ServiceSpec) -> ServicePlan:
        count, after = change.replicas, tuple(dependency.service for dependency in spec.depends_on)
        pulls = change.kind in (ChangeKind.CREATE, ChangeKind.UPDATE)
        return ServicePlan(
            service=spec.name,
            wave=2 if after else 1,
            after=after,
            created=count if change.kind is ChangeKind.CREATE else 0,
            replaced=count if change.kind is ChangeKind.UPDATE else 0,
            kept=count if change.kind is ChangeKind.KEEP else 0,
            how=f"{strategy_name(spec.strategy)}, 1 at a time" if change.kind is ChangeKind.UPDATE else "",
            image=spec.container.image,
            pull_on=tuple(sorted(self.nodes)) if pulls else (),
        )

    def _changes(self, spec: AppSpec) -> list[ServiceChange]:
        made = []
        for service in spec.services:
            key = f"{spec.name}/{service.name}"
            known = self.spec_in_force(key) if key in self.services else None
            fields: tuple[FieldChange, ...] = ()
            number, overtakes = 1, 0
            if known is None:
                kind = ChangeKind.CREATE
            elif known == service:
                kind, number = ChangeKind.KEEP, self.services[key].revision
            else:
                kind, number = ChangeKind.UPDATE, len(self.earlier.get(key, ())) + 2
                fields = (FieldChange(path="container.image", before=known.container.image, after=service.container.image),)
                rollout = self.services[key].rollout
                overtakes = rollout.after if rollout and rollout.state in OPEN else 0
            made.append(
                ServiceChange(
                    service=service.name, kind=kind, revision=number, replicas=wanted_replicas(service), fields=fields,
                    overtakes=overtakes,
                )
            )  # fmt: skip
        return made

    def _return(self, wanted: dict[str, int], actor: str) -> list[Message]:
        """Begins what of it is not in force; those that change, as they are answered."""
        changed = {key: self.services[key].revision for key, after in wanted.items() if self.services[key].revision != after}
        for key in changed:
            self.services[key] = self.rollouts.begin(self.services[key], wanted[key], actor)
        if changed:
            self._record(self.services[next(iter(changed))].app, actor, "returned by hand")
        names = {key: self.services[key].name for key in changed}
        return [encode(ServiceReturn(service=names[key], before=before, after=wanted[key])) for key, before in changed.items()]
