"""One entry under `services:` as a ServiceSpec."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from rookery.compose.resolve import deploy, ports
from rookery.compose.resolve.autoscale import autoscale
from rookery.compose.resolve.container import container
from rookery.compose.resolve.content import Contents
from rookery.compose.resolve.environment import environment, labels
from rookery.compose.resolve.mounts import check_targets, mounts
from rookery.compose.resolve.networks import attachments, network_mode
from rookery.compose.resolve.probe import probe
from rookery.compose.resolve.rollout import obstacles, strategy
from rookery.compose.view import View
from rookery.model import Dependency, DependencyCondition, OnDisconnect, Replicated, RuntimeKind, ServiceSpec

_OF_CONTAINERS = """
    cap_add cap_drop cgroup_parent devices dns dns_opt dns_search domainname extra_hosts group_add hostname image init ipc logging
    network_mode networks oom_score_adj pid platform privileged pull_policy read_only security_opt shm_size stdin_open sysctls
    tmpfs tty userns_mode volumes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a service refers to."""

    app: str
    env: Mapping[str, str]
    networks: Mapping[str, View]
    volumes: dict[str, View]
    contents: Contents
    aliases: Mapping[str, tuple[str, ...]]
    awaited: frozenset[str]  # services that others wait for to complete


def service_spec(name: str, service: View, around: Surroundings) -> ServiceSpec:
    rookery = service.child("x-rookery")
    runtime = RuntimeKind.PROCESS if rookery.text("runtime") == "process" else RuntimeKind.DOCKER
    _check_source(service, runtime)
    kind = deploy.mode(service, awaited=name in around.awaited)
    reservations, limits = deploy.resources(service)
    published = ports.ports(service)
    action = rookery.child("on_disconnect")
    if action.has("after") and action.text("action") != "stop":
        action.warn("after", "has no effect: replicas are kept for as long as it takes", "use `action: stop`")
    drain = rookery.seconds("drain_timeout")
    mode = network_mode(service)
    if mode == "none":
        for view, key in ((service, "ports"), (service, "expose"), (rookery, "http")):
            if view.has(key):
                view.error(key, "can't be reached with `network_mode: none`", "leave one out")
    mounted, files = mounts(service, around.app, around.volumes), around.contents.mounts(service)
    check_targets(service, mounted, files)
    joined = (
        ()
        if mode or runtime is RuntimeKind.PROCESS
        else attachments(service, name, around.app, around.networks, around.aliases.get(name, ()))
    )
    routes = ports.routes(service)
    on_disconnect = OnDisconnect.STOP if action.text("action") == "stop" else OnDisconnect.KEEP
    scaling = autoscale(service, kind, published, routes, (reservations, limits))
    most = Replicated(replicas=scaling.maximum) if scaling is not None else kind
    in_the_way = obstacles(published, most, mounted if runtime is RuntimeKind.DOCKER else (), on_disconnect)
    update = deploy.update(service, "update_config", in_the_way)
    rollback = deploy.update(service, "rollback_config", in_the_way)
    return ServiceSpec(
        name=name,
        container=container(
            service,
            environment=environment(service, around.env),
            labels=labels(service, service.problems),
            mounts=mounted,
            files=files,
            network_mode=mode,
            networks=joined,
        ),
        mode=kind,
        reservations=reservations,
        limits=limits,
        placement=deploy.placement(service),
        restart=deploy.restart(service, kind),
        update=update,
        rollback=rollback,
        ports=published,
        expose=ports.expose(service),
        routes=routes,
        probe=probe(service),
        depends_on=_dependencies(name, service, around.aliases),
        labels=dict(sorted(service.child("deploy").labels("labels").items())),
        drain_timeout_s=30.0 if drain is None else drain,
        on_disconnect=on_disconnect,
        on_disconnect_after_s=action.seconds("after") or 0.0,
        runtime=runtime,
        rebalance=rookery.text("rebalance").lower() not in ("off", "false"),
        strategy=strategy(service, kind, (update, rollback), in_the_way, published, routes),
        balancing=ports.balancing(rookery.child("balance")),
        proxy_protocol=ports.proxy_protocol(rookery, published, routes),
        autoscale=scaling,
        allow=_allowed(rookery, around.app, published=bool(published or routes)),
    )


def _allowed(rookery: View, app: str, *, published: bool) -> tuple[str, ...]:
    """Who may reach what the service publishes, each once."""
    named = rookery.texts("allow")
    if named and not published:
        rookery.warn("allow", "has no effect: the service publishes nothing", "add `ports:` or x-rookery.http")
    for name in named:
        if name.partition("/")[0] == app:
            rookery.warn("allow", f"'{name}' is of this app, which may reach it anyway", "leave it out")
    return tuple(dict.fromkeys(named))


def _check_source(service: View, runtime: RuntimeKind) -> None:
    """A container needs an image that nodes can pull, a process a command."""
    if runtime is RuntimeKind.PROCESS:
        for key in _OF_CONTAINERS.split():
            if service.has(key):
                service.warn(key, "has no effect: a process of `runtime: process` has no container")
        if not service.texts("command") and not service.texts("entrypoint"):
            service.error("x-rookery", "`runtime: process` needs a 'command'")
    elif not service.has("image") and service.has("build"):
        service.error("build", "nothing is built on a cluster", "build and push the image, and name it with `image:`")
    elif not service.has("image") and not service.has("provider"):
        service.error("", "'image' is missing")


def _dependencies(name: str, service: View, known: Container[str]) -> tuple[Dependency, ...]:
    found: list[Dependency] = []
    for other, view in service.children("depends_on").items():
        condition = view.text("condition", DependencyCondition.SERVICE_STARTED)
        if condition in set(DependencyCondition):
            found.append(
                Dependency(
                    service=other,
                    condition=DependencyCondition(condition),
                    restart=view.flag("restart"),
                    required=view.flag("required", True),
                )
            )
    named = {name, *(dependency.service for dependency in found)}
    linked = dict.fromkeys(text.partition(":")[0] for text in service.texts("links"))
    return (*found, *(Dependency(service=other) for other in linked if other in known and other not in named))
