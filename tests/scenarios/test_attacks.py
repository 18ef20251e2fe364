"""What strangers, and parts and people who want too much, get from a manager: a refusal with its reason; and it serves on."""

import asyncio
import hashlib
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import grpc
import grpc.aio
import pytest
from certificates import admin_of, authority_of, issued, trusting
from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from manager_process import process
from rookery import channel
from rookery.identity import Identity, Token, parse_token, visitor
from rookery.identity.join import NotJoined, join, renew
from rookery.identity.token import digest_of
from rookery.model import AppSpec, ContainerSpec, FileContent, FileKind, FileMount, NodeState, PartKind, Placement, ServiceSpec
from rookery.process import Stop
from rookery.v1 import (
    control_pb2,
    control_pb2_grpc,
    dispatch_pb2,
    dispatch_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    routing_pb2,
    routing_pb2_grpc,
    types_pb2,
)
from rookery.wire import encode
from rookery_manager.identity import limits
from whole_manager import Manager, manager, until

DENIED, STRANGER = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
AWAY = grpc.StatusCode.UNAVAILABLE  # TLS does not say more to who has no certificate


@dataclass
class Scene:
    manager: Manager
    data: Path

    def token(self, kind: str) -> Token:
        return parse_token((self.data / f"{kind}.token").read_text())

    async def person(self, name: str, role: types_pb2.Role, *apps: str) -> Identity:
        await self.manager.control.PutPerson(control_pb2.PutPersonRequest(name=name, role=role, apps=apps))
        request = control_pb2.CreateTokenRequest(kind=types_pb2.PART_KIND_PERSON, person=name, uses=1)
        created = await self.manager.control.CreateToken(request)
        return await join(self.manager.address, parse_token(created.text))

    async def refused(
        self, identity: Identity | None, call: "Callable[[grpc.aio.Channel], Awaitable[object]]"
    ) -> tuple[str, str]:
        """The status and the words with which a call is refused."""
        async with channel.dial(self.manager.address, identity) as connection:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async with asyncio.timeout(10):
                    await call(connection)
        return caught.value.code(), caught.value.details() or ""


@asynccontextmanager
async def scene(data: Path, *flags: str) -> AsyncIterator[Scene]:
    async with manager(data, *flags, secure=True) as made:
        yield Scene(made, data)


def play(data: Path, act: Callable[[Scene], Awaitable[None]], *flags: str) -> None:
    async def main() -> None:
        failed: list[str] = []

        async def ask() -> None:
            """It serves on, all the time."""
            while True:
                try:
                    await made.manager.control.GetCluster(control_pb2.GetClusterRequest(), timeout=30)
                except grpc.aio.AioRpcError as error:
                    failed.append(f"{error.code()} {error.details()}")
                await asyncio.sleep(0.05)

        async with asyncio.timeout(120), scene(data, *flags) as made:
            asking = asyncio.create_task(ask())
            await act(made)
            await made.manager.control.GetCluster(control_pb2.GetClusterRequest())
            asking.cancel()
            assert not failed

    asyncio.run(main())


def get_cluster(connection: grpc.aio.Channel) -> Awaitable[object]:
    stub = control_pb2_grpc.ControlServiceStub(connection)
    return stub.GetCluster(control_pb2.GetClusterRequest(), timeout=5)


def scale(app: str) -> Callable[[grpc.aio.Channel], Awaitable[object]]:
    request = control_pb2.ScaleRequest(app=app, service="web", replicas=2)
    return lambda connection: control_pb2_grpc.ControlServiceStub(connection).Scale(request, timeout=5)


async def connect(connection: grpc.aio.Channel, node_id: str = "id-n1") -> None:
    async def messages() -> AsyncIterator[dispatch_pb2.AgentMessage]:
        hello = dispatch_pb2.Hello(node_id=node_id, info=types_pb2.NodeInfo(hostname="n1"))
        yield dispatch_pb2.AgentMessage(hello=hello)
        await asyncio.sleep(30)

    async for _ in dispatch_pb2_grpc.DispatchServiceStub(connection).Connect(messages(), timeout=5):
        break


