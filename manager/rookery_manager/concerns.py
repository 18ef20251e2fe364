"""Which services a change concerns besides the one that it is of: global ones, and those that wait for another.

Invariant: it is what the wanted revisions in the state say; a look-up costs the size of its answer.
"""

from collections.abc import Collection

from rookery.model import Global, GlobalJob, ServiceKey
from rookery.model.ids import service_key

from rookery_manager.state import State


class Concerns:
    def __init__(self, state: State) -> None:
        self._state = state
        self._globals: set[ServiceKey] = set()
        self._awaited: dict[ServiceKey, tuple[ServiceKey, ...]] = {}  # by the one that waits
        self._waiting: dict[ServiceKey, set[ServiceKey]] = {}  # by the one that is waited for
        for key in state.services:
            self.update(key)

    @property
    def globals(self) -> Collection[ServiceKey]:
        return self._globals

    def waiting_for(self, key: ServiceKey) -> Collection[ServiceKey]:
        return self._waiting.get(key, ())

    def awaited_by(self, key: ServiceKey) -> Collection[ServiceKey]:
        """What the service depends on: in the return of an app that waits for it."""
        return self._awaited.get(key, ())

    def update(self, key: ServiceKey) -> None:
        """To be called when the service's record or a revision of it changed."""
        for awaited in self._awaited.pop(key, ()):
            self._waiting[awaited].discard(key)
            if not self._waiting[awaited]:
                del self._waiting[awaited]
        self._globals.discard(key)
        service = self._state.services.get(key)
        revision = self._state.revision_of(key, service.revision) if service else None
        if service is None or revision is None:
            return
        if isinstance(revision.spec.mode, Global | GlobalJob):
            self._globals.add(key)
        awaited_by_it = {service_key(service.app, dependency.service) for dependency in revision.spec.depends_on}
        self._awaited[key] = tuple(awaited_by_it)
        for awaited in awaited_by_it:
            self._waiting.setdefault(awaited, set()).add(key)
