"""How a new revision takes over: `x-rookery.rollout`, and what is in the way of an old and a new replica side by side.

Invariant: what passes here the manager's `validate_rollout` takes too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rookery.compose import units
from rookery.compose.keys_rookery import STRATEGIES
from rookery.compose.nodes import Map, Seq
from rookery.compose.view import View
from rookery.model import (
    BlueGreen,
    Canary,
    GlobalJob,
    HttpRoute,
    Mode,
    Mount,
    OnDisconnect,
    Port,
    PortMode,
    PortProtocol,
    Replicated,
    ReplicatedJob,
    Rolling,
    Strategy,
    UpdateConfig,
    UpdateOrder,
    VolumeMount,
)

_ONLY_OF = {"steps": "canary", "interval": "canary", "min_requests": "canary", "sticky": "canary", "keep": "blue-green"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What makes updates stop-first unless told otherwise, what start-first would mean, and how to have it all the same."""

    cause: str
    if_start_first: str
    way_out: str


_HOST_PORT = Obstacle(
    cause="a port has `mode: host`",
    if_start_first="start-first needs another node for each replacement, as a port has `mode: host`",
    way_out="publish the port on the proxies with `mode: ingress`",
)


_ONCE = Obstacle(
    cause="`on_disconnect: stop` says that no replica may run twice",
    if_start_first="start-first lets two replicas run at once for a moment, which `on_disconnect: stop` is there to prevent",
    way_out="write `order: start-first` if they may do so in an update",
)


def obstacles(ports: Sequence[Port], kind: Mode, mounts: Sequence[Mount], on_disconnect: OnDisconnect) -> tuple[Obstacle, ...]:
    """What is in the way of two replicas side by side. A volume that several replicas write to was evidently meant to be shared
    (docs/decisions/0012-exclusive-volumes.md)."""
    fixed = any(port.mode is PortMode.HOST and port.published for port in ports)
    is_one = isinstance(kind, Replicated) and kind.replicas == 1
    once = on_disconnect is OnDisconnect.STOP
    return (
        ((_HOST_PORT,) if fixed else ())
        + ((_ONCE,) if once else ())
        + tuple(
            Obstacle(
                cause=f"its only replica writes to the volume at {mount.target}",
                if_start_first=f"start-first lets two replicas use the volume at {mount.target} at once for a moment",
                way_out="write `order: start-first` if two replicas may use it at once",
            )
            for mount in mounts
            if is_one and isinstance(mount, VolumeMount) and mount.volume and not mount.read_only
        )
    )


def strategy(
    service: View,
    kind: Mode,
    configs: tuple[UpdateConfig, UpdateConfig],
    in_the_way: Sequence[Obstacle],
    ports: Sequence[Port],
    routes: Sequence[HttpRoute],
) -> Strategy:
    """The strategy; what contradicts it is reported. `configs` are those of updates and of roll-backs."""
    view = service.child("x-rookery").child("rollout")
    is_job = isinstance(kind, ReplicatedJob | GlobalJob)
    if view.seconds("progress_deadline") == 0:
        view.error("progress_deadline", "gives no replica time to get ready", "leave it out for 10m")
    if view.text("no_room") == "wait" and (is_job or all(config.order is UpdateOrder.STOP_FIRST for config in configs)):
        view.warn("no_room", "has no effect: the old replica goes first anyway")
    name = view.text("strategy", "rolling")
    if name not in STRATEGIES:
        return Rolling()
    for key, owner in _ONLY_OF.items():
        if view.has(key) and name != owner:
            view.error(key, f"belongs to {owner}, but the strategy is {name}", f"leave it out, or write `strategy: {owner}`")
    if name == "rolling":
        return Rolling()
    if is_job:
        view.error("strategy", f"{name} is not for jobs: they run to their end and serve no requests", "leave it out")
    else:
        _check_order(service, view, name, configs[0], in_the_way)
        balanced = [port for port in ports if port.mode is PortMode.INGRESS and port.protocol is PortProtocol.TCP]
        if not balanced and not routes:
            hint = "publish a TCP port under `ports:`, add x-rookery.http, or use rolling"
            view.error("strategy", f"{name} moves requests at the proxies, but none of this service pass them", hint)
        elif view.has("sticky") and not routes and all(port.app_protocol == "tcp" for port in balanced):
            view.warn("sticky", "has no effect: what is not HTTP has neither cookies nor headers", "leave it out")
    config = service.child("deploy").child("update_config")
    for key in ("parallelism", "delay"):
        if config.has(key):
            config.warn(key, f"has no effect: x-rookery.rollout is {name}", "leave it out, or use rolling")
    return _blue_green(view) if name == "blue-green" else _canary(view)


def _check_order(service: View, rollout: View, name: str, config: UpdateConfig, in_the_way: Sequence[Obstacle]) -> None:
    if config.order is not UpdateOrder.STOP_FIRST:
        return
    conflict = f"{name} needs old and new replicas side by side, but"
    written = service.child("deploy").child("update_config")
    if written.text("order") == UpdateOrder.STOP_FIRST:
        hint = "use start-first, or the strategy rolling"
        rollout.error("strategy", f"{conflict} deploy.update_config.order is stop-first", hint)
        return
    for obstacle in in_the_way:
        rollout.error("strategy", f"{conflict} {obstacle.cause}", f"{obstacle.way_out}, or use rolling")


def _blue_green(view: View) -> BlueGreen:
    keep = view.seconds("keep")
    return BlueGreen() if keep is None else BlueGreen(keep_s=keep)


def _canary(view: View) -> Canary:
    default = Canary()
    steps = tuple(_steps(view)) if view.has("steps") else default.steps
    interval, least = view.seconds("interval"), view.whole("min_requests")
    sticky = view.child("sticky")
    if isinstance(view.get("sticky"), Map) and sticky.has("cookie") == sticky.has("header"):
        both = "cookie and header" if sticky.has("cookie") else "neither"
        view.error("sticky", f"expected either 'cookie' or 'header', got {both}")
    return Canary(
        steps=steps,
        interval_s=default.interval_s if interval is None else interval,
        min_requests=default.min_requests if least is None else least,
        sticky_cookie=sticky.text("cookie"),
        sticky_header=sticky.text("header"),
    )


def _steps(view: View) -> Iterator[int]:
    """The shares in percent, the last of them 100."""
    before = 0
    for i, written in enumerate(view.scalars("steps")):
        step = units.percent(written.text)
        if step is None or not 1 <= step <= 100:
            continue
        if step <= before:
            where = f"{view.where('steps')}[{i}]"
            view.problems.error(written.mark, where, f"is {step}, after {before}: each step is larger than the one before it")
        before = step
        yield step
    found = view.get("steps")
    if isinstance(found, Seq) and not found.items:
        view.error("steps", "there are none", "leave it out for 5, 25, 50 and 100")
    elif before < 100:
        yield 100
