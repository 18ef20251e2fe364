"""Certificates that come from the manager, and challenges that the proxy answers itself."""

import asyncio
import dataclasses
import ssl
from pathlib import Path

import pytest
from pem import Authority
from proxy_rig import Backend, Rig, answering, ask_once, endpoint, free_port, rig, route, wait_until
from rookery.model import HttpRules, Redirect, Route, RouteTable, ServedCertificate
from rookery.v1.routing_pb2 import Certificates, RoutingMessage
from rookery.wire import encode
from rookery_proxy.certificates import tls_faults
from rookery_proxy.managed import Managed
from rookery_proxy.table import build

HOST = "shop.example.org"


def sent(authority: Authority, host: str = HOST, digest: str = "1") -> ServedCertificate:
    chain, key = authority.issue(host)
    return ServedCertificate(host=host, digest=digest, pem=chain + key)


def give(r: Rig, *puts: ServedCertificate, hosts: tuple[str, ...] = (HOST,)) -> None:
    r.routing.send(RoutingMessage(certificates=Certificates(puts=[encode(put) for put in puts], hosts=hosts)))


def asking(port: int, *, host: str = HOST) -> Route:
    return dataclasses.replace(route(port, host=host), tls=True, acme=True)


async def number(port: int, authority: Authority, host: str = HOST) -> str:
    """Of the certificate that a client is shown; empty where it gets no connection."""
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=ssl.create_default_context(cafile=authority.path), server_hostname=host
        )
    except (OSError, ssl.SSLError):
        return ""
    found: str = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
    writer.close()
    return found


async def shown(port: int, authority: Authority, *, other_than: str) -> str:
    async with asyncio.timeout(15):
        while True:
            found = await number(port, authority)
            if found != other_than:
                return found
            await asyncio.sleep(0.02)


def test_they_are_served_renewed_kept_over_a_restart_and_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        port, authority = free_port(), Authority(tmp_path)
        async with rig(workers=2) as r:
            await r.serve(asking(port))
            why = "the manager has sent no certificate yet, so nobody can connect"
            await wait_until(lambda: (port, why) in r.routing.listener_errors, "the fault is told")
            assert await number(port, authority) == ""
            give(r, sent(authority))
            first = await shown(port, authority, other_than="")
            await wait_until(lambda: not r.routing.listener_errors, "the fault is gone")
            give(r, sent(authority, digest="2"))
            second = await shown(port, authority, other_than=first)
            await r.routing.stop()
            await r.proxy.stop()
            await r.proxy.start()
            assert await shown(port, authority, other_than="") == second
            known = len(r.routing.reports)
            await r.routing.start()
            await r.routing.wait(lambda: len(r.routing.reports) > known, "it follows again")
            give(r, hosts=())
            assert await shown(port, authority, other_than=second) == ""

    asyncio.run(main())


def test_a_challenge_is_answered_on_a_port_that_others_have_and_on_one_of_its_own(tmp_path: Path) -> None:  # noqa: ARG001
    async def main() -> None:
        shared, own, path = free_port(), free_port(), "/.well-known/acme-challenge/t0ken"
        async with rig() as r, Backend(answering(b"the app")) as backend:
            app = route(shared, endpoint("r1", backend.port))
            sends_on = dataclasses.replace(
                route(shared, host=HOST, name="shop/http"), rules=HttpRules(redirect=Redirect(scheme="https"))
            )
            challenges = [
                dataclasses.replace(route(port, host=HOST, path=path, name=f"@acme/{port}"), answer="t0ken.key")
                for port in (shared, own)
            ]
            await r.serve(app, sends_on, *challenges)
            for port in (shared, own):
                status, headers, body = await ask_once(port, path, headers=f"Host: {HOST}\r\n")
                assert (status, body.strip(), headers["content-type"]) == (200, b"t0ken.key", "text/plain; charset=utf-8")
            assert (await ask_once(shared, "/", headers=f"Host: {HOST}\r\n"))[0] == 308
            assert (await ask_once(shared, path, headers="Host: other\r\n"))[2] == b"the app"
            await r.change(removes=tuple(challenge.id for challenge in challenges))
            assert (await ask_once(shared, path, headers=f"Host: {HOST}\r\n"))[0] == 308

    asyncio.run(main())


def test_what_is_no_certificate_leaves_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path)
    managed = Managed(tmp_path / "certificates")
    assert managed.take([sent(authority)], [HOST])
    before = managed.certificates
    assert not managed.take([ServedCertificate(host=HOST, digest="2", pem=b"nonsense")], [HOST])
    assert not managed.take([dataclasses.replace(sent(authority), host="../etc")], [HOST])
    assert managed.certificates == before
    assert "can't be served" in caplog.text
    assert "'../etc', which is no host" in caplog.text
    again = Managed(tmp_path / "certificates")
    again.load()
    assert [one.names for one in again.certificates] == [(HOST,)]
    assert not again.take([], [HOST])
    (found,) = (tmp_path / "certificates").glob("*.pem")
    assert found.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("hosts", "has_any", "expected"),
    [
        ((HOST,), False, ["the manager has sent no certificate yet, so nobody can connect"]),
        ((HOST,), True, []),
        ((HOST, "www.example.org"), True, ["the manager has not sent a certificate yet for www.example.org; clients are shown"]),
    ],
)
def test_what_is_in_the_way_is_said(tmp_path: Path, hosts: tuple[str, ...], has_any: bool, expected: list[str]) -> None:
    managed = Managed(tmp_path / "certificates")
    if has_any:
        managed.take([sent(Authority(tmp_path))], hosts)
    table = build(RouteTable(version=1, routes=tuple(asking(443, host=host) for host in hosts)))
    found = [why for _, why in tls_faults(table, None, 0.0, managed.certificates)]
    assert len(found) == len(expected)
    assert all(why.startswith(said) for why, said in zip(found, expected, strict=True))
