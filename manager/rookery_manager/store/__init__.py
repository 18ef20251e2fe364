"""One ordered, revisioned key space with history: the only thing of a manager that survives it.

Every commit makes one new revision (1, 2, 3 …) that holds all its writes or none. A write carries the reason why it was made; a
commit carries who made it and when. An acknowledged commit survives `kill -9`.
"""

from rookery_manager.store.errors import Damaged
from rookery_manager.store.memory import MemoryStore
from rookery_manager.store.protocol import (
    KEEP_S,
    Chain,
    Change,
    Commit,
    Compacted,
    Condition,
    Conflict,
    Delete,
    Entry,
    Link,
    Put,
    Snapshot,
    Store,
    StoreError,
    Write,
)
from rookery_manager.store.sqlite import SqliteStore

__all__ = [
    "KEEP_S", "Chain", "Change", "Commit", "Compacted", "Condition", "Conflict", "Damaged", "Delete", "Entry", "Link",
    "MemoryStore", "Put", "Snapshot", "SqliteStore", "Store", "StoreError", "Write",
]  # fmt: skip
