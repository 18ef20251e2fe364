"""A ControlService for tests of its clients: a real gRPC server on loopback over a small cluster that a test lays out.

What is wanted of it comes true one step each time somebody looks (GetApp, ListReplicas of a node), unless `stalled`.
"""

import asyncio
import contextlib
import difflib
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import grpc
from fake_cluster import FakeCluster, wanted_replicas
from fake_rollouts import T0, RefusedError
from google.protobuf.message import Message
from rookery.channel import listen, server
from rookery.client.values import LogLine, RolloutAction
from rookery.model import (
    Autoscale,
    AutoscaleStatus,
    Availability,
    ChangeKind,
    Cluster,
    NodeDetail,
    NodeId,
    NodeVerdict,
    PlannedReplica,
    ScaleByHand,
    Score,
    Service,
    ServiceDetail,
)
from rookery.v1 import control_pb2 as pb
from rookery.v1 import dispatch_pb2
from rookery.v1.control_pb2_grpc import ControlServiceServicer, add_ControlServiceServicer_to_server
from rookery.wire import decode, encode


class FakeControl(FakeCluster, ControlServiceServicer):
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
        spec = self._decoded(request.app)
        at = self.app_revision(spec.name)
        if request.HasField("if_revision") and request.if_revision != at:
            who = f" (since T, by {self.app_revisions[spec.name][0].actor})" if at else ""
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"{spec.name} is at revision {at} by now{who}, not {request.if_revision}"
            )
        changes = self._changes(spec)
        for change, wanted in zip(changes, spec.services, strict=True):
            key, service = f"{spec.name}/{wanted.name}", self.services.get(f"{spec.name}/{wanted.name}")
            if service is None:
                service = Service(app=spec.name, name=wanted.name, revision=1)
            elif change.kind is ChangeKind.UPDATE:
                self.earlier[key] = (*self.earlier.get(key, ()), self._newest(key))
                service = self.rollouts.begin(service, change.revision, request.actor)
            if change.kind is not ChangeKind.KEEP:
                self.specs[key] = wanted
            self.services[key] = replace(service, replicas=wanted_replicas(wanted))
        if any(change.kind is not ChangeKind.KEEP for change in changes):
            self._record(spec.name, request.actor, "deployed")
        return pb.ApplyResponse(
            app=spec.name,
            changes=[encode(c) for c in changes],
            revision=self.revision,
            app_revision=self.app_revision(spec.name),
        )

    async def Plan(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Plan", request)
        spec = self._decoded(request.app)
        placements = [
            PlannedReplica(service=s.name, slot=slot, node_id=NodeId("n1-0000-id"), node_name="n1", why="fewest replicas")
            for s in spec.services
            if f"{spec.name}/{s.name}" not in self.services
            for slot in range(1, wanted_replicas(s) + 1)
        ]
        changes = self._changes(spec)
        return pb.PlanResponse(
            app=spec.name,
            changes=[encode(c) for c in changes],
            placements=[encode(p) for p in placements],
            services=[encode(self._service_plan(c, s)) for c, s in zip(changes, spec.services, strict=True)],
            app_revision=self.app_revision(spec.name),
        )

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
        mine = tuple(r for r in self.replicas.values() if r.key == key)
        return encode(
            ServiceDetail(
                status=self._status(key),
                spec=self.spec_in_force(key),
                revisions=(self._newest(key), *reversed(self.earlier.get(key, ()))),
                replicas=mine,
                rollouts=self.rollouts.past.get(key, ()),
            )
        )

    async def Scale(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Scale", request)
        key = await self._need_service(context, request.app, request.service)
        before = self.services[key].replicas
        self.services[key] = replace(self.services[key], replicas=request.replicas)
        return pb.ScaleResponse(before=before, after=request.replicas, revision=self.revision)

    async def Rollback(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Rollback", request)
        if not request.service:
            return await self._rollback_app(request, context)
        key = await self._need_service(context, request.app, request.service)
        before = self.services[key].revision
        after = request.to or max(before - 1, 1)
        returns = self._return({key: after}, request.actor)
        return pb.RollbackResponse(before=before, after=after, revision=self.revision, services=returns)

    async def _rollback_app(self, request: Any, context: Any) -> Message:
        await self._need_app(context, request.app)
        before = self.app_revision(request.app)
        after = request.to or max(before - 1, 1)
        wanted = next((r for r in self.app_revisions[request.app] if r.number == after), None)
        if wanted is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.app} has no revision {after}")
            raise AssertionError
        left = [s.name for s in self.services.values() if s.app == request.app and s.name not in wanted.services]
        gone = [name for name in wanted.services if f"{request.app}/{name}" not in self.services]
        there = {name: number for name, number in wanted.services.items() if name not in gone}
        returns = self._return({f"{request.app}/{name}": number for name, number in there.items()}, request.actor)
        return pb.RollbackResponse(before=before, after=after, revision=self.revision, services=returns, left=left, gone=gone)

    async def Restart(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "Restart", request)
        await self._need_app(context, request.app)
        if request.service:
            keys = [await self._need_service(context, request.app, request.service)]
        else:
            keys = [key for key, service in self.services.items() if service.app == request.app]
        self.revision += 1
        for key in keys:
            service = self.services[key]
            begun = self.rollouts.begin(service, service.revision, request.actor)
            self.services[key] = replace(begun, restarted_at=T0 + self.revision)
        return pb.RestartResponse(services=[self.services[key].name for key in keys], revision=self.revision)

    async def UpdateRollout(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "UpdateRollout", request)
        key = await self._need_service(context, request.app, request.service)
        action = pb.RolloutAction.Name(request.action).removeprefix("ROLLOUT_ACTION_")
        try:
            self.services[key] = self.rollouts.update(self.services[key], RolloutAction[action], request.actor)
        except RefusedError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        self.revision += 1
        return self._rollout_status(key)

    async def GetRollout(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetRollout", request)
        return self._rollout_status(await self._need_service(context, request.app, request.service))

    def _rollout_status(self, key: str) -> Any:
        return encode(self.rollouts.status(self.services[key], self.spec_in_force(key), self._status(key)))

    async def GetAutoscale(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetAutoscale", request)
        return self._autoscale_status(await self._need_service(context, request.app, request.service))

    async def SetAutoscale(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "SetAutoscale", request)
        key = await self._need_service(context, request.app, request.service)
        policy = decode(Autoscale, request.policy) if request.HasField("policy") else None
        self.services[key] = replace(self.services[key], by_hand=ScaleByHand(policy=policy))
        return self._autoscale_status(key)

    def _autoscale_status(self, key: str) -> Any:
        service = self.services[key]
        policy = service.autoscale(self.spec_in_force(key))
        status = AutoscaleStatus(
            app=service.app,
            service=service.name,
            policy=policy,
            by_hand=service.by_hand is not None,
            minimum=policy.minimum if policy else 0,
            maximum=policy.maximum if policy else 0,
            replicas=service.replicas,
            ready=service.replicas,
            latest=self.decisions[0] if policy and self.decisions else None,
            decisions=tuple(self.decisions[1:]),
        )
        return encode(status)

    async def ListAppRevisions(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "ListAppRevisions", request)
        await self._need_app(context, request.app)
        return pb.ListAppRevisionsResponse(revisions=[encode(revision) for revision in self.app_revisions[request.app]])

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

    async def GetTraffic(self, request: Any, context: Any) -> Message:
        await self._refuse(context, "GetTraffic", request)
        if request.app:
            await self._need_app(context, request.app)
        report = self.traffic.pop(0) if len(self.traffic) > 1 else self.traffic[0]
        return encode(replace(report, services=tuple(s for s in report.services if request.app in ("", s.app))))

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

    async def Backup(self, request: Any, context: Any) -> AsyncIterator[Message]:
        await self._refuse(context, "Backup", request)
        yield pb.BackupChunk(size_bytes=len(self.store))
        for at in range(0, len(self.store), 1000):
            yield pb.BackupChunk(data=self.store[at : at + 1000])
        yield pb.BackupChunk(sha256=self.store_digest or hashlib.sha256(self.store).hexdigest())

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

    running, port = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    control.address = f"127.0.0.1:{port}"
    try:
        yield control.address
    finally:
        asyncio.run_coroutine_threadsafe(running.stop(0), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
