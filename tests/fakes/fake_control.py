"""A ControlService for tests of its clients: a real gRPC server on loopback over a small cluster that a test lays out.

What is wanted of it comes true one step each time somebody looks (GetApp, ListReplicas of a node), unless `stalled`.
"""

import asyncio
import contextlib
import difflib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import grpc
from google.protobuf.message import Message
from rookery.channel import listen, server
from rookery.client.values import LogEntry, LogLine
from rookery.model import (
    App,
    AppSpec,
    AppStatus,
    Availability,
    ChangeKind,
    Cluster,
    Event,
    FieldChange,
    Node,
    NodeDetail,
    NodeId,
    NodeInfo,
    NodeVerdict,
    PlannedReplica,
    Proxy,
    Replica,
    ReplicaDetail,
    ReplicaId,
    ReplicaState,
    Resources,
    Revision,
    Rollout,
    RolloutState,
    RouteTable,
    RuntimeKind,
    Score,
    Service,
    ServiceChange,
    ServiceDetail,
    ServiceSpec,
    ServiceStatus,
)
from rookery.v1 import control_pb2 as pb
from rookery.v1 import dispatch_pb2
from rookery.v1.control_pb2_grpc import ControlServiceServicer, add_ControlServiceServicer_to_server
from rookery.wire import decode, encode

T0 = 1_700_000_000.0


def wanted_replicas(spec: ServiceSpec) -> int:
    return getattr(spec.mode, "replicas", 1)


