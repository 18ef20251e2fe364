"""What a manager begins with: its store, checked, and what is in it. One that it can't use is refused, with the way out."""

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rookery import VERSION
from rookery.model import Seal
from rookery.process import Stop
from rookery.wire import from_bytes

from rookery_manager.alive import AliveMark, started
from rookery_manager.backups import Kept, kept_in
from rookery_manager.clock import Clock, steady_clock
from rookery_manager.records import SEAL_KEY, Unreadable
from rookery_manager.sealing.first import first_seal
from rookery_manager.sealing.key_file import NoKey
from rookery_manager.sealing.keyring import Keyring, open_keyring
from rookery_manager.state import State
from rookery_manager.store import Commit, Condition, Conflict, Damaged, Put, Store, StoreError
from rookery_manager.store.sqlite import SqliteStore

log = logging.getLogger("rookery.manager")

STORE = "store.db"
SNAPSHOTS = "snapshots"
KEY_FILE = "secrets.key"
CLOCK_BACK_S = 5.0  # what a clock may be set back between two managers without a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """`state` is all that the store held before the start was told; `alive` is to be kept up."""

    clock: Clock
    cluster_id: str
    state: State
    alive: AliveMark


async def open_store(directory: Path, key_file: Path) -> Store:
    """Raises Stop where it can't be opened, or must not be. What was in plain text in it is encrypted first."""
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True, mode=0o700)
        return await SqliteStore.open(directory / STORE, prepare=partial(first_seal, key_file=key_file))
    except OSError as error:
        raise Stop(f"can't keep the manager's data in {directory}: {error.strerror}; name another place with --data") from error
    except Damaged as error:
        raise _refusal(directory, error) from error
    except (StoreError, NoKey) as error:
        raise Stop(str(error)) from error


async def begin(store: Store, directory: Path) -> Beginning:
    """Raises Stop where some of the store can't be read: to go on without it would stop what it asks for."""
    state = State()
    try:
        clock = await _make_clock(store)
        made = await _cluster_id(store, clock)
        state.load(await store.snapshot())
        alive = AliveMark(directory / "alive")
        await _tell_start(store, clock, alive)
    except Damaged as error:
        raise _refusal(directory, error) from error
    except StoreError as error:
        raise Stop(str(error)) from error
    except Unreadable as error:
        records = "a record" if len(error.faults) == 1 else f"{len(error.faults)} records"
        what = f"{records} can't be read, or a later version wrote them: {error}"
        raise _refusal(directory, Damaged(directory / STORE, what)) from error
    return Beginning(clock=clock, cluster_id=made, state=state, alive=alive)


async def begin_keyring(store: Store, key_file: Path) -> Keyring:
    """Of a store that `open_store` opened: it has its Seal."""
    entry = (await store.snapshot(SEAL_KEY)).entries[SEAL_KEY]
    return await asyncio.to_thread(open_keyring, from_bytes(Seal, entry.value), key_file)


def _refusal(directory: Path, damaged: Damaged) -> Stop:
    newest = next(iter(kept_in(directory / SNAPSHOTS)), None)
    return Stop(f"{damaged}; {_way_out(directory, newest, time.time())}")


def _way_out(directory: Path, newest: Kept | None, now: float) -> str:
    if newest is not None:
        return f"the newest snapshot is {newest.path}, of revision {newest.revision}, made {age(now - newest.at)} ago"
    return (
        f"there is no snapshot in {directory / SNAPSHOTS}. Without a backup, move {STORE} away to begin anew "
        "(nodes join again by themselves, and stop what ran; what was deployed must be deployed again)"
    )


def age(seconds: float) -> str:
    """A time as people say it: `40 s`, `12 min`, `3 h`, `5 days`."""
    for limit_s, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit_s:
            return f"{max(0, seconds) / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


async def _make_clock(store: Store) -> Clock:
    """The time, which never lies before what is recorded."""
    latest = max((change.at for change in await store.history(limit=1)), default=0.0)
    clock = steady_clock(not_before=latest)
    behind = latest - time.time()
    if behind > CLOCK_BACK_S:
        log.warning(
            "this machine's clock is %.0f s behind the latest record: time goes on from there; is the clock right?", behind
        )
    return clock


async def _cluster_id(store: Store, clock: Clock) -> str:
    """The cluster's id, made at the first start."""
    made = Put(key="cluster", value=secrets.token_hex(4).encode(), why="the cluster was made")
    try:
        await store.commit(
            Commit(writes=(made,), conditions=(Condition(key="cluster", revision=0),), actor="manager", at=clock())
        )
    except Conflict:
        log.debug("the cluster has its id already")
    return (await store.snapshot("cluster")).entries["cluster"].value.decode()


async def _tell_start(store: Store, clock: Clock, alive: AliveMark) -> None:
    now = clock()
    why = started(await asyncio.to_thread(alive.away_s, now))
    await store.commit(Commit(writes=(Put(key="manager", value=VERSION.encode(), why=why),), actor="manager", at=now))
