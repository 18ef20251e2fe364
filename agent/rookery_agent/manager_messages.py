"""What a manager says, read and checked before anything is done by it.

Invariant: what these functions return is finite, of a bounded size, for this node, and safe to be used as a name.
"""

import math
import re
from collections.abc import Iterable, Sequence

from rookery.model import Assignment, CommandProbe, HttpProbe, ImageProbe, Reach, ReplicaId, TcpProbe
from rookery.refusals import Refused
from rookery.v1 import dispatch_pb2, types_pb2
from rookery.wire import decode

MOST_ASSIGNMENTS = 20_000
MOST_MACHINES = 50_000
MOST_OPENINGS = 200_000
LONGEST_S = 86_400.0  # between two heartbeats, and of a lease

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}")


def read_interval(value: float, default: float) -> float:
    """Seconds of a heartbeat or a lease; 0 is the default. Raises Refused."""
    if not 0 <= value <= LONGEST_S:  # which NaN is not, either
        raise Refused("senseless", f"the manager's heartbeats or leases take {value} s")
    return value or default


def read_set(message: dispatch_pb2.AssignmentSet, node_id: str) -> tuple[Assignment, ...]:
    """Raises WireError or Refused."""
    return _read(message.assignments, message.node_id, node_id)


def read_delta(message: dispatch_pb2.AssignmentDelta, node_id: str) -> tuple[tuple[Assignment, ...], tuple[ReplicaId, ...]]:
    """What it puts and removes. Raises WireError or Refused."""
    if len(message.removes) > MOST_ASSIGNMENTS:
        raise Refused("too-large", f"the manager removes {len(message.removes)} assignments at once")
    return _read(message.puts, message.node_id, node_id), tuple([ReplicaId(r) for r in message.removes])


def read_reach(message: types_pb2.Reach) -> Reach:
    """What replicas may reach. Raises WireError or Refused."""
    if len(message.machines) > MOST_MACHINES or sum(len(opening.ports) for opening in message.openings) > MOST_OPENINGS:
        raise Refused("too-large", f"the manager tells of {len(message.machines)} machines, or of as many open ports")
    reach = decode(Reach, message)
    if not all(1 <= port.port <= 65535 for opening in reach.openings for port in opening.ports):
        raise Refused("senseless", "the manager opens a port that is none")
    return reach


def _read(messages: Sequence[types_pb2.Assignment], whose: str, node_id: str) -> tuple[Assignment, ...]:
    if whose and whose != node_id:
        raise Refused("another-nodes", f"the manager sent the assignments of node {whose}, and this is {node_id}")
    if len(messages) > MOST_ASSIGNMENTS:
        raise Refused("too-large", f"the manager sent {len(messages)} assignments at once")
    assignments = tuple([decode(Assignment, message) for message in messages])
    for assignment in assignments:
        _check(assignment)
    return assignments


def _check(a: Assignment) -> None:
    for what, name in (("replica", a.replica_id), ("app", a.app), ("service", a.service)):
        if not _NAME.fullmatch(name):
            raise Refused("senseless", f"the manager sent an assignment whose {what} is named {name[:100]!r}")
    if not all(math.isfinite(time_s) and time_s >= 0 for time_s in _times(a)):
        raise Refused("senseless", f"the manager sent {a.name} with a time that is not finite or less than 0")


def _times(a: Assignment) -> Iterable[float]:
    """All times of an assignment that the agent waits for, in seconds."""
    yield from (a.spec.container.stop_grace_period_s, a.spec.on_disconnect_after_s)
    yield from (a.spec.restart.delay_s or 0.0, a.spec.restart.window_s or 0.0)
    if isinstance(a.spec.probe, CommandProbe | HttpProbe | TcpProbe | ImageProbe):
        timing = a.spec.probe.timing
        yield from (timing.interval_s, timing.timeout_s, timing.start_period_s, timing.start_interval_s)
