"""A new authority takes the place of the old one while agents, proxies and people go on: no call fails, no lease ends."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from certificates import admin_of
from rookery import channel
from rookery.client import AsyncClient, Conflict
from rookery.identity import Identity, Token, load, parse_token
from rookery.identity.join import NotJoined, join
from rookery.identity.standing import Standing, Wanted
from rookery.model import AuthorityStatus, NodeInfo, NodeStats, PartKind
from rookery.v1 import control_pb2, control_pb2_grpc
from rookery_agent.assignments import Held
from rookery_agent.lease import Lease
from rookery_agent.session import Hooks, Session, Vitals
from rookery_manager import front
from rookery_manager.identity import keeping
from whole_manager import manager, until

log = logging.getLogger("test")


@dataclass
class Agent:
    """The real session and the real standing of an agent, and what they saw."""

    folder: Path
    address: str
    token: Token
    name: str
    silences: list[float] = field(default_factory=list)
    sets: int = 0

    async def run(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.standing = Standing(self.folder, self.address, "agent", Wanted(token=self.token, insecure=False), log)
        hooks = Hooks(
            standing=self.standing,
            info=lambda: NodeInfo(hostname=self.name, address="127.0.0.1"),
            vitals=lambda: Vitals(stats=NodeStats()),
            statuses=tuple,
            keep=self._keep,
            renewed=self.silences.append,
            logs=lambda _stub, _request: None,
            cancel_logs=lambda _: None,
        )
        await self.standing.begin(f"id-{self.name}")
        self.session = Session(self.address, f"id-{self.name}", Held(), Lease(), hooks, seed=1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.standing.keep())
            tasks.create_task(self.session.run())

    async def _keep(self, held: Held) -> bool:
        del held
        self.sets += 1
        return True

    @property
    def trusts(self) -> str:
        return self.standing.identity.authority_pem if self.standing.identity else ""


@asynccontextmanager
async def agents(data: Path, address: str, count: int) -> AsyncIterator[list[Agent]]:
    token = parse_token((data / "agent.token").read_text())
    made = [Agent(data / f"a{n}", address, token, f"n{n}") for n in range(count)]
    tasks = [asyncio.create_task(agent.run()) for agent in made]
    try:
        await until(lambda: all(agent.silences for agent in made))
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def status_of(data: Path, address: str) -> AuthorityStatus:
    async with AsyncClient(address, identity=admin_of(data)) as client:
        return await client.get_authority_status()


async def calls(data: Path, address: str, failed: list[str], *, fresh: bool) -> None:
    """Calls without a pause, each on a connection of its own, or on one until there is another credential."""
    while True:
        identity = admin_of(data)
        async with channel.dial(address, identity) as connection:
            stub = control_pb2_grpc.ControlServiceStub(connection)
            while True:
                try:
                    await stub.GetCluster(control_pb2.GetClusterRequest(), timeout=30)
                except grpc.aio.AioRpcError as error:
                    failed.append(f"{error.code()} {error.details()}")
                await asyncio.sleep(0.005)
                if fresh or load(data / "admin.pem") != identity:
                    break


def test_everybody_moves_under_load_and_the_old_one_is_dropped(tmp_path: Path) -> None:
    async def scene() -> None:
        data = tmp_path / "m"
        failed: list[str] = []
        async with (
            manager(data, "--certificate-life", "9", secure=True, lease_s=5.0) as made,
            agents(data, made.address, 4) as all_,
        ):
            old_token, old_admin = parse_token((data / "agent.token").read_text()), admin_of(data)
            loads = [asyncio.create_task(calls(data, made.address, failed, fresh=fresh)) for fresh in (True, False, False)]
            first = admin_of(data).authority_pem
            async with AsyncClient(made.address, identity=old_admin) as client:
                began = await client.rotate_authority()
                assert began.old_digest == old_token.authority
                assert {mover.id for mover in began.movers} == {"admin", "id-n0", "id-n1", "id-n2", "id-n3"}
                with pytest.raises(Conflict, match="is being replaced already"):
                    await client.rotate_authority()
            # A token from before is good while both are trusted, and the manager's own is of the new authority.
            assert (await join(made.address, old_token, id="id-late")).authority_pem.count("BEGIN") == 2
            assert parse_token((data / "agent.token").read_text()) == replace(old_token, authority=began.digest)

            async def dropped() -> bool:
                return not (await status_of(data, made.address)).old_digest

            await until(dropped)
            await until(lambda: all(agent.trusts == (data / "ca" / "ca.pem").read_text() for agent in all_))
            assert not (data / "ca" / "before.pem").exists()
            assert first not in admin_of(data).authority_pem
            for agent in all_:  # their streams moved once, and no lease ended
                assert agent.sets == 2
                assert not any(agent.silences[1:])
            renewals = [len(agent.silences) for agent in all_]
            await until(lambda: all(len(a.silences) > n + 20 for a, n in zip(all_, renewals, strict=True)))
            for task in loads:
                task.cancel()
            await asyncio.gather(*loads, return_exceptions=True)
            assert not failed
            # What is of the old one is worth nothing any more.
            with pytest.raises(NotJoined, match="not before its authority was replaced"):
                await join(made.address, old_token, id="id-too-late")
            async with channel.dial(made.address, old_admin) as connection:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await control_pb2_grpc.ControlServiceStub(connection).GetCluster(control_pb2.GetClusterRequest(), timeout=30)
            assert caught.value.code() is not grpc.StatusCode.OK
            events = (await made_events(data, made.address)).splitlines()
            assert not [line for line in events if "down" in line]
            assert [line for line in events if line.startswith("authority admin@")], events
            # A part that is started again with the token of the old authority is of this cluster all the same.
            again = Standing(all_[0].folder, made.address, "agent", Wanted(token=old_token, insecure=False), log)
            assert again.identity is not None

    asyncio.run(scene())


async def made_events(data: Path, address: str) -> str:
    async with AsyncClient(address, identity=admin_of(data)) as client:
        return "\n".join(f"{event.kind} {event.actor} {event.why}" for event in await client.list_events(limit=1000))


def test_where_the_system_leads_no_connections_the_old_server_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise OSError(92, "Protocol not available")

    monkeypatch.setattr(front, "_prefer_newest", unknown)

    async def scene() -> None:
        data = tmp_path / "m"
        async with manager(data, secure=True, lease_s=5.0) as made, agents(data, made.address, 2) as all_:
            async with AsyncClient(made.address, identity=admin_of(data)) as client:
                await client.rotate_authority()

            async def dropped() -> bool:
                return not (await status_of(data, made.address)).old_digest

            await until(dropped)
            await until(lambda: all(agent.trusts == (data / "ca" / "ca.pem").read_text() for agent in all_))
            assert not any(silence for agent in all_ for silence in agent.silences[1:])

    asyncio.run(scene())


def test_who_has_not_moved_is_waited_for_unless_told_otherwise(tmp_path: Path) -> None:
    async def scene() -> None:
        data = tmp_path / "m"
        async with manager(data, secure=True) as made:
            async with AsyncClient(made.address, identity=admin_of(data)) as client:
                request = await client.create_token(PartKind.AGENT, uses=1)
                before = await join(made.address, parse_token(request.text), id="id-n1")
                async with agents(data, made.address, 1):
                    pass
                await client.rotate_authority()
            async with AsyncClient(made.address, identity=admin_of(data)) as client:
                with pytest.raises(Conflict, match="not moved yet: agent n0; with --force they have to join"):
                    await client.drop_authority()
                done = await client.drop_authority(force=True)
                assert not done.old_digest
                with pytest.raises(Conflict, match="no authority is being replaced"):
                    await client.drop_authority()
            trusting: Identity = replace(before, authority_pem=(data / "ca" / "ca.pem").read_text())
            async with channel.dial(made.address, trusting) as connection:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await control_pb2_grpc.ControlServiceStub(connection).GetCluster(control_pb2.GetClusterRequest(), timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "is of an authority that was replaced" in (caught.value.details() or "")

    asyncio.run(scene())


@pytest.mark.parametrize("step", ["decided", "key in place", "in place"])
def test_a_manager_that_is_killed_in_the_middle_goes_on(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two of the steps; then parts that trust the old authority alone find it, and move."""

    async def scene() -> None:
        data = tmp_path / "m"
        async with manager(data, secure=True) as made, agents(data, made.address, 1):
            old = (data / "ca" / "ca.pem").read_text()
        _rotate_until(step, data, monkeypatch)
        port = int(made.address.rpartition(":")[2])
        async with manager(data, secure=True, port=port) as again, agents(data, again.address, 2) as all_:
            new = (data / "ca" / "ca.pem").read_text()
            assert new != old

            async def dropped() -> bool:
                return not (await status_of(data, again.address)).old_digest

            await until(dropped)
            await until(lambda: all(agent.trusts == new for agent in all_))

    asyncio.run(scene())


