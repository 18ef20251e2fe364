"""A store that is older than what its nodes have seen: its revisions go on above theirs.

It happens where a copy was put in place by hand, where commits went with a disk, and where a new store was begun for old nodes.
Agents refuse a generation below the one they hold, so without this they would refuse every order for ever.
"""

import logging

from rookery_manager.clock import Clock
from rookery_manager.state import State
from rookery_manager.store import Commit, Put, Store, StoreError

log = logging.getLogger("rookery.manager")

APART = 1_000_000  # revisions above the one told: others may have seen later ones
MOST = 1 << 53  # no store comes this far; a node that says so is not believed


async def rise_above(told: int, node: str, *, store: Store, state: State, clock: Clock) -> None:
    """Returns when the store's revision is above one that a node was told by an earlier manager."""
    if told <= state.revision:
        return
    if told > MOST:
        log.error("node %s says that it was told generation %d, which can't be", node, told)
        return
    log.warning(
        "node %s was told generation %d, and the store is at revision %d: it is an older copy of that, or a new one. "
        "Revisions go on from %d. If commits are missing, restore the latest backup: rookery admin restore",
        node, told, state.revision, told + APART,
    )  # fmt: skip
    entry = (await store.snapshot("cluster")).entries.get("cluster")
    why = f"the store is older than generation {told}, which node {node} was told"
    writes = [Put(key=entry.key, value=entry.value, why=why)] if entry is not None else []
    try:
        revision = await store.commit(Commit(writes=writes, actor="manager", at=clock(), at_least=told + APART))
    except StoreError as error:
        log.error("revisions could not be raised; it is tried again when the node connects again: %s", error)
        return
    if writes:
        await state.reach(revision)
