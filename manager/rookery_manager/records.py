"""Where each kind of value lies in the store, and its bytes.

cluster                                  the cluster's id
apps/APP                                 App
app-revisions/APP/NUMBER                 AppRevision (numbers in 8 digits, so that they sort)
services/APP/SERVICE                     Service
revisions/APP/SERVICE/NUMBER             Revision
rollouts/APP/SERVICE/NUMBER              PastRollout
sealed/APP/KIND/NAME/VERSION-OR-DIGEST   SealedFile
secrets/APP/NAME, configs/APP/NAME       StoredFile
seal                                     Seal
replicas/APP/SERVICE/ID                  Replica
nodes/ID                                 Node
people/NAME                              Person
tokens/ID                                JoinToken
revoked/KIND/ID                          Revocation
pools/NAME                               Pool
certificates/HOST                        ManagedCertificate
acme-accounts/ID                         AcmeAccount (the id is made of its directory)
"""

import hashlib
from collections.abc import Iterable, Sequence

from rookery.model import (
    AcmeAccount,
    App,
    AppRevision,
    FileContent,
    FileKind,
    JoinToken,
    ManagedCertificate,
    Node,
    PastRollout,
    Person,
    Pool,
    Replica,
    Revision,
    Revocation,
    Seal,
    SealedFile,
    Service,
    StoredFile,
)
from rookery.wire import WireError, from_bytes, to_bytes

from rookery_manager.store import Put

Record = (
    App
    | AppRevision
    | Service
    | Revision
    | PastRollout
    | SealedFile
    | StoredFile
    | Seal
    | Replica
    | Node
    | Pool
    | Person
    | JoinToken
    | Revocation
    | ManagedCertificate
    | AcmeAccount
)

CLASSES: dict[str, type[Record]] = {
    "apps": App,
    "app-revisions": AppRevision,
    "services": Service,
    "revisions": Revision,
    "rollouts": PastRollout,
    "secrets": StoredFile,
    "configs": StoredFile,
    "replicas": Replica,
    "nodes": Node,
    "people": Person,
    "tokens": JoinToken,
    "revoked": Revocation,
    "pools": Pool,
    "certificates": ManagedCertificate,
    "acme-accounts": AcmeAccount,
}  # sealed contents are read one by one when an assignment needs them

MOST_FAULTS_SHOWN = 3


def app_key(app: str) -> str:
    return f"apps/{app}"


def app_revision_key(app: str, number: int) -> str:
    return f"app-revisions/{app}/{number:08}"


def service_record_key(app: str, service: str) -> str:
    return f"services/{app}/{service}"


def revision_key(app: str, service: str, number: int) -> str:
    return f"revisions/{app}/{service}/{number:08}"


def rollout_key(app: str, service: str, number: int) -> str:
    return f"rollouts/{app}/{service}/{number:08}"


def stored_file_key(app: str, kind: FileKind, name: str) -> str:
    return f"{kind}s/{app}/{name}"


def sealed_key(app: str, kind: FileKind, name: str, *, digest: str = "", version: int = 0) -> str:
    """Of a version of a StoredFile, or of a content that came with its app."""
    return f"sealed/{app}/{kind}/{name}/{f'{version:08}' if version else digest}"


def came_with_app(keys: Iterable[str]) -> list[str]:
    """Of the keys of sealed contents those that are of no StoredFile."""
    return [key for key in keys if len(key.rpartition("/")[2]) == _DIGEST_LENGTH]


_DIGEST_LENGTH = 64
SEAL_KEY = "seal"


def replica_key(replica: Replica) -> str:
    return f"replicas/{replica.app}/{replica.service}/{replica.id}"


def node_key(node_id: str) -> str:
    return f"nodes/{node_id}"


def person_key(name: str) -> str:
    return f"people/{name}"


def token_key(token_id: str) -> str:
    return f"tokens/{token_id}"


def revocation_key(kind: str, id: str) -> str:
    return f"revoked/{kind}/{id}"


def pool_key(name: str) -> str:
    return f"pools/{name}"


def certificate_key(host: str) -> str:
    return f"certificates/{host}"


def account_key(directory: str) -> str:
    return f"acme-accounts/{hashlib.sha256(directory.encode()).hexdigest()[:16]}"


def key_of(record: Record) -> str:
    match record:
        case App():
            return app_key(record.name)
        case AppRevision():
            return app_revision_key(record.app, record.number)
        case PastRollout():
            return rollout_key(record.app, record.service, record.number)
        case Service():
            return service_record_key(record.app, record.name)
        case Revision():
            return revision_key(record.app, record.service, record.number)
        case Replica():
            return replica_key(record)
        case Node():
            return node_key(record.id)
        case Person():
            return person_key(record.name)
        case JoinToken():
            return token_key(record.id)
        case Revocation():
            return revocation_key(record.kind, record.id)
        case Pool():
            return pool_key(record.name)
        case ManagedCertificate():
            return certificate_key(record.host)
        case AcmeAccount():
            return account_key(record.directory)
        case StoredFile():
            return stored_file_key(record.app, record.kind, record.name)
        case SealedFile():
            return sealed_key(record.app, record.kind, record.name, digest=record.digest, version=record.version)
        case Seal():
            return SEAL_KEY


def put(record: Record, why: str) -> Put:
    return Put(key=key_of(record), value=to_bytes(record), why=why)


class Unreadable(Exception):
    """Entries of a store that are not what their keys say; `faults` has a line for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        shown = "; ".join(faults[:MOST_FAULTS_SHOWN])
        more = f"; and {len(faults) - MOST_FAULTS_SHOWN} more" if len(faults) > MOST_FAULTS_SHOWN else ""
        super().__init__(shown + more)
        self.faults = tuple(faults)


def checked(key: str, value: bytes) -> Record | None:
    """The record of an entry, as `parse` gives it. Raises ValueError where it can't be read, or belongs under another key."""
    kind, _, rest = key.partition("/")
    record: Record | None = None
    if kind == "files":  # as they were before they were sealed: a backup may be of then
        file = from_bytes(FileContent, value)
        right = f"files/{rest.partition('/')[0]}/{file.kind}/{file.name}/{file.digest}"
    elif kind == "sealed":
        right = key_of(from_bytes(SealedFile, value))
    elif kind == SEAL_KEY:
        right = key_of(from_bytes(Seal, value))
    elif kind == "cluster":
        value.decode()
        return None
    else:
        record = parse(key, value)
        right = key if record is None else key_of(record)
    if right != key:
        raise WireError(f"it is what belongs under {right}")
    return record


def parse(key: str, value: bytes) -> Record | None:
    """The record of an entry; None for a key whose values State does not hold."""
    cls = CLASSES.get(key.partition("/")[0])
    return from_bytes(cls, value) if cls else None
