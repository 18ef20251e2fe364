"""What a node is to run: its assignments, and what changed in them."""

from collections.abc import Iterable, Mapping

from rookery.model import Assignment, Desired, FileContent, Replica, ReplicaId, ReplicaState, ServiceSpec


def assignment_of(replica: Replica, spec: ServiceSpec, files: tuple[FileContent, ...] = ()) -> Assignment:
    stops = replica.state is ReplicaState.STOPPING
    return Assignment(
        replica_id=replica.id,
        app=replica.app,
        service=replica.service,
        slot=replica.slot,
        revision=replica.revision,
        spec=spec,
        desired=Desired.STOP if stops else Desired.PREPARE if replica.desired is Desired.PREPARE else Desired.RUN,
        why=replica.why if stops else "",
        files=() if stops else files,
    )


def is_assigned(replica: Replica) -> bool:
    """True where its node is to know of it: also when it ended by itself, so that what it wrote can still be read there."""
    if not replica.node_id or replica.state is ReplicaState.PENDING:
        return False
    return not replica.ended or replica.ended_by_itself


Marks = Mapping[ReplicaId, tuple[int, bool, bool]]
"""Per assigned replica, all that can change of its assignment: the revision, whether it is to stop, or only to be prepared."""

NEVER = (-1, False, False)
"""The mark of an assignment that is to be put again."""


def marks(replicas: Iterable[Replica]) -> Marks:
    return {
        r.id: (r.revision, r.state is ReplicaState.STOPPING, r.desired is Desired.PREPARE) for r in replicas if is_assigned(r)
    }


def difference(held: Marks, wanted: Marks) -> tuple[tuple[ReplicaId, ...], tuple[ReplicaId, ...]]:
    """The replicas whose assignments are to be put, and those to be removed."""
    puts = tuple(replica_id for replica_id, mark in wanted.items() if held.get(replica_id) != mark)
    return puts, tuple(replica_id for replica_id in held if replica_id not in wanted)
