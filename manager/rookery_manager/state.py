"""The store's records in memory, indexed the ways the planners ask for them.

Invariant: it is exactly what the store held at `revision`. It is written by `apply` alone; readers take what they need within one
turn of the event loop, so that what they see belongs together. Every look-up costs the size of its answer.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from rookery.model import (
    AcmeAccount,
    App,
    AppRevision,
    FileKind,
    JoinToken,
    ManagedCertificate,
    Node,
    NodeId,
    PartKind,
    PastRollout,
    Person,
    Pool,
    Replica,
    ReplicaId,
    Revision,
    Revocation,
    Rollout,
    Service,
    ServiceKey,
    ServiceSpec,
    StoredFile,
)
from rookery.model.ids import service_key

from rookery_manager.records import Record, Unreadable, account_key, checked, key_of, parse
from rookery_manager.store import Change, Condition, Snapshot

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Listener = Callable[[Record, Record | None], None]  # before or after, and after (None: deleted)


class State:
    def __init__(self) -> None:
        self.revision = 0
        self.apps: dict[str, App] = {}
        self.app_revisions: dict[str, dict[int, AppRevision]] = {}
        self.services: dict[ServiceKey, Service] = {}
        self.revisions: dict[ServiceKey, dict[int, Revision]] = {}
        self.rollouts: dict[ServiceKey, dict[int, Rollout]] = {}  # those that are over
        self.replicas: dict[ReplicaId, Replica] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.people: dict[str, Person] = {}
        self.tokens: dict[str, JoinToken] = {}
        self.revocations: dict[tuple[PartKind, str], Revocation] = {}
        self.pools: dict[str, Pool] = {}
        self.certificates: dict[str, ManagedCertificate] = {}  # by host
        self.accounts: dict[str, AcmeAccount] = {}  # by the last part of their keys
        self.files: dict[tuple[str, FileKind, str], StoredFile] = {}  # by app, kind and name
        self._by_service: dict[ServiceKey, dict[ReplicaId, Replica]] = {}
        self._by_node: dict[NodeId, dict[ReplicaId, Replica]] = {}
        self._by_slot: dict[tuple[ServiceKey, int], dict[ReplicaId, Replica]] = {}
        self._record_revisions: dict[str, int] = {}
        self._listeners: list[Listener] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    # ---- reading

    def replicas_of(self, key: ServiceKey) -> Mapping[ReplicaId, Replica]:
        return self._by_service.get(key, {})

    def replicas_on(self, node_id: NodeId) -> Mapping[ReplicaId, Replica]:
        return self._by_node.get(node_id, {})

    def replicas_in(self, key: ServiceKey, slot: int) -> Mapping[ReplicaId, Replica]:
        return self._by_slot.get((key, slot), {})

    def revision_of(self, key: ServiceKey, number: int) -> Revision | None:
        return self.revisions.get(key, {}).get(number)

    def specs_in_use(self, service: Service) -> dict[int, ServiceSpec]:
        """By revision: what is wanted, what every replica is of, and where the latest rollout came from and went."""
        rollout = service.rollout
        numbers = {replica.revision for replica in self.replicas_of(service.key).values()} | {service.revision}
        numbers |= {rollout.before, rollout.after} if rollout is not None else set()
        known = self.revisions.get(service.key, {})
        return {number: known[number].spec for number in numbers if number in known}

    def account_at(self, directory: str) -> AcmeAccount | None:
        """The account at the certificate authority with that directory."""
        return self.accounts.get(account_key(directory).rpartition("/")[2])

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
        """Takes over all entries of a store. Raises Unreadable, once for all of them, where some are no records."""
        faults = []
        for entry in snapshot.entries.values():
            try:
                record = checked(entry.key, entry.value)
            except ValueError as error:
                faults.append(f"{entry.key}: {error}")
            else:
                self._set(entry.key, record, entry.revision)
        if faults:
            raise Unreadable(faults)
        self.revision = snapshot.revision

    def apply(self, changes: tuple[Change, ...]) -> None:
        """Takes over the changes of one revision."""
        for change in changes:
            record = parse(change.key, change.value) if change.value is not None else None
            self._set(change.key, record, change.revision if change.value is not None else 0)
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

    def _set(self, record_key: str, after: Record | None, revision: int) -> None:
        """What lies under the key since that revision; 0: nothing does."""
        before = self._take(record_key)
        if revision:
            self._record_revisions[record_key] = revision
        else:
            self._record_revisions.pop(record_key, None)
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
            case AppRevision():
                self.app_revisions.setdefault(record.app, {})[record.number] = record
            case PastRollout():
                self.rollouts.setdefault(record.key, {})[record.number] = record.rollout
            case Revision():
                self.revisions.setdefault(service_key(record.app, record.service), {})[record.number] = record
            case Replica():
                self.replicas[record.id] = record
                self._by_service.setdefault(record.key, {})[record.id] = record
                self._by_slot.setdefault((record.key, record.slot), {})[record.id] = record
                if record.node_id:
                    self._by_node.setdefault(record.node_id, {})[record.id] = record
            case Node():
                self.nodes[record.id] = record
            case Person():
                self.people[record.name] = record
            case JoinToken():
                self.tokens[record.id] = record
            case Revocation():
                self.revocations[record.kind, record.id] = record
            case Pool():
                self.pools[record.name] = record
            case ManagedCertificate():
                self.certificates[record.host] = record
            case AcmeAccount():
                self.accounts[key_of(record).rpartition("/")[2]] = record
            case StoredFile():
                self.files[record.app, record.kind, record.name] = record

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
            case "people":
                return self.people.pop(rest, None)
            case "tokens":
                return self.tokens.pop(rest, None)
            case "revoked":
                part, _, id = rest.partition("/")
                return self.revocations.pop((PartKind(part), id), None)
            case "pools":
                return self.pools.pop(rest, None)
            case "certificates":
                return self.certificates.pop(rest, None)
            case "acme-accounts":
                return self.accounts.pop(rest, None)
            case "secrets" | "configs":
                app, _, name = rest.partition("/")
                return self.files.pop((app, FileKind(kind.removesuffix("s")), name), None)
            case "app-revisions":
                app, _, number = rest.rpartition("/")
                return _pop(self.app_revisions, app, int(number))
            case "revisions":
                key, _, number = rest.rpartition("/")
                return _pop(self.revisions, ServiceKey(key), int(number))
            case "rollouts":
                key, _, number = rest.rpartition("/")
                return self._take_rollout(ServiceKey(key), int(number))
            case "replicas":
                replica = self.replicas.pop(ReplicaId(rest.rpartition("/")[2]), None)
                if replica is not None:
                    self._by_service[replica.key].pop(replica.id, None)
                    self._by_slot[replica.key, replica.slot].pop(replica.id, None)
                    if not self._by_slot[replica.key, replica.slot]:
                        del self._by_slot[replica.key, replica.slot]
                    if replica.node_id:
                        self._by_node[replica.node_id].pop(replica.id, None)
                return replica
        return None

    def _take_rollout(self, key: ServiceKey, number: int) -> PastRollout | None:
        rollout = _pop(self.rollouts, key, number)
        app, _, service = key.partition("/")
        return PastRollout(app=app, service=service, number=number, rollout=rollout) if rollout is not None else None


def _pop(numbered: dict[K, dict[int, V]], key: K, number: int) -> V | None:
    """Removes and returns what is numbered so, and what was numbered at all once nothing is left of it."""
    found = numbered.get(key, {})
    value = found.pop(number, None)
    if not found:
        numbered.pop(key, None)
    return value
