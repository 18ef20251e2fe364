"""What an agent remembers of a replica beyond its assignment and its instance; it outlives the agent.

Invariant: `state` only goes forward.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from rookery.model import ReplicaId, ReplicaState
from rookery.model.replica import ENDED

_ORDER = {state: i for i, state in enumerate(ReplicaState)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`attempts` counts restarts since the last quiet period, `failures` calls to the runtime that failed in a row.

    `counted_run` is the run of the instance whose end was dealt with, `ready_run` the one that was found healthy,
    `condemned` why the agent itself ends the present run, `held` that it did so because the manager is silent.
    """

    replica_id: ReplicaId
    state: ReplicaState = ReplicaState.ASSIGNED
    why: str = ""
    prepared: bool = False
    container_id: str = ""
    restarts: int = 0
    attempts: int = 0
    failures: int = 0
    retry_at: float = 0.0
    exit_code: int | None = None
    counted_run: str = ""
    ready_run: str = ""
    condemned: str = ""
    held: bool = False

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def at(self, state: ReplicaState, why: str) -> "Record":
        """The record after a move to `state`; where the replica is further already, it stays there with the new `why`."""
        if self.ended:
            return self
        further = state if _ORDER[state] > _ORDER[self.state] else self.state
        return replace(self, state=further, why=why)


def dump(records: Mapping[ReplicaId, Record]) -> bytes:
    return json.dumps([asdict(record) for record in records.values()], separators=(",", ":")).encode()


def load(data: bytes) -> "dict[ReplicaId, Record]":
    """The records in `data`. Raises ValueError where it is not what `dump` made."""
    try:
        made = [Record(**{**item, "state": ReplicaState(item["state"])}) for item in json.loads(data)]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a list of records: {error}") from error
    return {record.replica_id: record for record in made}
