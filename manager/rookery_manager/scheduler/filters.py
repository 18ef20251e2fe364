"""The filters: why a node can't take a replica, and the one sentence that sums it up over all nodes.

A capacity of 0 is one that the agent could not measure: it bounds nothing, so that such a node is of use at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from rookery.model import Availability, Node, NodeState, RuntimeKind, ServiceSpec

from rookery_manager.scheduler.constraint import Constraint, architecture, parse_constraint
from rookery_manager.scheduler.room import Ask, Room


class Reason(IntEnum):
    """The kinds of reasons, in the order in which a summary counts them: what an operator can change soonest comes first."""

    CPU = 0
    MEMORY = 1
    HOST_PORT = 2
    FULL = 3
    CONSTRAINT = 4
    PLATFORM = 5
    RUNTIME = 6
    CONDITION = 7
    DRAINED = 8
    DOWN = 9
    LEFT = 10
    HELD_OFF = 11
    EXCLUDED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why one node does not fit: `why` of this node, `group` what its like are counted under, `free` what is left."""

    reason: Reason
    why: str
    group: str = ""
    free: float = 0.0


class Filter:
    """All filters for one spec, with what can be parsed parsed once."""

    def __init__(self, ask: Ask) -> None:
        placement = ask.spec.placement
        self._ask = ask
        self._constraints: list[Constraint] = []
        self._invalid = ""
        self._most = placement.max_replicas_per_node if ask.key is not None else 0
        self._platform = _platform(ask.spec)
        for text in placement.constraints:
            try:
                self._constraints.append(parse_constraint(text))
            except ValueError as error:
                self._invalid = str(error)

    def unfit(self, room: Room, *, lasting_only: bool = False) -> Unfit | None:
        """The first reason against the node, None where it fits; `lasting_only` leaves out a node's passing conditions."""
        return self.unfit_node(room.node, lasting_only=lasting_only) or self.unfit_room(room)

    def unfit_node(self, node: Node, *, lasting_only: bool = False) -> Unfit | None:
        """The first reason that no placement changes."""
        return (
            _unfit_state(node)
            or self._unfit_kind(node)
            or (None if lasting_only else _unfit_condition(node, self._ask.spec.runtime))
        )

    def _unfit_kind(self, node: Node) -> Unfit | None:
        runtime = self._ask.spec.runtime
        if runtime not in node.info.runtimes:
            has = " and ".join(node.info.runtimes) or "none"
            return Unfit(reason=Reason.RUNTIME, why=f"it has no {runtime} runtime (it has {has})", group=runtime)
        if self._platform:
            os, arch = self._platform
            its_os, its_arch = node.info.os.casefold(), architecture(node.info.arch)
            if (os and os != its_os) or (arch and arch != its_arch):
                wanted = self._ask.spec.container.platform
                return Unfit(reason=Reason.PLATFORM, why=f"it is {its_os}/{its_arch or '?'}, not {wanted}", group=wanted)
        if self._invalid:
            return Unfit(reason=Reason.CONSTRAINT, why=self._invalid, group="a constraint that can't be met: " + self._invalid)
        for constraint in self._constraints:
            why = constraint.refusal(node)
            if why:
                sign = "==" if constraint.equal else "!="
                return Unfit(reason=Reason.CONSTRAINT, why=why, group=f"{constraint.attribute} {sign} {constraint.value}")
        return None

    def unfit_room(self, room: Room) -> Unfit | None:
        """The first reason in what is on the node."""
        ask = self._ask
        if ask.cpus and room.cpus_total and room.cpus + ask.cpus > room.cpus_total:
            free = max(0.0, (room.cpus_total - room.cpus) / 1_000_000)
            why = f"too little CPU: {_cores(free)} free of {_cores(ask.cpus / 1_000_000)} asked"
            return Unfit(reason=Reason.CPU, why=why, free=free)
        if ask.memory and room.memory_total and room.memory + ask.memory > room.memory_total:
            free = max(0.0, room.memory_total - room.memory)
            why = f"too little memory: {_size(free)} free of {_size(ask.memory)} asked"
            return Unfit(reason=Reason.MEMORY, why=why, free=free)
        for port, protocol, address in ask.host_ports:
            for taken_port, taken_protocol, taken_address in room.ports:
                same = (port, protocol) == (taken_port, taken_protocol)
                if same and (not address or not taken_address or address == taken_address):
                    name = f"host port {port}/{protocol}"
                    return Unfit(reason=Reason.HOST_PORT, why=f"its {name} is taken", group=name)
        if self._most and ask.key is not None and room.replicas(ask.key) >= self._most:
            here = room.replicas(ask.key)
            why = f"it has {here} replica{_s(here)} of {ask.key} already, and max_replicas_per_node is {self._most}"
            return Unfit(reason=Reason.FULL, why=why, group=str(self._most))
        return None


