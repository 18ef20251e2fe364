"""The memory engine: for tests, and the measure of what every engine must do."""

import asyncio
from collections.abc import AsyncIterator

from rookery_manager.store.protocol import Change, Commit, Conflict, Entry, Put, Snapshot


class MemoryStore:
    """Keeps all history. Everything is lost with the process."""

    def __init__(self) -> None:
        self._revision = 0
        self._entries: dict[str, Entry] = {}
        self._changes: list[tuple[Change, ...]] = []  # the changes of revision n at index n - 1
        self._leases: dict[str, tuple[str, float]] = {}
        self._grown = asyncio.Condition()
        self._closed = False

    async def snapshot(self, prefix: str = "") -> Snapshot:
        entries = {key: self._entries[key] for key in sorted(self._entries) if key.startswith(prefix)}
        return Snapshot(revision=self._revision, entries=entries)

    async def commit(self, commit: Commit) -> int:
        for condition in commit.conditions:
            entry = self._entries.get(condition.key)
            actual = entry.revision if entry else 0
            if actual != condition.revision:
                raise Conflict(condition.key, condition.revision, actual)
        revision = self._revision + 1
        changes = []
        for write in commit.writes:
            value = write.value if isinstance(write, Put) else None
            if value is None:
                if self._entries.pop(write.key, None) is None:
                    continue
            else:
                self._entries[write.key] = Entry(key=write.key, value=value, revision=revision)
            changes.append(Change(revision=revision, at=commit.at, actor=commit.actor, key=write.key, value=value, why=write.why))
        self._revision = revision
        self._changes.append(tuple(changes))
        async with self._grown:
            self._grown.notify_all()
        return revision

    async def watch(self, *, after: int, prefix: str = "") -> AsyncIterator[tuple[Change, ...]]:
        while True:
            while after < self._revision:
                changes = tuple(change for change in self._changes[after] if change.key.startswith(prefix))
                after += 1
                if changes:
                    yield changes
            if self._closed:
                return
            async with self._grown:
                while not self._closed and self._revision <= after:
                    await self._grown.wait()

    async def history(self, prefix: str = "", *, after: int = 0, limit: int = 100) -> tuple[Change, ...]:
        found = [change for changes in self._changes[after:] for change in changes if change.key.startswith(prefix)]
        return tuple(found[-limit:])

    async def lease(self, name: str, holder: str, *, ttl_s: float, now: float) -> bool:
        current, until = self._leases.get(name, (holder, 0.0))
        if current != holder and until > now:
            return False
        self._leases[name] = (holder, now + ttl_s)
        return True

    async def close(self) -> None:
        self._closed = True
        async with self._grown:
            self._grown.notify_all()