async def follow(connection: grpc.aio.Channel, proxy_id: str = "p1") -> None:
    async def messages() -> AsyncIterator[routing_pb2.ProxyMessage]:
        yield routing_pb2.ProxyMessage(hello=routing_pb2.ProxyHello(info=types_pb2.ProxyInfo(id=proxy_id)))
        await asyncio.sleep(30)

    async for _ in routing_pb2_grpc.RoutingServiceStub(connection).Follow(messages(), timeout=5):
        break


def test_who_has_no_certificate_of_this_cluster_gets_nowhere(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        ours = authority_of(s.data)
        foreign = authority_of(tmp_path / "elsewhere")
        expired = authority_of(s.data, life_s=-10)
        for stranger in (
            None,  # plain text
            trusting(issued(foreign, PartKind.AGENT, "id-n1"), ours),
            issued(expired, PartKind.AGENT, "id-n1"),
        ):
            code, _ = await s.refused(stranger, get_cluster)
            assert code is AWAY
            code, _ = await s.refused(stranger, connect)
            assert code is AWAY

    play(tmp_path / "m", act)


def test_a_visitor_can_only_join(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        for call in (get_cluster, connect, follow, scale("shop"), _renew):
            code, words = await s.refused(nobody(s), call)
            if call in (connect, follow) and code is grpc.StatusCode.INTERNAL:
                continue  # what a stranger streams is not read, and grpc.aio reads no reason where it could not say all
            assert code is DENIED, words
            assert "is not for a caller without a certificate of this cluster; join, or log in, first" in words
        async with channel.dial(s.manager.address, nobody(s)) as connection:
            stub = identity_pb2_grpc.IdentityServiceStub(connection)
            told = await stub.GetAuthority(identity_pb2.GetAuthorityRequest())
            assert digest_of(told.certificate_pem) == s.token("agent").authority

    play(tmp_path, act)


async def _renew(connection: grpc.aio.Channel) -> None:
    await identity_pb2_grpc.IdentityServiceStub(connection).Renew(identity_pb2.RenewRequest(), timeout=5)


def test_what_the_visitors_key_has_signed_is_worth_nothing(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from rookery_manager.identity import authority as module

        key = load_pem_private_key(visitor.KEY, None)
        forger = module.Authority(key, x509.load_pem_x509_certificate(visitor.CERTIFICATE), lambda: 1e9, part_life_s=1e10)  # type: ignore[arg-type]
        forger.cluster_id = authority_of(s.data).cluster_id
        forged = issued(forger, PartKind.PERSON, "admin")
        chain = forged.certificate_pem + visitor.CERTIFICATE.decode()
        for pem in (forged.certificate_pem, chain):
            made = trusting(
                Identity(
                    kind="person", id="admin", cluster_id="", renew_at=0, ends_at=0, authority_pem="", certificate_pem=pem,
                    key_pem=forged.key_pem,
                ),
                authority_of(s.data),
            )  # fmt: skip
            code, _ = await s.refused(made, get_cluster)
            assert code in (AWAY, STRANGER)

    play(tmp_path, act)


def test_parts_act_as_themselves_alone(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        agent = await join(s.manager.address, s.token("agent"), id="id-n1")
        proxy = await join(s.manager.address, s.token("proxy"), id="p1")
        assert await s.refused(agent, lambda c: connect(c, "id-n2")) == (
            DENIED,
            "agent id-n1 says that it is id-n2: an agent acts for its own node alone",
        )
        assert await s.refused(proxy, lambda c: follow(c, "p2")) == (
            DENIED,
            "proxy p1 says that it is p2: a proxy reports for itself alone",
        )
        for identity, call, words in (
            (agent, get_cluster, "/rookery.v1.ControlService/GetCluster is not for agent id-n1"),
            (agent, follow, "/rookery.v1.RoutingService/Follow is not for agent id-n1"),
            (proxy, scale("shop"), "/rookery.v1.ControlService/Scale is not for proxy p1"),
            (proxy, connect, "/rookery.v1.DispatchService/Connect is not for proxy p1"),
            (admin_of(s.data), connect, "/rookery.v1.DispatchService/Connect is not for person admin"),
        ):
            assert await s.refused(identity, call) == (DENIED, words)
        cluster = await s.manager.control.GetCluster(control_pb2.GetClusterRequest())
        assert cluster.refused["denied"] == 7
        await until(_is_in_the_history(s, "agent id-n1", "agent id-n1 says that it is id-n2"))
        # And with what they are, they are let in.
        async with FakeAgent(s.manager.address, "n1", identity=agent), FakeProxy(s.manager.address, identity=proxy):
            await until(_has_node(s, "n1"))

    play(tmp_path, act)


def test_an_agent_sees_no_secret_of_another_node(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        one = await join(s.manager.address, s.token("agent"), id="id-n1")
        two = await join(s.manager.address, s.token("agent"), id="id-n2")
        async with (
            FakeAgent(s.manager.address, "n1", identity=one) as first,
            FakeAgent(s.manager.address, "n2", identity=two) as other,
        ):
            mount = FileMount(
                kind=FileKind.SECRET, name="key", target="/run/secrets/key", digest=hashlib.sha256(b"hunter2").hexdigest()
            )
            service = ServiceSpec(
                name="web",
                container=ContainerSpec(image="web:1", files=(mount,)),
                placement=Placement(constraints=("node.hostname==n1",)),
            )
            file = FileContent(kind=FileKind.SECRET, name="key", content=b"hunter2", digest=mount.digest)
            spec = AppSpec(name="shop", services=(service,), files=(file,))
            await s.manager.control.Apply(control_pb2.ApplyRequest(app=encode(spec)))
            await until(lambda: any(a.files for a in first.assignments.values()))
            assert not other.assignments
            # Nor by asking for what is the other's.
            code, words = await s.refused(two, lambda c: connect(c, "id-n1"))
            assert (code, words) == (DENIED, "agent id-n2 says that it is id-n1: an agent acts for its own node alone")

    play(tmp_path, act)


def _is_in_the_history(s: Scene, who: str, why: str) -> Callable[[], Awaitable[bool]]:
    async def held() -> bool:
        request = control_pb2.ListEventsRequest(by=who, kind="attempt", text=why)
        return bool((await s.manager.control.ListEvents(request)).events)

    return held


def _has_node(s: Scene, name: str) -> Callable[[], Awaitable[bool]]:
    async def held() -> bool:
        return any(detail.node.info.hostname == name for detail in await _nodes(s))

    return held


async def _nodes(s: Scene) -> list[control_pb2.NodeDetail]:
    return list((await s.manager.control.ListNodes(control_pb2.ListNodesRequest())).nodes)


def test_people_do_what_their_role_allows_for_their_apps(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        ana = await s.person("ana", types_pb2.ROLE_VIEWER)
        bo = await s.person("bo", types_pb2.ROLE_DEPLOYER, "shop")
        stub = control_pb2_grpc.ControlServiceStub
        apply = control_pb2.ApplyRequest(app=types_pb2.AppSpec(name="shop"))
        calls: list[tuple[Identity, Callable[[grpc.aio.Channel], Awaitable[object]], str]] = [
            (ana, lambda c: stub(c).Apply(apply), "deploying shop needs the role deployer; you are ana, viewer"),
            (ana, scale("shop"), "scaling shop needs the role deployer; you are ana, viewer"),
            (bo, scale("bank"), "scaling bank needs the role deployer of it; you are bo, deployer of shop"),
            (
                bo,
                lambda c: stub(c).RemoveNode(control_pb2.RemoveNodeRequest(node="n1")),
                "removing a node needs the role operator; you are bo, deployer of shop",
            ),
            (
                bo,
                lambda c: stub(c).ListReplicas(control_pb2.ListReplicasRequest()),
                "looking at all apps needs the role viewer of all; you are bo, deployer of shop; name one of them",
            ),
            (
                bo,
                lambda c: stub(c).ListEvents(control_pb2.ListEventsRequest(subject="bank/web")),
                "reading the events of bank needs the role viewer of it; you are bo, deployer of shop",
            ),
            (
                bo,
                lambda c: stub(c).CreateToken(control_pb2.CreateTokenRequest(kind=types_pb2.PART_KIND_AGENT)),
                "making a join token needs the role admin; you are bo, deployer of shop",
            ),
        ]
        for who, call, words in calls:
            assert await s.refused(who, call) == (DENIED, words)
        code, words = await s.refused(bo, scale("shop"))
        assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no service shop/web")  # it is let through

    play(tmp_path, act)


async def _to_its_end(stream: "grpc.aio.UnaryStreamCall[control_pb2.WatchRequest, control_pb2.WatchResponse]") -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


def test_a_removed_person_is_out_at_once_and_so_are_their_streams(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        ana = await s.person("ana", types_pb2.ROLE_VIEWER)
        async with channel.dial(s.manager.address, ana) as connection:
            watching = control_pb2_grpc.ControlServiceStub(connection).Watch(control_pb2.WatchRequest(snapshot=True))
            assert await watching.read() is not grpc.aio.EOF
            await s.manager.control.RemovePerson(control_pb2.RemovePersonRequest(name="ana"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(_to_its_end(watching), 10)
            assert caught.value.code() is DENIED
            gone = "ana was removed from the people of this cluster; log in with a new token"
            assert caught.value.details() == gone
        assert await s.refused(ana, get_cluster) == (DENIED, gone)
        # Somebody new of that name is not who was before.
        await s.manager.control.PutPerson(control_pb2.PutPersonRequest(name="ana", role=types_pb2.ROLE_ADMIN))
        assert await s.refused(ana, get_cluster) == (DENIED, gone)

    play(tmp_path, act)


def test_a_stream_does_not_outlive_what_its_caller_may_do(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        ana = await s.person("ana", types_pb2.ROLE_VIEWER)
        async with channel.dial(s.manager.address, ana) as connection:
            stub = control_pb2_grpc.ControlServiceStub(connection)
            watching = stub.Watch(control_pb2.WatchRequest(snapshot=True))
            assert await watching.read() is not grpc.aio.EOF
            request = control_pb2.PutPersonRequest(name="ana", role=types_pb2.ROLE_VIEWER, apps=["shop"])
            await s.manager.control.PutPerson(request)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(_to_its_end(watching), 10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "what ana may do has changed; call again"
            again = stub.Watch(control_pb2.WatchRequest(snapshot=True))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await again.read()
            assert caught.value.code() is DENIED

    play(tmp_path, act)


def test_a_removed_node_is_out_at_once(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        identity = await join(s.manager.address, s.token("agent"), id="id-n1")
        async with FakeAgent(s.manager.address, "n1", identity=identity) as agent:
            await until(_has_node(s, "n1"))
            await s.manager.control.RemoveNode(control_pb2.RemoveNodeRequest(node="n1", force=True))
            await until(lambda: "agent id-n1 was removed from the cluster" in agent.refused)
            code, words = await s.refused(identity, _renew)
            assert code is DENIED
            assert "to join again, remove its identity.pem and start it with a join token" in words
            assert not await _nodes(s)
        again = await join(s.manager.address, s.token("agent"), id="id-n1")
        async with FakeAgent(s.manager.address, "n1", identity=again):
            await until(_has_node(s, "n1"))

    play(tmp_path, act)


async def why_not(s: Scene, token: Token, id: str = "id-n9") -> str:
    with pytest.raises(NotJoined) as caught:
        await join(s.manager.address, token, id=id)
    return str(caught.value)


def test_a_token_is_worth_what_it_says(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        unknown = "this manager knows no such join token, or it was removed or used up"
        good = s.token("agent")
        assert await why_not(s, Token(authority=good.authority, id=good.id, secret="a" * 32)) == unknown
        assert await why_not(s, Token(authority=good.authority, id="aaaaaaaa", secret=good.secret)) == unknown

        request = control_pb2.CreateTokenRequest(kind=types_pb2.PART_KIND_AGENT, uses=1)
        once = parse_token((await s.manager.control.CreateToken(request)).text)
        outcomes = await asyncio.gather(*(join(s.manager.address, once, id=f"id-n{i}") for i in range(4)), return_exceptions=True)
        assert sum(isinstance(outcome, Identity) for outcome in outcomes) == 1
        assert {str(outcome) for outcome in outcomes if not isinstance(outcome, Identity)} == {unknown}

        request = control_pb2.CreateTokenRequest(kind=types_pb2.PART_KIND_AGENT, lifetime_s=1)
        brief = parse_token((await s.manager.control.CreateToken(request)).text)

        await asyncio.sleep(1.1)
        assert "has expired" in await why_not(s, brief)
        request = control_pb2.CreateTokenRequest(kind=types_pb2.PART_KIND_AGENT, replace=True)
        rotated = parse_token((await s.manager.control.CreateToken(request)).text)
        assert await why_not(s, good) == unknown
        assert s.token("agent") == rotated
        assert (await join(s.manager.address, rotated, id="id-n7")).id == "id-n7"
        assert "a part's id has" in await why_not(s, rotated, id="../../etc")
        for listed in (await s.manager.control.ListTokens(control_pb2.ListTokensRequest())).tokens:
            assert not listed.digest

    play(tmp_path, act)


def test_nobody_takes_the_place_of_a_node_that_is_up(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        identity = await join(s.manager.address, s.token("agent"), id="id-n1")
        async with FakeAgent(s.manager.address, "n1", identity=identity):
            await until(_has_node(s, "n1"))
            assert "is in the cluster, and up" in await why_not(s, s.token("agent"), id="id-n1")
            node = (await _nodes(s))[0].node
            assert node.state == types_pb2.NODE_STATE_READY, NodeState.READY

    play(tmp_path, act)


def test_a_secret_is_not_said_to_another_cluster(tmp_path: Path) -> None:
    """The other manager would have to be asked for it: it must not have heard of the token at all."""

    async def act(s: Scene) -> None:
        async with scene(tmp_path / "other") as other:
            said = await why_not(other, s.token("agent"))
            assert "is not of the cluster that the token is for: the token's secret was not sent" in said
            cluster = await other.manager.control.GetCluster(control_pb2.GetClusterRequest())
            assert "join" not in cluster.refused

    play(tmp_path / "one", act)


def test_only_tls_1_3_is_spoken(tmp_path: Path) -> None:
    """By the manager as a process: gRPC reads what it goes by once a process, and this one had used it before."""

    async def act() -> None:
        async with process(tmp_path / "m", secure=True) as running:
            identity = admin_of(running.data)
            file = tmp_path / "both.pem"
            file.write_text(identity.key_pem + identity.certificate_pem)
            host, _, port = running.address.rpartition(":")

            def shake(version: ssl.TLSVersion) -> str:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                context.maximum_version = version
                context.load_cert_chain(file)
                context.set_alpn_protocols(["h2"])
                try:
                    with socket.create_connection((host, int(port)), timeout=10) as raw, context.wrap_socket(raw) as secured:
                        return secured.version() or ""
                except (ssl.SSLError, OSError):
                    return ""

            assert await asyncio.to_thread(shake, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
            assert await asyncio.to_thread(shake, ssl.TLSVersion.TLSv1_2) == ""

    asyncio.run(act())


def nobody(s: Scene) -> Identity:
    return Identity(
        kind="visitor", id="", cluster_id="", renew_at=0, ends_at=0, authority_pem=authority_of(s.data).pem,
        certificate_pem=visitor.CERTIFICATE.decode(), key_pem=visitor.KEY.decode(),
    )  # fmt: skip


def test_what_a_stranger_sends_is_not_read(tmp_path: Path) -> None:
    """By its memory: a refused request of 60 MB leaves no trace in it, whether the call has one request or a stream of them."""

    async def act() -> None:
        async with process(tmp_path / "m", secure=True) as running:
            assert running.process is not None
            status = Path(f"/proc/{running.process.pid}/status")
            scene = Scene(Manager(running.address, None), running.data)  # type: ignore[arg-type]
            large = types_pb2.AppSpec(name="x" * 60_000_000)
            hello = dispatch_pb2.AgentMessage(hello=dispatch_pb2.Hello(node_id="y" * 60_000_000))

            async def endless() -> AsyncIterator[dispatch_pb2.AgentMessage]:
                while True:
                    yield hello

            async def connect_endlessly(connection: grpc.aio.Channel) -> None:
                async for _ in dispatch_pb2_grpc.DispatchServiceStub(connection).Connect(endless(), timeout=20):
                    break

            before = _peak_bytes(status)
            for call in (
                lambda c: control_pb2_grpc.ControlServiceStub(c).Apply(control_pb2.ApplyRequest(app=large), timeout=20),
                connect_endlessly,
            ):
                code, words = await scene.refused(nobody(scene), call)
                # grpc.aio does not read why where it could not say all that it wanted to; the manager counts it all the same.
                assert code in (DENIED, grpc.StatusCode.INTERNAL), words
            assert _peak_bytes(status) - before < 30_000_000
            async with channel.dial(running.address, admin_of(running.data)) as connection:
                stub = control_pb2_grpc.ControlServiceStub(connection)
                with pytest.raises(grpc.aio.AioRpcError) as caught:  # and nobody may send more than this
                    await stub.GetService(control_pb2.GetServiceRequest(app="x" * (64 << 20)), timeout=20)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert (await stub.GetCluster(control_pb2.GetClusterRequest())).refused["denied"] == 2

    asyncio.run(act())


def _peak_bytes(status: Path) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_who_asks_without_end_is_held_up_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (None, PartKind.AGENT):  # so few a second that it matters not how fast this machine asks
        monkeypatch.setitem(limits.LIMITS, kind, replace(limits.LIMITS[kind], per_s=0.01, burst=50))

    async def act(s: Scene) -> None:
        agent = await join(s.manager.address, s.token("agent"), id="id-n1")
        for identity, kind in ((nobody(s), None), (agent, PartKind.AGENT)):
            async with channel.dial(s.manager.address, identity) as connection:
                stub = identity_pb2_grpc.IdentityServiceStub(connection)
                codes = set()
                for _ in range(60):
                    try:
                        if kind is None:
                            await stub.GetAuthority(identity_pb2.GetAuthorityRequest(), timeout=30)
                        else:
                            await stub.Renew(identity_pb2.RenewRequest(), timeout=30)
                    except grpc.aio.AioRpcError as error:
                        codes.add(error.code())
                assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        cluster = await s.manager.control.GetCluster(control_pb2.GetClusterRequest())
        assert cluster.refused["limit"] > 0
        await until(_is_in_the_history(s, "agent id-n1", "calls a second"))

    play(tmp_path, act)


def test_who_connects_and_says_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [(name, 500 if name == "grpc.server_handshake_timeout_ms" else value) for name, value in channel._SERVER]
    monkeypatch.setattr(channel, "_SERVER", options)
    monkeypatch.setitem(limits.LIMITS, None, replace(limits.LIMITS[None], request_s=0.5))

    async def act(s: Scene) -> None:
        host, _, port = s.manager.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()

        async def silent() -> AsyncIterator[bytes]:
            await asyncio.sleep(60)
            yield b""

        async def join_slowly(connection: grpc.aio.Channel) -> None:
            await connection.stream_unary("/rookery.v1.IdentityService/Join")(silent(), timeout=30)

        assert await s.refused(nobody(s), join_slowly) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "the request did not come in time",
        )

    play(tmp_path, act)


def test_ten_thousand_half_open_connections(tmp_path: Path) -> None:
    """As many of them as this process may have files, towards a manager that is another one."""

    async def act() -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        async with process(tmp_path / "m", secure=True) as running:
            host, _, port = running.address.rpartition(":")
            sockets: list[socket.socket] = []
            try:
                async with channel.dial(running.address, admin_of(running.data)) as connection:
                    stub = control_pb2_grpc.ControlServiceStub(connection)
                    for number in range(min(10_000, most - 500)):
                        half = socket.socket()
                        half.setblocking(False)
                        half.connect_ex((host, int(port)))
                        sockets.append(half)
                        if number % 500 == 0:
                            await stub.GetCluster(control_pb2.GetClusterRequest(), timeout=60)
                    for _ in range(10):
                        await stub.GetCluster(control_pb2.GetClusterRequest(), timeout=60)
                async with channel.dial(running.address, admin_of(running.data)) as connection:  # and a new one
                    stub = control_pb2_grpc.ControlServiceStub(connection)
                    await stub.GetCluster(control_pb2.GetClusterRequest(), timeout=60, wait_for_ready=True)
            finally:
                for half in sockets:
                    half.close()

    asyncio.run(act())


def test_half_open_connections_and_nonsense_change_nothing(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        host, _, port = s.manager.address.rpartition(":")
        open_ones = []
        try:
            for number in range(300):  # this process has both ends of them
                _, writer = await asyncio.open_connection(host, int(port))
                open_ones.append(writer)
                if number % 3 == 0:
                    writer.write(b"\x16\x03\x01\xff\xff" + bytes(60_000))
                elif number % 3 == 1:
                    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            for _ in range(20):
                await s.manager.control.GetCluster(control_pb2.GetClusterRequest(), timeout=10)
        finally:
            for writer in open_ones:
                writer.close()

    play(tmp_path, act)


def test_renewals_drop_no_stream_and_who_does_not_renew_is_out(tmp_path: Path) -> None:
    async def act(s: Scene) -> None:
        identity = await join(s.manager.address, s.token("agent"), id="id-n1")
        idle = await join(s.manager.address, s.token("agent"), id="id-n2")
        async with (
            FakeAgent(s.manager.address, "n1", identity=identity) as kept,
            FakeAgent(s.manager.address, "n2", identity=idle) as left,
        ):
            for _ in range(7):  # beyond the end of the first certificate
                identity = await renew(s.manager.address, identity)
                kept.identity = identity
                await asyncio.sleep(1.0)
            await until(lambda: left.refused != "")
            assert kept.sets_received == 1, "its stream went on"
            assert not kept.refused

    play(tmp_path, act, "--certificate-life", "5")


def test_a_manager_that_can_not_keep_its_authority_says_so_and_changes_nothing(tmp_path: Path) -> None:
    async def started(data: Path) -> str:
        with pytest.raises(Stop) as caught:
            async with manager(data, secure=True):
                pass
        return str(caught.value)

    async def main() -> None:
        async with manager(tmp_path / "m", secure=True):
            pass
        key, certificate = tmp_path / "m" / "ca" / "ca-key.pem", tmp_path / "m" / "ca" / "ca.pem"
        good = key.read_text()
        for text, mode, words in (
            (good[:80], 0o600, "the certificate authority is damaged"),
            (visitor.KEY.decode(), 0o600, "the certificate is not that of the key; put back a copy of both"),
            (good, 0o644, "others than its owner can read it"),
        ):
            key.write_text(text)
            key.chmod(mode)
            told = await started(tmp_path / "m")
            assert words in told
            assert str(key.parent) in told
            assert key.read_text() == text
        key.chmod(0o600)
        made = certificate.read_text()
        (tmp_path / "m" / "ca" / "before.pem").write_text("began: 1\nnonsense")
        assert "the certificate authority is damaged" in await started(tmp_path / "m")
        (tmp_path / "m" / "ca" / "before.pem").unlink()
        async with manager(tmp_path / "m", secure=True):
            assert certificate.read_text() == made
        (tmp_path / "m" / "ca").rename(tmp_path / "m" / "kept")
        (tmp_path / "m" / "ca").write_text("")  # as root, this is what can't be written
        assert str(tmp_path / "m" / "ca") in await started(tmp_path / "m")

    asyncio.run(main())


@pytest.mark.parametrize(("off_s", "words"), [(-7200.0, "s behind the manager's"), (7200.0, "s ahead of the manager's")])
def test_a_clock_that_is_wrong_is_told_of_and_does_no_harm(
    tmp_path: Path, off_s: float, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(s: Scene) -> None:
        real = time.time
        with monkeypatch.context() as patched:
            patched.setattr("rookery.identity.join.time", SimpleNamespace(time=lambda: real() + off_s))
            identity = await join(s.manager.address, s.token("agent"), id="id-n1")
        assert words in caplog.text
        assert abs(identity.ends_at - off_s - real() - 86_400) < 60  # by its own clock
        async with FakeAgent(s.manager.address, "n1", identity=identity):
            await until(_has_node(s, "n1"))

    play(tmp_path, act)