NO_NODE = "no node fits"
"""How a refusal begins."""


def summary(unfits: Iterable[Unfit], ask: Ask) -> str:
    """`no node fits: 2 have too little memory (largest free 1.2 GiB of 4 GiB asked), 1 is drained`."""
    groups: dict[tuple[Reason, str], list[Unfit]] = {}
    for unfit in unfits:
        groups.setdefault((unfit.reason, unfit.group), []).append(unfit)
    if not groups:
        return f"{NO_NODE}: the cluster has no nodes"
    return f"{NO_NODE}: " + ", ".join(_counted(reason, group, groups[reason, group], ask) for reason, group in sorted(groups))


def _counted(reason: Reason, group: str, unfits: Sequence[Unfit], ask: Ask) -> str:
    n = len(unfits)
    has, is_, does = ("has", "is", "does") if n == 1 else ("have", "are", "do")
    largest = max(unfit.free for unfit in unfits)
    match reason:
        case Reason.CPU:
            return f"{n} {has} too little CPU (most free {_cores(largest)} of {_cores(ask.cpus / 1_000_000)} asked)"
        case Reason.MEMORY:
            return f"{n} {has} too little memory (largest free {_size(largest)} of {_size(ask.memory)} asked)"
        case Reason.HOST_PORT:
            return f"{n} {has} {group} taken"
        case Reason.FULL:
            return f"{n} {has} max_replicas_per_node ({group}) replicas already"
        case Reason.CONSTRAINT:
            return f"{n} {does} not meet {group}"
        case Reason.PLATFORM:
            return f"{n} {is_} not {group}"
        case Reason.RUNTIME:
            return f"{n} {has} no {group} runtime"
        case Reason.CONDITION:
            return f"{n} {has} {group}"
        case Reason.DRAINED:
            return f"{n} {is_} drained"
        case Reason.DOWN:
            return f"{n} {is_} down"
        case Reason.LEFT:
            return f"{n} left"
        case Reason.HELD_OFF:
            return f"{n} {is_} held off"
        case Reason.EXCLUDED:
            return f"{n} {is_} not to be used for it"


def _unfit_state(node: Node) -> Unfit | None:
    because = f": {node.why}" if node.why else ""
    if node.state is NodeState.DOWN:
        return Unfit(reason=Reason.DOWN, why=f"it is down{because}")
    if node.state is NodeState.LEFT:
        return Unfit(reason=Reason.LEFT, why=f"it left{because}")
    if node.availability is Availability.DRAINED:
        return Unfit(reason=Reason.DRAINED, why="it is drained")
    if node.held_off:
        return Unfit(reason=Reason.HELD_OFF, why=f"it is held off: it went down {node.downs} times in a row")
    return None


def _unfit_condition(node: Node, runtime: RuntimeKind) -> Unfit | None:
    for condition in node.conditions:
        if condition.name == "disk-full" or (condition.name == "engine-away" and runtime is RuntimeKind.DOCKER):
            name = "a full disk" if condition.name == "disk-full" else "no engine now"
            return Unfit(reason=Reason.CONDITION, why=f"it has {name}: {condition.why}", group=name)
    return None


def _platform(spec: ServiceSpec) -> tuple[str, str] | None:
    """OS and architecture of `linux/arm64/v8`, empty where any will do. A single word may be either."""
    parts = spec.container.platform.split("/")
    if not parts[0]:
        return None
    if len(parts) == 1:
        word = parts[0].casefold()
        return (word, "") if word in ("linux", "windows", "darwin", "freebsd") else ("", architecture(word))
    return parts[0].casefold(), architecture(parts[1])


def _cores(cpus: float) -> str:
    return f"{cpus:.3g}"


def _size(size_bytes: float) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes:.0f} bytes"


def _s(n: int) -> str:
    return "" if n == 1 else "s"
