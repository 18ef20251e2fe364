"""`deploy:` and the older keys beside it: how many replicas, where, with how much, restarted and replaced how."""

from collections.abc import Sequence

from rookery.compose.judges import split_constraint
from rookery.compose.resolve.rollout import Obstacle
from rookery.compose.view import View
from rookery.model import (
    FailureAction,
    Global,
    GlobalJob,
    Mode,
    Placement,
    Replicated,
    ReplicatedJob,
    Resources,
    RestartCondition,
    RestartPolicy,
    UpdateConfig,
    UpdateOrder,
)

_ARCH = "node.platform.arch"  # goes by several names, so two of them may be the same one


def mode(service: View, *, awaited: bool) -> Mode:
    """A service that another waits for to complete (`awaited`) is a job, unless it says otherwise."""
    deploy = service.child("deploy")
    ends = awaited and not service.has("restart") and not deploy.child("restart_policy").has("condition")
    kind = deploy.text("mode", "replicated-job" if ends else "replicated")
    replicas, scale = deploy.whole("replicas"), service.whole("scale")
    if replicas is not None and scale is not None and replicas != scale:
        service.error("scale", f"is {scale}, but deploy.replicas is {replicas}", "leave one out")
    wanted = next((count for count in (replicas, scale) if count is not None), 1)
    if kind in ("global", "global-job"):
        for view, key in ((deploy, "replicas"), (service, "scale")):
            if view.has(key):
                view.error(key, f"a {kind} service runs once on every node", f"leave '{key}' out, or use mode replicated")
        return Global() if kind == "global" else GlobalJob()
    if service.has("container_name") and wanted > 1:
        hint = f"leave container_name out, or run 1 replica instead of {wanted}"
        service.error("container_name", "can't be the name of several replicas", hint)
    return ReplicatedJob(replicas=max(0, wanted)) if kind == "replicated-job" else Replicated(replicas=max(0, wanted))


def placement(service: View) -> Placement:
    view = service.child("deploy").child("placement")
    constraints: list[str] = []
    wanted: dict[str, str] = {}
    for i, written in enumerate(view.scalars("constraints")):
        parts = split_constraint(written.text)
        if parts is None:
            continue
        key, sign, value = parts
        constraints.append(f"{key} {sign} {value}")
        if sign == "==" and key != _ARCH and wanted.setdefault(key, value).casefold() != value.casefold():
            where = f"{view.where('constraints')}[{i}]"
            view.problems.error(written.mark, where, f"no node has {key} both {wanted[key]} and {value}")
    for i, written in enumerate(view.scalars("constraints")):
        parts = split_constraint(written.text)
        if parts is not None and parts[1] == "!=" and wanted.get(parts[0], "").casefold() == parts[2].casefold():
            where = f"{view.where('constraints')}[{i}]"
            view.problems.error(written.mark, where, f"{parts[0]} can't be {parts[2]} and not be it")
    return Placement(
        constraints=tuple(dict.fromkeys(constraints)),
        preferences=tuple(preference.text("spread") for preference in view.items("preferences") if preference.has("spread")),
        max_replicas_per_node=max(0, view.whole("max_replicas_per_node") or 0),
    )


def resources(service: View) -> tuple[Resources, Resources]:
    """Reservations and limits."""
    view = service.child("deploy").child("resources")
    limits, reserved = view.child("limits"), view.child("reservations")
    if service.has("cpu_period") and not service.has("cpu_quota"):
        service.warn("cpu_period", "has no effect without cpu_quota")
    quota, period = service.whole("cpu_quota"), service.whole("cpu_period") or 100_000
    if quota is not None and quota > 0 and not service.has("cpus"):
        old_cpus, old_key = quota / period, "cpu_quota"
    elif service.has("cpus"):
        old_cpus, old_key = service.number("cpus") or 0.0, "cpus"
    else:
        old_cpus, old_key = float(service.whole("cpu_count") or 0), "cpu_count"
    cpus = _one_of(service, old_key, old_cpus, limits, "cpus", limits.number("cpus") or 0.0)
    memory = _one_of(service, "mem_limit", service.bytes("mem_limit") or 0, limits, "memory", limits.bytes("memory") or 0)
    pids = _one_of(service, "pids_limit", _pids(service, "pids_limit"), limits, "pids", _pids(limits, "pids"))
    reserved_memory = _one_of(
        service, "mem_reservation", service.bytes("mem_reservation") or 0, reserved, "memory", reserved.bytes("memory") or 0
    )
    reserved_cpus = max(0.0, reserved.number("cpus") or 0.0)
    if cpus and reserved_cpus > cpus:
        reserved.error("cpus", f"reserves {reserved_cpus:g}, but the limit is {cpus:g}")
    if memory and reserved_memory > memory:
        place = reserved if reserved.has("memory") else service
        place.error("memory" if reserved.has("memory") else "mem_reservation", "reserves more than the limit")
    return (
        Resources(cpus=reserved_cpus, memory_bytes=int(reserved_memory)),
        Resources(cpus=max(0.0, cpus), memory_bytes=int(memory), pids=int(pids)),
    )