def _rotate_until(step: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    replaced: list[str] = []

    def replace_or_die(source: Path, target: Path) -> None:
        if len(replaced) == {"decided": 0, "key in place": 1, "in place": 2}[step]:
            raise Killed
        replaced.append(str(target))
        Path(source).rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(keeping.os, "replace", replace_or_die)
        authority = keeping.open_authority(data / "ca", "c1", lambda: 2e9, part_life_s=86_400.0)
        patched.setattr(
            "rookery_manager.identity.keeping.write_private", lambda path, text: path.write_text(text) and path.chmod(0o600)
        )
        try:
            keeping.rotate(data / "ca", authority, 2e9)
        except Killed:
            return
    assert step == "in place"


def test_a_rotation_that_was_not_decided_on_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    authority = keeping.open_authority(folder, "c1", lambda: 2e9, part_life_s=86_400.0)
    (folder / "before.pem").write_text(f"began: 1\nparts-end: 2\npeople-end: 3\n{authority.pem}{authority.pem}")
    (folder / "next-key.pem").write_text("half")
    again = keeping.open_authority(folder, "c1", lambda: 2e9, part_life_s=86_400.0)
    assert again.digests == authority.digests
    assert sorted(path.name for path in folder.iterdir()) == ["ca-key.pem", "ca.pem"]
