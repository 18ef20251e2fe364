"""The operator: random commands over the real API, one after the other, and what was acknowledged to her.

Invariant: what a command was acknowledged to have done stays so until another command that may change it was sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc.aio
from rookery.model import AppSpec, Availability, NodeId, ServiceKey
from rookery.v1 import control_pb2, types_pb2
from rookery.v1.control_pb2_grpc import ControlServiceStub
from rookery.wire import encode

from world.specs import APP, Specs

if TYPE_CHECKING:
    from world.world import World

PATIENCE_S = 8.0
ACTIONS = (control_pb2.ROLLOUT_ACTION_PAUSE, control_pb2.ROLLOUT_ACTION_RESUME, control_pb2.ROLLOUT_ACTION_ABORT)


class Operator:
    def __init__(self, world: World, rng: random.Random, *, wants: tuple[str, ...] = ()) -> None:
        self._world = world
        self._random = rng
        self._stub: Any = ControlServiceStub(world.dial())  # type: ignore[arg-type]
        self.specs = Specs(rng, nodes=world.size.nodes, wants=wants)
        self._promises: dict[str, tuple[str, Callable[[], bool]]] = {}  # by what it is about: what was said, whether it holds

    async def deploy(self, spec: AppSpec, *, what: str = "deploys") -> bool:
        names = ", ".join(f"{s.name} {s.container.image}" for s in spec.services)
        self._forget("apply")
        request = control_pb2.ApplyRequest(app=encode(spec), actor="ann", prune=True)
        answer = await self._say("Apply", request, f"{what} {names}")
        if answer is None:
            return False
        if all(change.kind == control_pb2.CHANGE_KIND_KEEP for change in answer.changes):
            return True  # no revision was made of what is wanted already
        wanted = {service.name: service.container.image for service in spec.services}
        number = answer.app_revision

        def is_kept() -> bool:
            truth = self._world.truth
            revision = truth.app_revisions.get(APP, {}).get(number)
            if revision is None:
                return False
            found = {name: truth.revision_of(ServiceKey(f"{APP}/{name}"), at) for name, at in revision.services.items()}
            # A service that was removed since may have come anew, with revisions from 1 again.
            same = {name: f for name, f in found.items() if f is not None and f.created_at <= revision.created_at}
            return all(f.spec.container.image == wanted[name] for name, f in same.items() if name in wanted)

        self._promises[f"apply {number}"] = (f"revision {number} of {APP}", is_kept)
        return True

    async def scale(self, name: str, replicas: int) -> None:
        self._forget("apply", f"scale {name}")
        request = control_pb2.ScaleRequest(app=APP, service=name, replicas=replicas, actor="ann")
        if await self._say("Scale", request, f"scales {name} to {replicas}") is not None:
            key = ServiceKey(f"{APP}/{name}")

            def is_kept() -> bool:
                service = self._world.truth.services.get(key)
                return service is not None and service.replicas == replicas

            self._promises[f"scale {name}"] = (f"{replicas} replicas of {name}", is_kept)

    async def set_availability(self, node: str, availability: Availability) -> None:
        self._forget(f"node {node}")
        number = types_pb2.AVAILABILITY_DRAINED if availability is Availability.DRAINED else types_pb2.AVAILABILITY_ACTIVE
        request = control_pb2.UpdateNodeRequest(node=node, availability=number, actor="ann")
        if await self._say("UpdateNode", request, f"has {node} {availability}") is not None:
            node_id = NodeId(f"id-{node}")

            def is_kept() -> bool:
                found = self._world.truth.nodes.get(node_id)
                return found is not None and found.availability is availability

            self._promises[f"node {node}"] = (f"{node} is to be {availability}", is_kept)

    async def do_something(self) -> None:
        rng, services = self._random, list(self.specs.services)
        name, node = rng.choice(services), rng.choice(list(self._world.hosts))
        match rng.choice(
            ["deploy"] * 5 + ["scale", "scale", "drain", "activate", "drop", "rollback", "restart", "rollout", "remove node"]
        ):
            case "deploy":
                await self.deploy(self.specs.change(may_be_bad=True))
            case "scale":
                await self.scale(name, rng.randrange(0, 6))
            case "drain":
                self._world.count("drains")
                await self.set_availability(node, Availability.DRAINED)
            case "activate":
                await self.set_availability(node, Availability.ACTIVE)
            case "drop":
                await self.deploy(self.specs.drop(), what="deploys anew, with other services,")
            case "rollback":
                self._forget("apply", f"scale {name}")
                request = control_pb2.RollbackRequest(app=APP, service=rng.choice(["", name]), actor="ann")
                await self._say("Rollback", request, f"rolls {request.service or 'all'} back")
            case "restart":
                await self._say("Restart", control_pb2.RestartRequest(app=APP, service=name, actor="ann"), f"restarts {name}")
            case "rollout":
                action = rng.choice(ACTIONS)
                request = control_pb2.UpdateRolloutRequest(app=APP, service=name, action=action, actor="ann")
                words = control_pb2.RolloutAction.Name(action).rpartition("_")[2].lower()
                await self._say("UpdateRollout", request, f"tells the rollout of {name} to {words}")
            case "remove node":
                self._forget(f"node {node}")
                await self._say("RemoveNode", control_pb2.RemoveNodeRequest(node=node, actor="ann"), f"removes {node}")

    async def have_all_in_order(self) -> None:
        """What the operator does in the end: everything can be had, everything may go on, all nodes take work."""
        while not await self.deploy(self.specs.mend(), what="at last deploys"):
            pass
        for node in self._world.hosts:
            if (
                found := self._world.truth.nodes.get(NodeId(f"id-{node}"))
            ) is not None and found.availability is Availability.DRAINED:
                await self.set_availability(node, Availability.ACTIVE)
        for name in self.specs.services:
            request = control_pb2.UpdateRolloutRequest(app=APP, service=name, action=ACTIONS[1], actor="ann")
            await self._say("UpdateRollout", request, f"tells the rollout of {name} to go on, if it is paused")

    def broken_promise(self) -> str:
        for told, is_kept in self._promises.values():
            if not is_kept():
                return f"acknowledged-write: {told} was acknowledged to the operator, and is not in the store"
        return ""

    def _forget(self, *subjects: str) -> None:
        """A scaling and an apply of the spec may change the same; revisions of an app stay whatever comes."""
        for subject in subjects:
            self._promises.pop(subject, None)
            if subject == "apply":
                for known in [known for known in self._promises if known.startswith("scale")]:
                    del self._promises[known]

    async def _say(self, method: str, request: Any, told: str) -> Any:
        world = self._world
        world.count(f"{method} sent")
        try:
            answer = await getattr(self._stub, method)(request, timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            world.tell("ann", "%s: %s, %s", told, error.code().name, (error.details() or "").partition("\n")[0])
            return None
        world.count(f"{method} done")
        world.tell("ann", "%s", told)
        return answer
