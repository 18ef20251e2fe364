"""Keeps what replicas may reach up to date, and has the agents told when it changes.

Invariant: level-triggered. Any change of a service, a node or a proxy only says that it is to be made anew, soon and once for all
changes that come together.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

from rookery.model import NodeId, NodeState, Proxy, Reach, Revision, Service, ServiceSpec
from rookery.model.node import Node

from rookery_manager.planners.reach import part_of, reach_of
from rookery_manager.records import Record
from rookery_manager.state import State

SETTLE_S = 0.2
LOOK_S = 5.0  # how often it is looked whether proxies came or went: they are no records


ReachMark = tuple[int, frozenset[str]]  # which of the versions there were since the manager started, and of which apps


class Reaching:
    """`proxies` are those that are known now; `tell` is called after each change."""

    def __init__(self, state: State, proxies: Callable[[], tuple[Proxy, ...]], tell: Callable[[], None]) -> None:
        self._state = state
        self._proxies = proxies
        self._tell = tell
        self._reach = Reach()
        self._version = 0
        self._dirty = asyncio.Event()
        state.listen(self._on_record)
        self.refresh()

    def news(self, node_id: NodeId, told: ReachMark | None) -> tuple[ReachMark, Reach | None]:
        """What a node that was told so much is to be told: what its replicas may reach, None where nothing has changed."""
        apps = frozenset([replica.app for replica in self._state.replicas_on(node_id).values()])
        mark = (self._version, apps)
        return mark, part_of(self._reach, apps) if mark != told else None

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._dirty.wait()
            await asyncio.sleep(SETTLE_S)
            self._dirty.clear()
            self.refresh()

    def refresh(self) -> None:
        nodes = [node.info.address for node in self._state.nodes.values() if node.state is not NodeState.LEFT]
        made = reach_of(self._specs(), [*nodes, *(proxy.info.address for proxy in self._proxies())])
        if made != self._reach:
            self._reach = made
            self._version += 1
            self._tell()

    def _specs(self) -> Iterator[tuple[str, ServiceSpec]]:
        """Those that are wanted, and those that still serve while they are replaced."""
        for service in self._state.services.values():
            for spec in self._state.specs_in_use(service).values():
                yield service.app, spec

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case Service() | Revision():
                self._dirty.set()
            case Node() if not isinstance(after, Node) or (record.state, record.info) != (after.state, after.info):
                self._dirty.set()
            case _:
                return
