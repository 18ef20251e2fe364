"""Things by the names that people give them; whoever mistypes one is told the nearest."""

from collections.abc import Iterable, Mapping, Set

import grpc
from rookery.model import App, AppSpec, Node, Replica, Service, ServiceSpec
from rookery.model.ids import NodeId, ReplicaId, service_key

from rookery_manager.api.errors import Refused, impossible_now, invalid, not_found, shown
from rookery_manager.state import State

CANDIDATES_SHOWN = 5


def find_app(state: State, name: str) -> App:
    if not name:
        raise invalid("app: missing")
    app = state.apps.get(name)
    if app is None:
        raise not_found("app", name, state.apps)
    return app


def services_of(state: State, app: str) -> list[Service]:
    """All services of an app, or of all apps where `app` is empty, by name; also those that are being removed."""
    return [state.services[key] for key in sorted(state.services) if not app or state.services[key].app == app]


def find_service(state: State, app: str, name: str) -> Service:
    if not app or not name:
        raise invalid(f"{'service' if app else 'app'}: missing")
    service = state.services.get(service_key(app, name))
    if service is None:
        raise not_found("service", f"{app}/{name}", state.services)
    return service


def spec_of(state: State, service: Service) -> ServiceSpec:
    revision = state.revision_of(service.key, service.revision)
    if revision is None:
        raise impossible_now(f"{service.key} has no revision {service.revision}; apply its spec anew")
    return revision.spec


def port_holders(state: State, spec: AppSpec, staying: Set[str]) -> Mapping[str, ServiceSpec]:
    """The specs of all services that may hold a port the app wants: other apps', and its own that the spec leaves alone."""
    named = {service.name for service in spec.services}
    found: dict[str, ServiceSpec] = {}
    for key, service in state.services.items():
        own = service.app == spec.name
        if service.removing or (own and (service.name in named or service.name not in staying)):
            continue
        revision = state.revision_of(key, service.revision)
        if revision is not None:
            found[key] = revision.spec
    return found


def find_node(state: State, ref: str) -> Node:
    """By its id, its hostname, or the beginning of its id."""
    if not ref:
        raise invalid("node: missing")
    node = state.nodes.get(NodeId(ref))
    if node is not None:
        return node
    found = [node for node in state.nodes.values() if node.name == ref] or [
        node for node in state.nodes.values() if node.id.startswith(ref)
    ]
    if not found:
        raise not_found("node", ref, [node.name for node in state.nodes.values()])
    if len(found) > 1:
        raise _ambiguous("node", ref, (f"{node.id} ({node.name}, {node.state})" for node in found))
    return found[0]


def find_replica(state: State, ref: str) -> Replica:
    """By its id, `APP/SERVICE.SLOT`, or the beginning of its id. Of several in one slot: the newest that has not ended."""
    if not ref:
        raise invalid("replica: missing")
    replica = state.replicas.get(ReplicaId(ref))
    if replica is not None:
        return replica
    if "/" in ref:
        service = _service_of_replica_name(state, ref)
        named = [replica for replica in state.replicas_of(service.key).values() if replica.name == ref] if service else []
        if named:
            return max(named, key=lambda replica: (not replica.ended, replica.created_at, replica.id))
        raise not_found("replica", ref, _names(state, service))
    found = [replica for replica in state.replicas.values() if replica.id.startswith(ref)]
    if not found:
        raise not_found("replica", ref, ())
    if len(found) > 1:
        raise _ambiguous("replica", ref, (f"{replica.id} ({replica.name}, {replica.state})" for replica in found))
    return found[0]


def _service_of_replica_name(state: State, name: str) -> Service | None:
    """No service has a dot in its name; the rest is a slot or a node's hostname."""
    app, _, rest = name.partition("/")
    return state.services.get(service_key(app, rest.partition(".")[0]))


def _names(state: State, service: Service | None) -> Iterable[str]:
    if service is None:
        return [f"{key}.1" for key in state.services]
    return {replica.name for replica in state.replicas_of(service.key).values()}


def _ambiguous(what: str, ref: str, candidates: Iterable[str]) -> Refused:
    named = sorted(candidates)
    more = f" and {len(named) - CANDIDATES_SHOWN} more" if len(named) > CANDIDATES_SHOWN else ""
    message = f"{shown(ref)} may be any of {len(named)} {what}s: {', '.join(named[:CANDIDATES_SHOWN])}{more}; say more of its id"
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)
