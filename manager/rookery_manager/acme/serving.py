"""What proxies are sent of certificates: those that routes ask for, each once, and the hosts of all."""

from collections.abc import AsyncIterator

from rookery.model import ServedCertificate
from rookery.v1.routing_pb2 import Certificates
from rookery.wire import encode

from rookery_manager.acme.contents import Contents
from rookery_manager.acme.wanted import Wanted
from rookery_manager.state import State

AT_ONCE = 100  # in a message: some 6 kB each, and gRPC takes 4 MB


class Shelf:
    """Gives nothing while the manager is locked: proxies keep what they have."""

    def __init__(self, state: State, contents: Contents, wanted: Wanted) -> None:
        self._state = state
        self._contents = contents
        self._wanted = wanted

    async def news(self, told: dict[str, str]) -> AsyncIterator[Certificates]:
        """What a proxy is to be told that was told this (digests by host; brought up to date)."""
        if self._contents.locked:
            return
        # One that is asked for and lost with the store's key is among them: proxies serve theirs until there is another.
        certificates = self._state.certificates
        found = {host: certificates[host].digest if host in certificates else "" for host in self._wanted.hosts}
        if found == told:
            return
        puts: list[ServedCertificate] = []
        for host, digest in found.items():
            if not digest or told.get(host) == digest:
                continue
            pem = await self._contents.read(host, digest)
            if pem is None:
                continue
            puts.append(ServedCertificate(host=host, digest=digest, pem=pem.encode()))
            if len(puts) == AT_ONCE:
                yield _message(puts, found)
                puts = []
        yield _message(puts, found)
        told.clear()
        told.update(found)


def _message(puts: list[ServedCertificate], found: dict[str, str]) -> Certificates:
    return Certificates(puts=[encode(put) for put in puts], hosts=list(found))
