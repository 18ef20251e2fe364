"""The store's records in memory, indexed the ways the planners ask for them.

Invariant: it is exactly what the store held at `revision`. It is written by `apply` alone; readers take what they need within one
turn of the event loop, so that what they see belongs together. Every look-up costs the size of its answer.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from rookery.model import App, Node, NodeId, Replica, ReplicaId, Revision, Service, ServiceKey
from rookery.model.ids import service_key

from rookery_manager.records import Record, key_of, parse
from rookery_manager.store import Change, Condition, Snapshot

Listener = Callable[[Record, Record | None], None]  # before or after, and after (None: deleted)


class State:
    def __init__(self) -> None:
        self.revision = 0
        self.apps: dict[str, App] = {}
        self.services: dict[ServiceKey, Service] = {}
        self.revisions: dict[ServiceKey, dict[int, Revision]] = {}
        self.replicas: dict[ReplicaId, Replica] = {}
        self.nodes: dict[NodeId, Node] = {}
        self._by_service: dict[ServiceKey, dict[ReplicaId, Replica]] = {}
        self._by_node: dict[NodeId, dict[ReplicaId, Replica]] = {}
        self._record_revisions: dict[str, int] = {}
        self._listeners: list[Listener] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    # ---- reading

    def replicas_of(self, key: ServiceKey) -> Mapping[ReplicaId, Replica]:
        return self._by_service.get(key, {})

    def replicas_on(self, node_id: NodeId) -> Mapping[ReplicaId, Replica]:
        return self._by_node.get(node_id, {})

    def revision_of(self, key: ServiceKey, number: int) -> Revision | None:
        return self.revisions.get(key, {}).get(number)

    def condition(self, record_key: str) -> Condition:
        """The condition that the record has not changed since now."""
        return Condition(key=record_key, revision=self._record_revisions.get(record_key, 0))

    def conditions(self, records: Iterable[Record]) -> tuple[Condition, ...]:
        return tuple(self.condition(key_of(record)) for record in records)

    async def reach(self, revision: int) -> None:
        """Returns when the state holds this revision of the store: a writer sees its own writes."""
        if self.revision >= revision:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, reached))
        await reached

    # ---- writing

    def listen(self, listener: Listener) -> None:
        """Calls `listener(before or after, after or None)` for each record that changes, in order."""
        self._listeners.append(listener)

    def load(self, snapshot: Snapshot) -> None:
        for entry in snapshot.entries.values():
            self._set(entry.key, entry.value, entry.revision)
        self.revision = snapshot.revision

    def apply(self, changes: tuple[Change, ...]) -> None:
        """Takes over the changes of one revision."""
        for change in changes:
            self._set(change.key, change.value, change.revision)
        if changes:
            self.advance(changes[0].revision)

    def advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        still = []
        for wanted, reached in self._waiting:
            if wanted > self.revision:
                still.append((wanted, reached))
            elif not reached.done():
                reached.set_result(None)
        self._waiting = still

    def _set(self, record_key: str, value: bytes | None, revision: int) -> None:
        before = self._take(record_key)
        if value is None:
            self._record_revisions.pop(record_key, None)
            after = None
        else:
            self._record_revisions[record_key] = revision
            after = parse(record_key, value)
            if after is not None:
                self._add(after)
        told = before if before is not None else after
        if told is not None:
            for listener in self._listeners:
                listener(told, after)

    def _add(self, record: Record) -> None:
        match record:
            case App():
                self.apps[record.name] = record
            case Service():
                self.services[record.key] = record
            case Revision():
                self.revisions.setdefault(service_key(record.app, record.service), {})[record.number] = record
            case Replica():
                self.replicas[record.id] = record
                self._by_service.setdefault(record.key, {})[record.id] = record
                if record.node_id:
                    self._by_node.setdefault(record.node_id, {})[record.id] = record
            case Node():
                self.nodes[record.id] = record

    def _take(self, record_key: str) -> Record | None:
        """Removes and returns what lies under the key."""
        kind, _, rest = record_key.partition("/")
        match kind:
            case "apps":
                return self.apps.pop(rest, None)
            case "services":
                return self.services.pop(ServiceKey(rest), None)
            case "nodes":
                return self.nodes.pop(NodeId(rest), None)
            case "revisions":
                key, _, number = rest.rpartition("/")
                return self.revisions.get(ServiceKey(key), {}).pop(int(number), None)
            case "replicas":
                replica = self.replicas.pop(ReplicaId(rest.rpartition("/")[2]), None)
                if replica is not None:
                    self._by_service[replica.key].pop(replica.id, None)
                    if replica.node_id:
                        self._by_node[replica.node_id].pop(replica.id, None)
                return replica
        return None
