"""The certificate authority as people see it, and the chain of hashes over the history."""

from dataclasses import dataclass

from rookery.model.identity import PartKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """An agent, a proxy or a person while the authority is replaced: `moved` where it was seen with a certificate of the new one.
    By `ends_at` its certificate of the old one has ended. `name` is what people call it, where that is not its id."""

    kind: PartKind
    id: str
    name: str = ""
    moved: bool = False
    ends_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityStatus:
    """`old_digest` is empty, and nobody in `movers`, where none is being replaced. Digests are those of join tokens."""

    digest: str
    made_at: float = 0.0
    ends_at: float = 0.0
    old_digest: str = ""
    began_at: float = 0.0
    done_by: float = 0.0
    movers: tuple[Mover, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """`checked` revisions after `from_revision` are what their hashes say, up to `head_revision`; `fault` is empty, or what is
    wrong with `broken_revision` (0: with the head that was expected)."""

    from_revision: int = 0
    head_revision: int = 0
    head_hash: str = ""
    checked: int = 0
    broken_revision: int = 0
    fault: str = ""
