"""Keeps on disk what an agent that starts again must know: its assignments and what it did to each replica.

Invariant: what can't be written now is gone by all the same and written as soon as it can be; a set counts as kept once it is on
the disk.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from rookery.model import ReplicaId

from rookery_agent.assignments import Held
from rookery_agent.record import Record

log = logging.getLogger("rookery.agent")

_AGAIN_S = 2.0
_GATHER_S = 0.2


class Disk(Protocol):
    """Where it is kept. Both raise OSError and leave what was there."""

    async def keep(self, held: Held) -> None: ...

    async def remember(self, records: Mapping[ReplicaId, Record]) -> None: ...


class Keeper:
    """`records` are the present ones; `kept` is told the generation of a set that got on the disk late. `trouble`: why some
    can't be written."""

    def __init__(self, disk: Disk, records: Callable[[], Mapping[ReplicaId, Record]], kept: Callable[[int], None]) -> None:
        self._disk = disk
        self._records = records
        self._kept = kept
        self._held: Held | None = None  # to be written
        self._held_trouble = ""
        self._records_due = False
        self._records_trouble = ""
        self._writing = asyncio.Lock()
        self._due = asyncio.Event()

    @property
    def trouble(self) -> str:
        return self._held_trouble or self._records_trouble

    async def keep(self, held: Held) -> bool:
        """Writes the set; true when it is on the disk."""
        self._held = held
        await self._write_held()
        self._due.set()
        return self._held is None

    def remember(self) -> None:
        """The records changed."""
        self._records_due = True
        self._due.set()

    async def run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self.write()
            if self.trouble:
                self._due.set()
            await asyncio.sleep(_AGAIN_S if self.trouble else _GATHER_S)

    async def write(self) -> None:
        """Writes what is due, if it can be."""
        late = self._held
        await self._write_held()
        if late is not None and self._held is None:
            self._kept(late.generation)
        if self._records_due:
            await self._write_records()

    async def _write_held(self) -> None:
        async with self._writing:
            held = self._held
            if held is None:
                return
            try:
                await self._disk.keep(held)
            except OSError as error:
                self._held_trouble = _told(self._held_trouble, f"the assignments can't be written: {error}")
            else:
                self._held_trouble = ""
                if self._held is held:
                    self._held = None

    async def _write_records(self) -> None:
        self._records_due = False
        try:
            await self._disk.remember(self._records())
        except OSError as error:
            self._records_due = True
            self._records_trouble = _told(self._records_trouble, f"the restart counts can't be written: {error}")
        else:
            self._records_trouble = ""


def _told(before: str, why: str) -> str:
    if why != before:
        log.warning("%s; it goes on without, and tries again", why)
    return why
