"""What a person means by a name: an app (`shop`), a service (`shop/web`), a replica (`shop/web.3`, an id) or a node."""

from collections.abc import Iterable
from dataclasses import dataclass

from rookery.cli.text import did_you_mean
from rookery.client import BadRequest, Client, NotFound


@dataclass(frozen=True, slots=True)
class AppTarget:
    app: str


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    app: str
    service: str


@dataclass(frozen=True, slots=True)
class ReplicaTarget:
    """`replica` is its name or id, as given."""

    app: str
    service: str
    replica: str


@dataclass(frozen=True, slots=True)
class NodeTarget:
    node: str


Workload = AppTarget | ServiceTarget | ReplicaTarget


def split(text: str) -> AppTarget | ServiceTarget:
    """`shop` or `shop/web`, by form alone. Raises BadRequest for anything else."""
    app, slash, service = text.partition("/")
    if not app or (slash and not service) or "/" in service:
        raise BadRequest(f"expected APP or APP/SERVICE, got {text!r}", code="INVALID_ARGUMENT")
    return ServiceTarget(app, service) if slash else AppTarget(app)


def split_service(text: str) -> ServiceTarget:
    """`shop/web`, by form alone. Raises BadRequest for anything else, an app too."""
    app, _, service = text.partition("/")
    if not app or not service or "/" in service:
        raise BadRequest(f"expected APP/SERVICE, as in shop/web, got {text!r}", code="INVALID_ARGUMENT")
    return ServiceTarget(app, service)


def match(app: str, rest: str, services: Iterable[str]) -> ServiceTarget | ReplicaTarget | None:
    """What `APP/REST` is, given the names of the app's services; names may have dots in them, so the longest one counts."""
    known = sorted(services, key=len, reverse=True)
    if rest in known:
        return ServiceTarget(app, rest)
    for service in known:
        if rest.startswith(f"{service}."):
            return ReplicaTarget(app, service, f"{app}/{rest}")
    return None


def find_workload(client: Client, text: str) -> Workload:
    """The app, service or replica of that name. Raises NotFound with the name that may have been meant."""
    target = split(text)
    if isinstance(target, ServiceTarget):
        found = match(target.app, target.service, [s.service.name for s in client.list_services(target.app)])
        if found is None:
            client.get_service(target.app, target.service)  # says which of the two there is not
            raise NotFound(f"no service {text}", code="NOT_FOUND")
        return found
    if text in {status.app.name for status in client.list_apps()}:
        return target
    replica = _replica(client, text)
    if replica is not None:
        return replica
    raise _nothing(client, text, "app or replica")


def find_any(client: Client, text: str) -> Workload | NodeTarget:
    """As `find_workload`, or a node by hostname or by id."""
    if "/" in text:
        return find_workload(client, text)
    if text in {status.app.name for status in client.list_apps()}:
        return AppTarget(text)
    nodes = [detail.node for detail in client.list_nodes()]
    if any(text == node.name for node in nodes) or (len(text) >= 4 and any(node.id.startswith(text) for node in nodes)):
        return NodeTarget(text)
    replica = _replica(client, text)
    if replica is not None:
        return replica
    raise _nothing(client, text, "app, node or replica", [node.name for node in nodes])


def _replica(client: Client, text: str) -> ReplicaTarget | None:
    """The replica whose id begins so, if there is one; what is too short to be meant as an id is none."""
    if len(text) < 4:
        return None
    try:
        replica = client.get_replica(text).replica
    except NotFound:
        return None
    return ReplicaTarget(replica.app, replica.service, text)


def _nothing(client: Client, text: str, what: str, also: Iterable[str] = ()) -> NotFound:
    services = client.list_services()
    same = sorted(status.service.key for status in services if status.service.name == text)
    if same:
        hint = f"; did you mean {same[0]}?"
    else:
        hint = did_you_mean(text, [*also, *{s.service.app for s in services}, *(s.service.key for s in services)])
    return NotFound(f"no {what} {text}{hint}", code="NOT_FOUND")
