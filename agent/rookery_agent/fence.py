"""Which replicas must not run because the manager's lease ended: those that never run twice (`on_disconnect: stop`).

Invariant: what should have stopped stops, also where the lease is granted anew before anybody looked (an agent or a machine that
stood still): the manager may have started it elsewhere meanwhile.
"""

from collections.abc import Callable, Iterable

from rookery.model import Assignment, OnDisconnect, ReplicaId


def fenced(assignments: Iterable[Assignment]) -> frozenset[ReplicaId]:
    """The replicas that need a lease."""
    return frozenset(a.replica_id for a in assignments if a.spec.on_disconnect is OnDisconnect.STOP)


class Fence:
    """`silent` tells for how long there has been no lease."""

    def __init__(self, silent: Callable[[], float]) -> None:
        self._silent = silent
        self._lapsed: dict[ReplicaId, float] = {}  # how long there was none, of those that have yet to stop for it

    def silent_s(self, replica_id: ReplicaId) -> float:
        """What counts for this replica; 0 while it may run."""
        return max(self._silent(), self._lapsed.get(replica_id, 0.0))

    def overdue(self, assignments: Iterable[Assignment], silent_s: float | None = None) -> frozenset[ReplicaId]:
        """The replicas that must not run after so long a silence (None: the present one)."""
        silent_s = self._silent() if silent_s is None else silent_s
        if silent_s <= 0:
            return frozenset()
        return frozenset(
            a.replica_id
            for a in assignments
            if a.spec.on_disconnect is OnDisconnect.STOP and silent_s >= a.spec.on_disconnect_after_s
        )

    def lapse(self, assignments: Iterable[Assignment], silent_s: float) -> None:
        """There is a lease again, after so long a silence: what should have stopped in it has to before it may run again."""
        self._lapsed.update(dict.fromkeys(self.overdue(assignments, silent_s), silent_s))

    def stopped(self, replica_id: ReplicaId) -> bool:
        """Nothing of the replica runs; true where it had to stop for a silence that is over."""
        return self._lapsed.pop(replica_id, None) is not None
