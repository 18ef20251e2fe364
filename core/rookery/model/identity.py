"""Who takes part in a cluster, and what each may do."""

from dataclasses import dataclass
from enum import StrEnum


class PartKind(StrEnum):
    AGENT = "agent"
    PROXY = "proxy"
    PERSON = "person"


class Role(StrEnum):
    """In rising order: each may do what the one before may, and more."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, other: "Role") -> bool:
        ladder = tuple(Role)
        return ladder.index(self) >= ladder.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """`apps` are those that the role is for; empty: all. Certificates from before `created_at` are void."""

    name: str
    role: Role
    apps: tuple[str, ...] = ()
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """`digest` is the sha256 of the secret, which itself is kept nowhere. `expires_at` 0: never. `uses_left` -1: any number."""

    id: str
    kind: PartKind
    person: str = ""
    digest: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    uses_left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Certificates of this part from before `at` are void; by `until` they have all ended."""

    kind: PartKind
    id: str
    at: float
    until: float
