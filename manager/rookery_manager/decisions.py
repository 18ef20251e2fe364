"""The latest changes of a service's number of replicas, as the store's history has them.

Each is written with the change itself (`Service.scaled`), so a manager that was restarted knows of those before it, and nothing
is written for decisions that changed nothing.
"""

from rookery.model import ScaleDecision, Service

from rookery_manager.records import Record, key_of, parse
from rookery_manager.store import Store

DECISIONS_SHOWN = 50
LOOK_BACK = 1_000
"""Changes of the service, and of others whose names begin like its own, in which they are looked for."""


async def decisions_of(store: Store, service: Service) -> tuple[ScaleDecision, ...]:
    """Newest first, of this life of the service, as far as history goes back; the latest one always."""
    key = key_of(service)
    found = {service.scaled.at: service.scaled} if service.scaled else {}
    for change in reversed(await store.history(key, limit=LOOK_BACK)):
        record: Record | None = parse(key, change.value) if change.key == key and change.value is not None else None
        if not isinstance(record, Service) or record.created_at != service.created_at or len(found) == DECISIONS_SHOWN:
            continue
        if record.scaled is not None:
            found.setdefault(record.scaled.at, record.scaled)
    return tuple(found[at] for at in sorted(found, reverse=True))
