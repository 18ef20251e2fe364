"""One change of the store, with its reason."""

from dataclasses import dataclass

HELD_OFF = "held-off"
"""The condition of a node that is back, but is given no work yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`kind` is app, service, revision, replica, node, manager, person, token, revocation or attempt (what a person was refused);
    `subject` its name (`shop/web.3`), `id` its id if it has one. `actor` is a person and from where (`ana@10.0.0.7`), or manager.

    The rest is how its subject was after it, so that nobody needs to read `why` for that: `state` of a replica (`ready` where it
    is) or node, of a service that of its rollout (`removing` where it goes); `node` and `restarts` of a replica; `conditions` of
    a node.
    """

    revision: int
    at: float
    actor: str
    kind: str
    subject: str
    why: str
    id: str = ""
    state: str = ""
    node: str = ""
    restarts: int = 0
    conditions: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        """The first word of a replica's `why`, which says what was done or seen: create, assign, lose, restarting."""
        return self.why.partition(" ")[0].rstrip(":,")

    @property
    def reason(self) -> str:
        """`why` without what was done or seen."""
        said, colon, reason = self.why.partition(": ")
        return reason if colon else said
