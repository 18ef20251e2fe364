"""The Store protocol: eight verbs, and the values they deal in. No code above it asks which engine it is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

KEEP_S = 72 * 3600.0  # how long history is kept, unless told otherwise


class StoreError(Exception):
    """The store can't do it: a full disk, a damaged file. The message names the place and the way out."""


class Conflict(StoreError):
    """A condition of a commit did not hold; nothing was written. `key` had changed, at revision `actual` (0: it is absent)."""

    def __init__(self, key: str, expected: int, actual: int) -> None:
        super().__init__(f"{key} is at revision {actual}, not {expected}")
        self.key = key
        self.actual = actual


class Compacted(StoreError):
    """The revisions asked for are not, or no longer, kept; begin again with a snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    key: str
    value: bytes
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Of a key that is absent: does nothing."""

    key: str
    why: str = ""


Write = Put | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`key` was last written at `revision`; 0: it is absent."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Writes that happen together or not at all. `at` is seconds since the epoch.

    `at_least` is for a store that took the place of another: its revision, and so all after it, is not below that.
    """

    writes: Sequence[Write]
    conditions: Sequence[Condition] = ()
    actor: str
    at: float
    at_least: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`revision` is that of the latest write to the key."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All entries under a prefix as they were at one revision."""

    revision: int
    entries: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write as history keeps it; a `value` of None is a delete."""

    revision: int
    at: float
    actor: str
    key: str
    value: bytes | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One revision as history keeps it, with its hash (`rookery_manager.store.chain`)."""

    revision: int
    at: float
    actor: str
    hash: bytes
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Some links, oldest first. The chain begins after the anchor, whose hash the first link covers; it moves as history is
    dropped."""

    anchor_revision: int
    anchor_hash: bytes
    links: tuple[Link, ...] = ()


class Store(Protocol):
    """Current values stay for ever, history for a time that the engine is told; the times of the commits are its clock."""

    async def snapshot(self, prefix: str = "") -> Snapshot:
        """Everything under the prefix, at one revision."""

    async def commit(self, commit: Commit) -> int:
        """The new revision, durable when this returns. Raises Conflict where a condition does not hold, StoreError where it can't
        be written; either way nothing was."""

    def watch(self, *, after: int, prefix: str = "") -> AsyncIterator[tuple[Change, ...]]:
        """The changes of every revision after `after`, in order, one tuple a revision (those without a change under the prefix
        are left out); then waits for more. Raises Compacted where they are no longer kept. Ends when the store is closed, whether
        or not it has told all."""

    async def history(self, prefix: str = "", *, after: int = 0, limit: int = 100) -> tuple[Change, ...]:
        """The newest `limit` changes under the prefix with a revision above `after`, oldest first. Raises Compacted where some
        after that revision are no longer kept; with an `after` of 0 it tells what is kept."""

    async def chain(self, after: int, limit: int) -> Chain:
        """The first `limit` links after a revision, and not before the anchor."""

    async def lease(self, name: str, holder: str, *, ttl_s: float, now: float) -> bool:
        """True where `holder` now has the named lease (taken, or renewed) until `now + ttl_s`; False where someone else does."""

    async def backup(self, target: Path) -> None:
        """Writes all that it holds at one moment into a new file, from which `rookery admin restore` makes a store; commits go on
        meanwhile. Raises StoreError, and leaves no file, where it can't."""

    async def close(self) -> None:
        """Ends the watches, lets the commits under way finish; every other verb raises StoreError from then on."""
