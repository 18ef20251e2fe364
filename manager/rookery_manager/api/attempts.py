"""What people tried and were refused, in the store's history beside what they did.

Invariant: a person who tries without end writes no more than once a `PAUSE_S`; what is left out is counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from rookery_manager.store import Commit, Put, Store

PAUSE_S = 1.0


@dataclass(slots=True)
class Attempts:
    store: Store
    clock: Callable[[], float]
    _noted: dict[str, tuple[float, int]] = field(default_factory=dict)  # when last, and how many since

    async def note(self, person: str, actor: str, why: str) -> None:
        """Raises StoreError where it can't be written."""
        now = self.clock()
        at, left_out = self._noted.get(person, (-PAUSE_S, 0))
        if now < at + PAUSE_S:
            self._noted[person] = at, left_out + 1
            return
        self._noted[person] = now, 0
        more = f" ({left_out} more before that)" if left_out else ""
        said = Put(key=f"attempts/{person}", value=b"", why=f"refused: {why}{more}")
        await self.store.commit(Commit(writes=[said], actor=actor, at=now))
