"""Certificates by ACME with a real authority (Pebble), manager and proxy: had, served, renewed while connections go on, and every
trouble with a reason. Routes redirect here, so that no agent is needed."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from fake_proxy import FakeProxy
from manager_process import Process, process
from pebble import Pebble, needs_pebble
from ports import free_port
from proxy_rig import Proxy
from rookery.client import AsyncClient, ClientError
from rookery.model import AppSpec, CertificateStatus, ContainerSpec, HttpRoute, HttpRules, Redirect, ServiceSpec

PATIENCE_S = 60.0
HOST = "shop.example.org"
LEASE = ("--heartbeat", "0.1", "--lease", "1")


def app(port: int, *hosts: str, acme: bool = True) -> AppSpec:
    rules = HttpRules(redirect=Redirect(scheme="https", host="www.example.org"))
    routes = tuple(HttpRoute(target=0, host=host, published=port, tls=True, acme=acme, rules=rules) for host in hosts)
    return AppSpec(name="shop", services=(ServiceSpec(name="web", container=ContainerSpec(image="none"), routes=routes),))


def flags(authority: Pebble, http_port: int) -> list[str]:
    return [
        "--acme-agree-terms", "--acme-directory", authority.url, "--acme-ca", str(authority.ca_file),
        "--acme-http-port", str(http_port), "--acme-email", "ops@example.org", "--snapshot-every", "0", *LEASE,
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def proxy_at(address: str, data: Path) -> AsyncIterator[Proxy]:
    await asyncio.to_thread(data.mkdir)
    made = Proxy(address, data, workers=1)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        assert "Traceback" not in made.log()


async def until(condition: Callable[[], Awaitable[bool]], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(ClientError, OSError):
            if await condition():
                return
        assert time.monotonic() < deadline, told()
        await asyncio.sleep(0.05)


async def status(client: AsyncClient) -> CertificateStatus:
    (found,) = await client.list_certificates()
    return found


async def noted(client: AsyncClient, *words: str) -> None:
    """Waits until all of that is said of the certificate."""
    said = ""

    async def is_said() -> bool:
        nonlocal said
        said = (await status(client)).note
        return all(word in said for word in words)

    await until(is_said, lambda: f"{words} in {said!r}")


async def had(client: AsyncClient, *, other_than: str = "") -> CertificateStatus:
    """Waits until there is a certificate, or another one than that."""
    found: CertificateStatus | None = None

    async def is_there() -> bool:
        nonlocal found
        found = await status(client)
        return found.certificate.digest not in ("", other_than) and found.certificate.order is None

    await until(is_there, lambda: str(found))
    assert found is not None
    return found


async def orders(client: AsyncClient) -> int:
    events = await client.list_events(HOST, limit=1000)
    return sum(event.why.startswith("ordered") for event in events)


def connect(port: int, root: str) -> ssl.SSLSocket:
    """A client's connection that trusts the authority's root alone."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    return ssl.create_default_context(cadata=root).wrap_socket(raw, server_hostname=HOST)


def ask(connection: ssl.SSLSocket) -> str:
    """Asks on it; the certificate that it is served with, by its number."""
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536) or b"the connection ended\r\n\r\n"
    assert head.startswith(b"HTTP/1.1 308 "), head
    certificate = connection.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


async def served(port: int, root: str, *, other_than: str = "") -> str:
    """Waits until new connections get a certificate, or another one than that; its number."""
    found = ""

    async def is_served() -> bool:
        nonlocal found
        with connect(port, root) as connection:
            found = ask(connection)
        return found != other_than

    await until(is_served, lambda: f"still {found!r}")
    return found


@needs_pebble
def test_it_is_had_served_and_renewed_while_connections_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        http_port, port = free_port(), free_port()
        # A quarter of all nonces is refused, which an authority may always do.
        with Pebble(tmp_path / "pebble", http_port=http_port, reject_percent=25) as authority:
            root = authority.root()
            async with (
                process(tmp_path / "m", *flags(authority, http_port)) as manager,
                AsyncClient(manager.address, insecure=True) as client,
            ):
                await client.apply(app(port, HOST))
                await noted(client, "no proxy is connected")
                async with proxy_at(manager.address, tmp_path / "p") as proxy:
                    first = await had(client)
                    assert first.services == ("shop/web",)
                    assert first.certificate.issuer.startswith("Pebble")
                    assert not first.note
                    number = await served(port, root)
                    with connect(port, root) as old:
                        assert ask(old) == number
                        await client.renew_certificate(HOST)
                        await had(client, other_than=first.certificate.digest)
                        assert await served(port, root, other_than=number) != number
                        assert ask(old) == number
                    # A proxy that was restarted serves it without a manager; a manager that was, orders nothing again.
                    await manager.kill()
                    await proxy.stop()
                    await proxy.start()
                    assert await served(port, root, other_than=number) != number
                    await manager.start()
                    assert not (await had(client)).note
                    assert await orders(client) == 2
                    # Nobody asks for it any more, and then somebody does again.
                    await client.remove_app("shop")
                    await until(lambda: _is_gone(client), lambda: "the app is there still")
                    assert (await status(client)).services == ()
                    await client.apply(app(port, HOST))
                    await served(port, root)
                    assert await orders(client) == 2
                    _nothing_in_plain_text(tmp_path / "m")

    asyncio.run(main())


