"""What a wait sees each time it looks: a line for each thing that is waited for, and whether it is over. Pure."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    DONE = "converged"
    FAILED = "failed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Line:
    """What is shown of one thing that is waited for: how far it is, and what it `waits` for; `outcome` None is: not yet.

    `culprit` is the id of the replica that made it fail, or keeps restarting.
    """

    subject: str
    text: str
    outcome: Outcome | None = None
    waits: str = ""
    culprit: str = ""

    @property
    def whole(self) -> str:
        return f"{self.text}  ({self.waits})" if self.waits else self.text


@dataclass(frozen=True, slots=True)
class Look:
    """One look at what is waited for; `outcome` None means that it goes on, with the next look within `again_s`.

    The time to wait counts anew with each other `stage`, of which each may take `stage_s` longer.
    """

    lines: Sequence[Line]
    outcome: Outcome | None = None
    again_s: float = 1.0
    stage: Hashable = None
    stage_s: float = 0.0
