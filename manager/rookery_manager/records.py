"""Where each kind of value lies in the store, and its bytes.

cluster                                  the cluster's id
apps/APP                                 App
services/APP/SERVICE                     Service
revisions/APP/SERVICE/NUMBER             Revision (NUMBER in 8 digits, so that they sort)
files/APP/KIND/NAME/DIGEST               FileContent
replicas/APP/SERVICE/ID                  Replica
nodes/ID                                 Node
"""

from rookery.model import App, FileContent, Node, Replica, Revision, Service
from rookery.wire import from_bytes, to_bytes

from rookery_manager.store import Put

Record = App | Service | Revision | FileContent | Replica | Node

CLASSES: dict[str, type[Record]] = {
    "apps": App,
    "services": Service,
    "revisions": Revision,
    "replicas": Replica,
    "nodes": Node,
}  # files are read one by one when an assignment needs them


def app_key(app: str) -> str:
    return f"apps/{app}"


def service_record_key(app: str, service: str) -> str:
    return f"services/{app}/{service}"


def revision_key(app: str, service: str, number: int) -> str:
    return f"revisions/{app}/{service}/{number:08}"


def file_key(app: str, kind: str, name: str, digest: str) -> str:
    return f"files/{app}/{kind}/{name}/{digest}"


def replica_key(replica: Replica) -> str:
    return f"replicas/{replica.app}/{replica.service}/{replica.id}"


def node_key(node_id: str) -> str:
    return f"nodes/{node_id}"


def key_of(record: Record, *, app: str = "") -> str:
    """The key of a record; a FileContent needs the app that it belongs to."""
    match record:
        case App():
            return app_key(record.name)
        case Service():
            return service_record_key(record.app, record.name)
        case Revision():
            return revision_key(record.app, record.service, record.number)
        case Replica():
            return replica_key(record)
        case Node():
            return node_key(record.id)
        case FileContent():
            return file_key(app, record.kind, record.name, record.digest)


def put(record: Record, why: str, *, app: str = "") -> Put:
    return Put(key=key_of(record, app=app), value=to_bytes(record), why=why)


def parse(key: str, value: bytes) -> Record | None:
    """The record of an entry; None for a key whose values State does not hold."""
    cls = CLASSES.get(key.partition("/")[0])
    return from_bytes(cls, value) if cls else None