def _pids(view: View, key: str) -> int:
    """The bound; 0 where none is given, -1 where there is to be none."""
    given = view.whole(key)
    return 0 if given is None else given if given > 0 else -1


def _one_of(old: View, old_key: str, old_value: float, new: View, new_key: str, new_value: float) -> float:
    """The value of the newer key, else of the older one; both only if they agree."""
    if old.has(old_key) and new.has(new_key) and old_value != new_value:
        old.error(old_key, f"differs from {new.where(new_key).split('.', 2)[-1]}", "leave one out")
    return new_value if new.has(new_key) else old_value


def restart(service: View, kind: Mode) -> RestartPolicy:
    view = service.child("deploy").child("restart_policy")
    is_job = isinstance(kind, ReplicatedJob | GlobalJob)
    condition = RestartCondition.ON_FAILURE if is_job else RestartCondition.ANY
    attempts = 0
    if service.has("restart") and not view.has("condition"):
        word, _, count = service.text("restart").partition(":")
        condition = {"no": RestartCondition.NONE, "false": RestartCondition.NONE, "on-failure": RestartCondition.ON_FAILURE}.get(
            word, condition
        )
        attempts = int(count) if count.isascii() and count.isdigit() and len(count) < 10 else 0
    elif view.has("condition"):
        if service.has("restart"):
            service.warn("restart", "has no effect: deploy.restart_policy.condition goes before it", "leave one out")
        written = view.text("condition")
        condition = RestartCondition(written) if written in set(RestartCondition) else condition
        if is_job and condition is RestartCondition.ANY:
            view.error("condition", "a job ends, so 'any' would run it for ever", "use on-failure or none")
    window = view.seconds("window")
    return RestartPolicy(
        condition=condition,
        delay_s=view.seconds("delay"),
        max_attempts=max(0, (view.whole("max_attempts") or 0) if view.has("max_attempts") else attempts),
        window_s=60.0 if window is None else window,
    )


def update(service: View, key: str, obstacles: Sequence[Obstacle]) -> UpdateConfig:
    """`update_config` or `rollback_config`, where each key left out has the default: stop-first where something is in the way
    of two replicas side by side."""
    view = service.child("deploy").child(key)
    rollout = service.child("x-rookery").child("rollout")
    default = UpdateConfig()
    order = UpdateOrder.STOP_FIRST if obstacles else UpdateOrder.START_FIRST
    if view.text("order") in set(UpdateOrder):
        order = UpdateOrder(view.text("order"))
        for obstacle in obstacles if order is UpdateOrder.START_FIRST else ():
            view.warn("order", obstacle.if_start_first, "use stop-first")
    action = FailureAction.ROLLBACK if key == "update_config" else FailureAction.PAUSE
    if view.text("failure_action") in set(FailureAction):
        action = FailureAction(view.text("failure_action"))
    parallelism, ratio = view.whole("parallelism"), view.number("max_failure_ratio")
    monitor = view.seconds("monitor")
    return UpdateConfig(
        parallelism=default.parallelism if parallelism is None else parallelism,
        delay_s=view.seconds("delay") or 0.0,
        order=order,
        monitor_s=default.monitor_s if monitor is None else monitor,
        max_failure_ratio=ratio or 0.0,
        failure_action=action,
        progress_deadline_s=rollout.seconds("progress_deadline") or default.progress_deadline_s,
        waits_for_room=rollout.text("no_room") == "wait",
    )
