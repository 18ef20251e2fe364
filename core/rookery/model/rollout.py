"""The move of a service from one revision to another: how it is to go, and how far it is."""

from dataclasses import dataclass
from enum import StrEnum

from rookery.model.ids import ServiceKey, service_key


class RolloutState(StrEnum):
    ROLLING = "rolling"
    DONE = "done"
    PAUSED = "paused"  # by hand, or because too many new replicas failed and the spec asks for a pause
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    OVERTAKEN = "overtaken"  # another one began before it was done


UNDER_WAY = frozenset({RolloutState.ROLLING, RolloutState.ROLLING_BACK})
"""The states that go on by themselves."""

OPEN = UNDER_WAY | {RolloutState.PAUSED}
"""The states that another one follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """Old replicas are replaced by new ones, a few at a time, as the update settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreen:
    """All new replicas get ready beside the old ones, which serve until then; all requests change over at once. The old ones
    are kept for `keep_s` longer, so that the way back is as short."""

    keep_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """The new revision gets a growing share of the requests: `steps` in percent, each for `interval_s` at least.

    A step is over when the new revision has answered `min_requests` in it, and answered no worse than the old one did at the
    same time. With a sticky cookie or header a client stays with the revision that answered it first, as far as shares allow.
    """

    steps: tuple[int, ...] = (5, 25, 50, 100)
    interval_s: float = 30.0
    min_requests: int = 50
    sticky_cookie: str = ""
    sticky_header: str = ""


Strategy = Rolling | BlueGreen | Canary


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The move of a service from revision `before` to `after`; the same one twice is a restart.

    `why` and `changed_at` are of the latest change of its state. Replicas created before `judged_from_at` are not held against
    it: it was resumed or turned round then. `paused_in` is the state that a paused one goes on in.

    Blue-green and canary: `share` percent of the requests go to `after`. Of the strategy's steps the one numbered `step`, from
    0, is being prepared while `step_at` is 0, and has been in force since then.
    """

    before: int
    after: int
    state: RolloutState = RolloutState.ROLLING
    started_at: float = 0.0
    changed_at: float = 0.0
    why: str = ""
    number: int = 0
    actor: str = ""
    judged_from_at: float = 0.0
    paused_in: RolloutState = RolloutState.ROLLING
    share: int = 0
    step: int = 0
    step_at: float = 0.0
    is_reverse: bool = False  # part of an app's return: it waits for the services that depend on this one

    @property
    def is_return(self) -> bool:
        """Whether it goes back to an earlier revision, which only an operator begins: what an apply rolls out is the newest."""
        return self.after < self.before

    @property
    def is_restart(self) -> bool:
        return self.after == self.before

    @property
    def judged_since(self) -> float:
        """Replicas created earlier are not held against it."""
        return max(self.started_at, self.judged_from_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRollout:
    """The record of a rollout that is over. Numbers count the rollouts of a service from 1."""

    app: str
    service: str
    number: int
    rollout: Rollout

    @property
    def key(self) -> ServiceKey:
        return service_key(self.app, self.service)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFigures:
    """What the proxies saw of a revision's replicas since a time. `errors` are answers of 5xx and requests that got none;
    `slow` are those that took longer than the bound that both sides of a comparison were given."""

    requests: int = 0
    errors: int = 0
    slow: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStatus:
    """A service's latest rollout and how far it is. `new` and `old` are compared by a canary: what was seen since the step began,
    answers slower than `slow_s` counted as slow. `waits_for` says what comes next, and what it waits for."""

    app: str
    service: str
    rollout: Rollout | None = None
    strategy: str = "rolling"
    steps: tuple[int, ...] = ()
    wanted: int = 0
    updated: int = 0
    ready: int = 0
    waits_for: str = ""
    new: RevisionFigures | None = None
    old: RevisionFigures | None = None
    slow_s: float = 0.0
    past: tuple[Rollout, ...] = ()
