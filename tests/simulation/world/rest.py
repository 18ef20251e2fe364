"""What must have come about when all is quiet; `unrest` says why it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rookery.model import OPEN, Global, ReplicaState, ServiceKey
from rookery_manager.api.placing import count_eligible
from rookery_manager.planners.routes import routes_of

from world.specs import APP

if TYPE_CHECKING:
    from world.operator import Operator
    from world.world import World


def unrest(world: World, operator: Operator) -> str:
    return _services(world, operator) or _containers(world) or _routes(world) or ""


def _services(world: World, operator: Operator) -> str:
    state = world.truth
    held_off = [node.name for node in state.nodes.values() if node.held_off]
    if held_off:
        return f"{', '.join(held_off)} is held off and gets work later"
    there = {key for key in state.services if key.startswith(f"{APP}/")}
    wanted_keys = {ServiceKey(f"{APP}/{name}") for name in operator.specs.services}
    if there != wanted_keys:
        return f"services {sorted(there)} exist, {sorted(wanted_keys)} are wanted"
    for key in sorted(there):
        service = state.services[key]
        revision = state.revision_of(key, service.revision)
        if revision is None:
            return f"{key} has no revision {service.revision}"
        if service.rollout is not None and service.rollout.state in OPEN:
            return f"the rollout of {key} is {service.rollout.state}: {service.rollout.why}"
        image = operator.specs.services[service.name].container.image
        if revision.spec.container.image != image:
            return f"{key} is at {revision.spec.container.image}, {image} was deployed last ({service.why})"
        policy = service.autoscale(revision.spec)
        if policy is not None and service.replicas != policy.minimum:
            return f"{key} is to have {service.replicas} replicas, {policy.minimum} are enough for no request ({service.why})"
        is_global = isinstance(revision.spec.mode, Global)
        wanted = count_eligible(state, key, revision.spec) if is_global else service.replicas
        alive = [replica for replica in state.replicas_of(key).values() if not replica.ended]
        good = [r for r in alive if r.ready and r.state is ReplicaState.RUNNING and r.revision == service.revision]
        places = {r.node_id if is_global else r.slot for r in good}
        if len(alive) != wanted or len(good) != wanted or len(places) != wanted:
            told = ", ".join(
                f"{r.name} on {r.node_name} of {r.revision} {r.state}{' ready' if r.ready else ''} ({r.why})" for r in alive
            )
            return f"{key} is to have {wanted} ready replicas, it has: {told or 'none'}"
    return ""


def _containers(world: World) -> str:
    state = world.truth
    running = {}
    for name, host in world.hosts.items():
        for replica_id, box in host.engine.boxes.items():
            if box.runs:
                running[replica_id] = name
    for replica in state.replicas.values():
        if replica.state is ReplicaState.RUNNING and running.get(replica.id) != replica.node_name:
            return f"{replica.name} is recorded as running on {replica.node_name}, and does not run there"
    for replica_id, name in running.items():
        found = state.replicas.get(replica_id)
        if found is None or found.ended:
            return f"{name} runs {replica_id[:8]}, which nobody wants"
    return ""


def _routes(world: World) -> str:
    state = world.truth
    wanted = {}
    for key, service in state.services.items():
        for route in routes_of(service, state.specs_in_use(service), state.replicas_of(key).values()):
            wanted[route.id] = route
    for name, gate in world.gates.items():
        if gate.proxy is None:
            return f"proxy {name} does not run"
        if gate.proxy.workers.balance.table.routes != wanted:
            return f"proxy {name} serves other routes than are wanted"
        for live in gate.proxy.workers.balance.routes.values():
            for endpoint in live.endpoints:
                host = world.hosts[state.replicas[endpoint.replica_id].node_name]
                if host.engine.box_at(endpoint.address[1]) is None:
                    return f"proxy {name} has an endpoint {endpoint.name} behind which nothing runs"
    return ""