async def _is_gone(client: AsyncClient) -> bool:
    return not await client.list_apps()


def _nothing_in_plain_text(data: Path) -> None:
    for path in data.glob("store.db*"):
        assert b"PRIVATE KEY" not in path.read_bytes()


@needs_pebble
def test_a_manager_that_was_killed_in_the_middle_goes_on_with_its_order(tmp_path: Path) -> None:
    async def main() -> None:
        http_port, port = free_port(), free_port()
        with Pebble(tmp_path / "pebble", http_port=http_port) as authority:
            root = authority.root()
            async with (
                process(tmp_path / "m", *flags(authority, http_port)) as manager,
                AsyncClient(manager.address, insecure=True) as client,
            ):
                async with FakeProxy(manager.address) as idle:
                    idle.holds = True  # it never acknowledges, so the authority is never told to look
                    await client.apply(app(port, HOST))
                    await noted(client, "it is on its way", "proxy p1 has not acknowledged version")
                    begun = (await status(client)).certificate.order
                    assert begun is not None
                    assert f"/{HOST}:{http_port}" in "".join(idle.routes)
                    await manager.kill()
                await manager.start()
                async with proxy_at(manager.address, tmp_path / "p"):
                    await had(client)
                    await served(port, root)
                    assert await orders(client) == 1
                    assert f"for order {begun.url.rpartition('/')[2]}" in authority.log()

    asyncio.run(main())


@needs_pebble
def test_an_authority_that_is_away_or_sees_no_proof_is_named_with_the_next_attempt(tmp_path: Path) -> None:
    async def main() -> None:
        http_port, port = free_port(), free_port()
        authority = Pebble(tmp_path / "pebble", http_port=free_port())  # where nobody answers
        async with (
            process(tmp_path / "m", *flags(authority, http_port)) as manager,
            AsyncClient(manager.address, insecure=True) as client,
            proxy_at(manager.address, tmp_path / "p"),
        ):
            await client.apply(app(port, HOST))
            await noted(client, "there is none yet", "can't be reached: no connection", "tried again in")
            detail = await client.get_service("shop", "web")
            assert any(f"certificate of {HOST}: there is none yet" in why for why in detail.status.unserved)
            assert any("the manager has sent no certificate yet" in why for why in detail.status.unserved)
            with authority:
                await client.renew_certificate(HOST)
                await noted(client, "the host was not proven", "connection refused", "tried again in")
                failed = await status(client)
                assert failed.certificate.order is None
                assert failed.certificate.retry_at > failed.certificate.failed_at
                await _restart_with(manager, flags(authority, http_port))
                assert (await status(client)).certificate.retry_at == failed.certificate.retry_at

    asyncio.run(main())


async def _restart_with(manager: Process, flags: list[str]) -> None:
    await manager.kill()
    manager.flags = [*flags, "--insecure"]
    await manager.start()


def test_what_can_not_be_had_is_refused_with_the_way_out(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with process(tmp_path / "m", *LEASE) as manager, AsyncClient(manager.address, insecure=True) as client:
            with pytest.raises(ClientError, match="start it with --acme-agree-terms"):
                await client.apply(app(port, HOST))
            await _restart_with(manager, ["--acme-agree-terms", *LEASE])
            for host, why in [
                ("*.example.org", "can't be had by HTTP-01"),
                ("10.0.0.1", "is an address"),
                ("", "name it with `host`"),
                ("shop.internal", "no public authority issues for it"),
                ("shop", "no public authority issues for it"),
            ]:
                with pytest.raises(ClientError, match=why):
                    await client.apply(app(port, host))
            with pytest.raises(ClientError, match="no certificate"):
                await client.renew_certificate("nobody.example.org")
            await client.apply(app(port, "shop.internal", acme=False))
            assert await client.list_certificates() == ()

    asyncio.run(main())
