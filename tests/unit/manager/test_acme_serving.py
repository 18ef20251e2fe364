"""Which certificates a proxy is sent, and when; and what is wanted by whom."""

import asyncio
from dataclasses import replace

from open_keyring import open_keyring
from rookery.model import HttpRoute, ManagedCertificate, Revision, Service, ServiceKey, ServiceSpec
from rookery.v1.routing_pb2 import Certificates
from rookery_manager import records
from rookery_manager.acme.contents import Contents
from rookery_manager.acme.serving import Shelf
from rookery_manager.acme.wanted import Wanted
from rookery_manager.records import Record
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.state import State
from rookery_manager.store import Commit, MemoryStore

A, B = "a.example.org", "b.example.org"
KEY = ServiceKey("shop/web")
SERVICE = Service(app="shop", name="web", revision=1, replicas=1)


def revision(*hosts: str, number: int = 1) -> Revision:
    routes = tuple(HttpRoute(target=1, host=host, tls=True, acme=True) for host in hosts)
    return Revision(app="shop", service="web", number=number, spec=ServiceSpec(name="web", routes=routes))


class World:
    """A store with what is put into it, and a proxy that was told `told`."""

    def __init__(self) -> None:
        self.store, self.state = MemoryStore(), State()
        self.keyring: Keyring = open_keyring()
        self.contents = Contents(self.store, self.keyring)
        self.wanted = Wanted(self.state)
        self.shelf = Shelf(self.state, self.contents, self.wanted)
        self.told = {"": ""}

    async def put(self, *written: Record) -> None:
        before = self.state.revision
        await self.store.commit(Commit(writes=tuple(records.put(record, "") for record in written), actor="test", at=1.0))
        self.state.apply(tuple(change for change in await self.store.history(after=before)))

    async def have(self, host: str, pem: str) -> None:
        sealed = self.contents.sealed(host, pem)
        await self.put(sealed, ManagedCertificate(host=host, digest=sealed.digest))

    async def news(self) -> list[tuple[dict[str, bytes], set[str]]]:
        sent: list[Certificates] = [message async for message in self.shelf.news(self.told)]
        return [({put.host: put.pem for put in message.puts}, set(message.hosts)) for message in sent]


def test_a_proxy_is_sent_what_routes_ask_for_once() -> None:
    async def main() -> None:
        world = World()
        assert await world.news() == [({}, set())]  # it may have some from before
        assert await world.news() == []
        await world.put(SERVICE, revision(A))
        await world.have(A, "chain and key")
        await world.have(B, "nobody asks for it")
        assert await world.news() == [({A: b"chain and key"}, {A})]
        assert await world.news() == []
        await world.have(A, "renewed")
        assert await world.news() == [({A: b"renewed"}, {A})]
        await world.put(revision(A, B, number=2), replace(SERVICE, revision=2))
        assert await world.news() == [({B: b"nobody asks for it"}, {A, B})]
        # What was lost with the store's key is served until there is another.
        await world.put(ManagedCertificate(host=A))
        assert await world.news() == [({}, {A, B})]
        await world.put(replace(SERVICE, revision=2, removing=True))
        assert await world.news() == [({}, set())]

    asyncio.run(main())


def test_services_share_a_host_and_change_their_minds() -> None:
    async def main() -> None:
        world, changed = World(), list[str]()
        world.wanted.on_change = changed.append
        other = replace(revision(A.upper()), service="api")
        await world.put(SERVICE, revision(A, B), other, replace(SERVICE, name="api"))
        assert world.wanted.hosts == [A, B]
        assert world.wanted.services(A) == ("shop/api", "shop/web")
        assert sorted(set(changed)) == [A, B]
        changed.clear()
        await world.put(revision(A, number=2), replace(SERVICE, revision=2))
        assert (world.wanted.hosts, changed) == ([A], [B])
        assert world.wanted.of_service(KEY) == {A}

    asyncio.run(main())
