"""Random histories: whatever is done to an engine, it answers as a plain dict and a plain list would."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from rookery_manager.store import Change, Commit, Condition, Conflict, Delete, MemoryStore, Put, SqliteStore, Store, Write

T = TypeVar("T")

KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "b/é", "c\U0010ffff"])
PREFIXES = st.sampled_from(["", "a", "a/", "b", "c", "x"])
WRITES = st.lists(
    st.one_of(
        st.builds(Put, key=KEYS, value=st.binary(max_size=8), why=st.text("ab \x00é", max_size=5)),
        st.builds(Delete, key=KEYS, why=st.just("gone")),
    ),
    max_size=5,
)


class Machine(RuleBasedStateMachine):
    engine: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.store = self.run(self.open())
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.changes: list[Change] = []
        self.revision = 0

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(60):
                return await what

        return self.runner.run(bounded())

    async def open(self) -> Store:
        return MemoryStore() if self.engine == "memory" else await SqliteStore.open(Path(self.directory.name) / "store.db")

    @rule(writes=WRITES, held=st.lists(KEYS, max_size=2), stale=st.none() | KEYS, at=st.floats(0, 1000))
    def commit(self, writes: list[Write], held: list[str], stale: str | None, at: float) -> None:
        conditions = [Condition(key=key, revision=self.entries.get(key, (b"", 0))[1]) for key in held]
        if stale is not None:
            conditions.append(Condition(key=stale, revision=self.entries.get(stale, (b"", 0))[1] + 1))
        commit = Commit(writes=writes, conditions=conditions, actor="me", at=at)
        if stale is not None:
            with pytest.raises(Conflict):
                self.run(self.store.commit(commit))
            return
        self.revision += 1
        assert self.run(self.store.commit(commit)) == self.revision
        for write in writes:
            value = write.value if isinstance(write, Put) else None
            if value is None and self.entries.pop(write.key, None) is None:
                continue
            if value is not None:
                self.entries[write.key] = value, self.revision
            self.changes.append(Change(revision=self.revision, at=at, actor="me", key=write.key, value=value, why=write.why))

    @rule()
    def reopen(self) -> None:
        if self.engine != "memory":
            self.run(self.store.close())
            self.store = self.run(self.open())

    @rule(prefix=PREFIXES, back=st.integers(0, 10), limit=st.integers(0, 10))
    def history(self, prefix: str, back: int, limit: int) -> None:
        after = max(0, self.revision - back)
        wanted = [change for change in self.changes if change.revision > after and change.key.startswith(prefix)]
        assert list(self.run(self.store.history(prefix, after=after, limit=limit))) == (wanted[-limit:] if limit else [])

    @rule(prefix=PREFIXES, back=st.integers(0, 10))
    def watch(self, prefix: str, back: int) -> None:
        after = max(0, self.revision - back)
        wanted = [change for change in self.changes if change.revision > after and change.key.startswith(prefix)]

        async def seen() -> list[Change]:
            found: list[Change] = []
            watch = self.store.watch(after=after, prefix=prefix)
            while len(found) < len(wanted):
                changes = await anext(watch)
                assert len({change.revision for change in changes}) == 1
                found += changes
            await watch.aclose()  # type: ignore[attr-defined]
            return found

        assert self.run(seen()) == wanted

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        for prefix in ("", "a/"):
            snapshot = self.run(self.store.snapshot(prefix))
            wanted = {key: held for key, held in sorted(self.entries.items()) if key.startswith(prefix)}
            assert snapshot.revision == self.revision
            assert {key: (entry.value, entry.revision) for key, entry in snapshot.entries.items()} == wanted
            assert list(snapshot.entries) == list(wanted)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        self.directory.cleanup()


class MemoryMachine(Machine):
    engine = "memory"


class SqliteMachine(Machine):
    engine = "sqlite"


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
