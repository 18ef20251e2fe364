"""Which hosts' certificates are asked for, and by which services' routes. A change costs the service that changed."""

from collections.abc import Callable

from rookery.model import Revision, Service, ServiceKey
from rookery.model.ids import service_key

from rookery_manager.records import Record
from rookery_manager.state import State


class Wanted:
    """`on_change` is told of hosts that a service asks for, or does no more."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._hosts: dict[ServiceKey, frozenset[str]] = {}
        self._services: dict[str, set[ServiceKey]] = {}
        self.on_change: Callable[[str], None] = lambda _host: None
        for key in state.services:
            self._look(key)
        state.listen(self._on_record)

    @property
    def hosts(self) -> list[str]:
        return sorted(self._services)

    def services(self, host: str) -> tuple[str, ...]:
        return tuple(sorted(self._services.get(host, ())))

    def of_service(self, key: ServiceKey) -> frozenset[str]:
        return self._hosts.get(key, frozenset())

    def _look(self, key: ServiceKey) -> None:
        service = self._state.services.get(key)
        revision = self._state.revision_of(key, service.revision) if service is not None and not service.removing else None
        after = (
            frozenset(route.host.lower() for route in revision.spec.routes if route.acme) if revision is not None else frozenset()
        )
        before = self.of_service(key)
        if after:
            self._hosts[key] = after
        else:
            self._hosts.pop(key, None)
        for host in before - after:
            self._services[host].discard(key)
            if not self._services[host]:
                del self._services[host]
        for host in after - before:
            self._services.setdefault(host, set()).add(key)
        for host in before ^ after:
            self.on_change(host)

    def _on_record(self, record: Record, _after: Record | None) -> None:
        match record:
            case Service():
                self._look(record.key)
            case Revision():
                self._look(service_key(record.app, record.service))
            case _:
                return