class FakeControl(ControlServiceServicer):
    def __init__(self) -> None:
        self.address = ""
        self.revision = 1
        self.stalled = False
        self.fails: dict[str, str] = {}  # services whose replicas fail, and why
        self.dies_after_looks: dict[str, int] = {}  # services whose first replica fails after it was ready, and when
        self.earlier: dict[str, tuple[Revision, ...]] = {}  # of services, the revisions before the one in force
        self.rollback_fails = ""  # why a roll-back ends paused
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
        self.apps[spec.name] = App(name=spec.name, services=tuple(s.name for s in spec.services), created_at=T0, changed_at=T0)
        for service in spec.services:
            key = f"{spec.name}/{service.name}"
            self.specs[key] = service
            self.services[key] = Service(app=spec.name, name=service.name, revision=1, replicas=wanted_replicas(service))
            while ready and self._step(key):
                pass

    def add_event(self, kind: str, subject: str, why: str, *, actor: str = "manager") -> None:
        self.revision += 1
        self.events.append(Event(revision=self.revision, at=T0 + self.revision, actor=actor, kind=kind, subject=subject, why=why))

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.seen if name == method]

    # ---- how it gets on

    def _step(self, key: str) -> bool:
        """Makes one replica more or fewer; False when all is as wanted."""
        service, spec = self.services[key], self.specs[key]
        now = sorted((r for r in self.replicas.values() if r.key == key and not r.ended), key=lambda r: r.slot)
        wanted = 0 if service.removing or self.apps[service.app].removing else service.replicas
        if len(now) > wanted:
            del self.replicas[now[-1].id]
        elif len(now) < wanted:
            slot = len(now) + 1
            name = sorted(self.nodes)[(slot - 1) % len(self.nodes)] if self.nodes else ""
            replica_id = ReplicaId(f"{service.name}{slot:03}{self.revision:05}abcdef")
            failing = self.fails.get(service.name)
            replica = Replica(
                id=replica_id, app=service.app, service=service.name, slot=slot, revision=service.revision,
                node_id=self.nodes[name].node.id if name else NodeId(""), node_name=name,
                state=ReplicaState.FAILED if failing else ReplicaState.RUNNING, ready=not failing,
                why=failing or "its process runs",
                created_at=T0, changed_at=T0, exit_code=1 if failing else None,
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
        moved = [self._step(key) for key, service in self.services.items() if service.app == app]
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
        service, spec = self.services[key], self.specs[key]
        mine = [r for r in self.replicas.values() if r.key == key and not r.ended]
        ready = sum(r.ready for r in mine)
        done = ready == len(mine) == service.replicas
        return ServiceStatus(
            service=service, image=spec.container.image, wanted=service.replicas, running=len(mine), ready=ready, updated=ready,
            converged=done, why="" if done else "pulling the image", ports=spec.ports, routes=spec.routes,
        )  # fmt: skip

    def _app_status(self, app: str) -> AppStatus:
        statuses = tuple(self._status(key) for key, service in self.services.items() if service.app == app)
        return AppStatus(app=self.apps[app], services=statuses, converged=all(s.converged for s in statuses))

    def _detail(self, replica: Replica) -> ReplicaDetail:
        return ReplicaDetail(replica=replica, image=self.specs[replica.key].container.image, node_name=replica.node_name)

    # ---- answering

    async def _refuse(self, context: Any, method: str, request: Message) -> None:
        self.seen.append((method, request))
        if method in self.refuses:
            await context.abort(*self.refuses[method])

    async def _missing(self, context: Any, what: str, name: str, known: Any) -> None:
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        await context.abort(grpc.StatusCode.NOT_FOUND, f"no {what} {name}{hint}")

    async def _need_app(self, context: Any, app: str) -> None:
        if app not in self.apps:
            await self._missing(context, "app", app, self.apps)

    async def _need_service(self, context: Any, app: str, service: str) -> str:
        key = f"{app}/{service}"
        if key not in self.services:
            await self._missing(context, "service", key, self.services)
        return key

    async def GetCluster(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetCluster", request)
        ready = sum(r.ready for r in self.replicas.values())
        return encode(
            Cluster(
                id="c1", manager_version="0.0.9", revision=self.revision, nodes=len(self.nodes), nodes_ready=len(self.nodes),
                replicas=len(self.replicas), replicas_ready=ready,
            )
        )  # fmt: skip

    async def Apply(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Apply", request)
        spec = decode(AppSpec, request.app)
        changes = self._changes(spec)
        old = {key: service for key, service in self.services.items() if service.app == spec.name}
        self.add_app(spec, ready=False)
        for key, service in old.items():
            if key in self.services and self.services[key] is not service:
                self.services[key] = replace(self.services[key], revision=service.revision)
        return pb.ApplyResponse(app=spec.name, changes=[encode(c) for c in changes], revision=self.revision)

    async def Plan(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Plan", request)
        spec = decode(AppSpec, request.app)
        placements = [
            PlannedReplica(service=s.name, slot=slot, node_id=NodeId("n1-0000-id"), node_name="n1", why="fewest replicas")
            for s in spec.services
            if f"{spec.name}/{s.name}" not in self.services
            for slot in range(1, wanted_replicas(s) + 1)
        ]
        return pb.PlanResponse(
            app=spec.name, changes=[encode(c) for c in self._changes(spec)], placements=[encode(p) for p in placements]
        )

    def _changes(self, spec: AppSpec) -> list[ServiceChange]:
        made = []
        for service in spec.services:
            known = self.specs.get(f"{spec.name}/{service.name}")
            if known is None:
                kind, fields = ChangeKind.CREATE, ()
            elif known == service:
                kind, fields = ChangeKind.KEEP, ()
            else:
                kind = ChangeKind.UPDATE
                fields = (FieldChange(path="container.image", before=known.container.image, after=service.container.image),)
            made.append(
                ServiceChange(service=service.name, kind=kind, revision=1, replicas=wanted_replicas(service), fields=fields)
            )
        return made

    async def RemoveApp(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "RemoveApp", request)
        await self._need_app(context, request.app)
        self.apps[request.app] = replace(self.apps[request.app], removing=True)
        return pb.RemoveAppResponse(revision=self.revision)

    async def ListApps(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListApps", request)
        return pb.ListAppsResponse(apps=[encode(self._app_status(app)) for app in self.apps])

    async def GetApp(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetApp", request)
        self._advance(request.app)
        self._die()
        await self._need_app(context, request.app)
        return encode(self._app_status(request.app))

    async def ListServices(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListServices", request)
        found = [encode(self._status(key)) for key, s in self.services.items() if request.app in ("", s.app)]
        return pb.ListServicesResponse(services=found)

    async def GetService(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetService", request)
        key = await self._need_service(context, request.app, request.service)
        earlier = self.earlier.get(key, ())
        number = len(earlier) + 1
        newest = Revision(
            app=request.app, service=request.service, number=number, spec=self.specs[key], created_at=T0, actor="ann@box"
        )
        mine = tuple(r for r in self.replicas.values() if r.key == key)
        revisions = (newest, *reversed(earlier))
        return encode(ServiceDetail(status=self._status(key), spec=self.specs[key], revisions=revisions, replicas=mine))

    async def Scale(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Scale", request)
        key = await self._need_service(context, request.app, request.service)
        before = self.services[key].replicas
        self.services[key] = replace(self.services[key], replicas=request.replicas)
        return pb.ScaleResponse(before=before, after=request.replicas, revision=self.revision)

    async def Rollback(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Rollback", request)
        key = await self._need_service(context, request.app, request.service)
        before = self.services[key].revision
        after = request.to or max(before - 1, 1)
        if after != before:
            state = RolloutState.PAUSED if self.rollback_fails else RolloutState.DONE
            rollout = Rollout(
                before=before, after=after, state=state, started_at=T0, changed_at=T0 + 7.5, why=self.rollback_fails
            )
            self.services[key] = replace(self.services[key], revision=after, rollout=rollout)
        return pb.RollbackResponse(before=before, after=after, revision=self.revision)

    async def ListReplicas(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListReplicas", request)
        found = [
            r
            for r in self.replicas.values()
            if request.app in ("", r.app)
            and request.service in ("", r.service)
            and request.node_id in ("", r.node_id)
            and (request.ended or not r.ended)
        ]
        drained = {d.node.id for d in self.nodes.values() if d.node.availability is Availability.DRAINED}
        if request.node_id in drained and found and not self.stalled:
            del self.replicas[found.pop().id]
            self.revision += 1
        return pb.ListReplicasResponse(replicas=[encode(self._detail(r)) for r in found])

    async def GetReplica(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetReplica", request)
        for replica in self.replicas.values():
            if replica.name == request.replica or replica.id.startswith(request.replica):
                return encode(self._detail(replica))
        await self._missing(context, "replica", request.replica, [r.name for r in self.replicas.values()])
        raise AssertionError

    async def ListNodes(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListNodes", request)
        return pb.ListNodesResponse(nodes=[encode(detail) for detail in self.nodes.values()])

    async def _node(self, context: Any, name: str) -> NodeDetail:
        for detail in self.nodes.values():
            if detail.node.name == name or detail.node.id.startswith(name):
                return detail
        await self._missing(context, "node", name, self.nodes)
        raise AssertionError

    async def GetNode(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetNode", request)
        return encode(await self._node(context, request.node))

    async def UpdateNode(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "UpdateNode", request)
        detail = await self._node(context, request.node)
        kept = {k: v for k, v in {**detail.node.labels, **request.set_labels}.items() if k not in request.remove_labels}
        node = replace(detail.node, labels=kept)
        if request.availability:
            node = replace(node, availability=Availability.DRAINED if request.availability == 2 else Availability.ACTIVE)
        self.nodes[node.name] = replace(detail, node=node)
        return encode(self.nodes[node.name])

    async def RemoveNode(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "RemoveNode", request)
        detail = await self._node(context, request.node)
        if not request.force:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{detail.node.name} is up: stop its agent, or force it")
        del self.nodes[detail.node.name]
        return pb.RemoveNodeResponse(revision=self.revision)

    async def ListProxies(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListProxies", request)
        return pb.ListProxiesResponse(proxies=[encode(proxy) for proxy in self.proxies])

    async def ListRoutes(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListRoutes", request)
        return encode(self.routes)

    async def Explain(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Explain", request)
        await self._need_service(context, request.app, request.service)
        n1 = NodeVerdict(
            node_id=NodeId("n1-0000-id"), node_name="n1", fits=True, chosen=True,
            scores=(Score(name="of this service", value=0.0), Score(name="busy", value=0.25)),
        )  # fmt: skip
        n2 = NodeVerdict(node_id=NodeId("n2-0000-id"), node_name="n2", fits=False, why="it is drained")
        subject = request.replica or f"{request.app}/{request.service}"
        return pb.ExplainResponse(
            subject=subject, summary="on n1, which has fewest replicas of this service",
            nodes=[encode(n2), encode(n1)], events=[encode(e) for e in self.events if e.subject == subject],
        )  # fmt: skip

    async def ListEvents(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListEvents", request)
        found = [e for e in self.events if e.subject.startswith(request.subject) and e.revision > request.after_revision]
        return pb.ListEventsResponse(events=[encode(e) for e in found[-(request.limit or 100) :]])

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Message]:
        await self._refuse(context, "Watch", request)
        seen = request.after_revision or self.revision
        if request.snapshot:
            yield pb.WatchResponse(revision=self.revision, apps=[encode(app) for app in self.apps.values()])
        while True:
            if self.revision > seen:
                events = [encode(event) for event in self.events if event.revision > seen]
                seen = self.revision
                yield pb.WatchResponse(revision=seen, events=events)
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):  # events are added from the test's thread
                    await self.changed.wait()

    async def Logs(self, request: Any, context: Any) -> AsyncIterator[Message]:
        await self._refuse(context, "Logs", request)
        for entry in self.log:
            assert isinstance(entry, LogLine)
            line = dispatch_pb2.LogLine(at=entry.at, stderr=entry.stderr, line=entry.text.encode())
            yield pb.LogsResponse(replica_id=entry.replica_id, replica=entry.replica, node_name=entry.node_name, lines=[line])
        for replica, why in self.log_errors.items():
            yield pb.LogsResponse(replica_id=replica, replica=replica, node_name="n2", error=why)


@contextlib.contextmanager
def serving(control: FakeControl, address: str = "127.0.0.1:0") -> Iterator[str]:
    """Serves it in a thread of its own; gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[grpc.aio.Server, int]:
        made = server()
        add_ControlServiceServicer_to_server(control, made)
        port = listen(made, address)
        await made.start()
        return made, port

    running, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    control.address = f"127.0.0.1:{port}"
    try:
        yield control.address
    finally:
        asyncio.run_coroutine_threadsafe(running.stop(0), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
