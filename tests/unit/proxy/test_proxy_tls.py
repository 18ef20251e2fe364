"""TLS towards clients: certificates from files by name, read anew while connections go on; HTTP and WebSocket over it."""

import asyncio
import contextlib
import dataclasses
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pem import Authority
from proxy_rig import Backend, Http, Rig, answering, ask_once, endpoint, free_port, rig, route, wait_until
from rookery.model import HttpRules, Redirect, Route
from rookery_proxy.announce import header
from rookery_proxy.certificates import Folder, covers
from rookery_proxy.tls import context_for
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve


def secure(made: Route, **fields: Any) -> Route:
    return dataclasses.replace(made, tls=True, **fields)


def put(directory: Path, stem: str, pair: tuple[bytes, bytes]) -> None:
    """Both files, the key first: between the two they do not fit."""
    for suffix, data in ((".key", pair[1]), (".crt", pair[0])):
        new = directory / f"{stem}{suffix}.new"
        new.write_bytes(data)
        new.rename(directory / f"{stem}{suffix}")


def trusting(authority: Authority, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.path)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class Https(Http):
    def __init__(self, port: int, context: ssl.SSLContext, name: str, before: bytes = b"") -> None:
        super().__init__(port)
        self._context, self._name, self._before = context, name, before

    async def __aenter__(self) -> "Https":
        if self._before:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
            writer.write(self._before)
            await writer.start_tls(self._context, server_hostname=self._name)
            self.reader, self.writer = reader, writer
        else:
            self.reader, self.writer = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._context, server_hostname=self._name, limit=1 << 22
            )
        return self

    def certificate(self) -> dict[str, Any]:
        found: dict[str, Any] = self.writer.get_extra_info("ssl_object").getpeercert()
        return found


@contextlib.asynccontextmanager
async def shop(tmp_path: Path, *arguments: str, workers: int = 1) -> AsyncIterator[tuple[Rig, Authority, Path]]:
    """A proxy with certificates for shop.example and everything below it."""
    directory = tmp_path / "certificates"
    directory.mkdir()
    authority = Authority(tmp_path)
    put(directory, "shop", authority.issue("shop.example", "*.shop.example"))
    async with rig("--certificates", str(directory), *arguments, workers=workers) as r:
        yield r, authority, directory


def test_requests_and_answers_of_any_size_go_through(tmp_path: Path) -> None:
    async def main() -> None:
        port, body = free_port(), os.urandom(3_000_000)
        async with shop(tmp_path, "--forwarded") as (r, authority, _), Backend(answering(body)) as backend:
            await r.serve(secure(route(port, endpoint("a", backend.port))))
            async with Https(port, trusting(authority, "h2", "http/1.1"), "shop.example") as client:
                assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
                assert (await client.ask())[2] == body
                assert (await client.ask(method="POST", body=body))[2] == body
                assert (await client.ask(headers="Connection: close\r\n"))[2] == body
                assert await client.ended()  # in order: cut off, it would be an error here
            head = bytes(backend.received[0][:400]).decode("latin-1")
            assert "X-Forwarded-Proto: https\r\n" in head
            assert "proto=https\r\n" in head

    asyncio.run(main())


def test_many_clients_at_once_on_several_workers(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with shop(tmp_path, workers=2) as (r, authority, _), Backend(answering(b"x" * 40_000)) as backend:
            await r.serve(secure(route(port, endpoint("a", backend.port))))
            context = trusting(authority)

            async def client() -> None:
                async with Https(port, context, "shop.example") as client:
                    for _ in range(5):
                        assert len((await client.ask())[2]) == 40_000

            await asyncio.gather(*(client() for _ in range(30)))

    asyncio.run(main())


def test_a_client_is_shown_the_certificate_of_the_name_it_asks_for(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with shop(tmp_path) as (r, authority, directory), Backend(answering()) as backend:
            chain, key = authority.issue("blog.example")
            (directory / "blog.pem").write_bytes(chain + key)
            every = [secure(route(port, endpoint("a", backend.port), host=host)) for host in ("", "blog.example")]
            await r.serve(*every)
            await r.routing.wait(lambda: not r.routing.listener_errors, "there is one for blog.example")
            for name, first in (
                ("blog.example", "blog.example"),
                ("a.shop.example", "shop.example"),
                ("SHOP.example", "shop.example"),
            ):
                async with Https(port, trusting(authority), name) as client:
                    assert client.certificate()["subjectAltName"][0] == ("DNS", first)
                    assert (await client.ask())[0] == 200
            with pytest.raises(ssl.SSLCertVerificationError):  # it is shown the first one
                async with Https(port, trusting(authority), "other.example"):
                    pass

    asyncio.run(main())


def test_a_new_certificate_is_taken_over_and_open_connections_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with shop(tmp_path, workers=2) as (r, authority, directory), Backend(answering()) as backend:
            await r.serve(secure(route(port, endpoint("a", backend.port))))
            async with Https(port, trusting(authority), "shop.example") as old:
                serial = old.certificate()["serialNumber"]
                put(directory, "shop", authority.issue("shop.example"))

                async def renewed() -> bool:
                    async with Https(port, trusting(authority), "shop.example") as client:
                        assert (await client.ask())[0] == 200  # at every moment
                        return bool(client.certificate()["serialNumber"] != serial)

                deadline = time.monotonic() + 60
                streak = 0
                while streak < 8:  # of both workers
                    streak = streak + 1 if await renewed() else 0
                    assert time.monotonic() < deadline
                assert (await old.ask())[0] == 200

    asyncio.run(main())


def test_what_is_wrong_with_certificates_is_told_to_the_manager_and_the_others_are_served(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with shop(tmp_path) as (r, authority, directory), Backend(answering()) as backend:
            (directory / "odd.pem").write_text("no certificate")
            (directory / "alone.crt").write_bytes(authority.issue("x.example")[0])
            put(directory, "mixed", (authority.issue("y.example")[0], authority.issue("y.example")[1]))
            put(directory, "old", authority.issue("old.example", days=-1.0))
            await r.serve(
                secure(route(port, endpoint("a", backend.port), host="shop.example")),
                secure(route(port, endpoint("a", backend.port), host="nowhere.example", name="shop/b")),
            )
            wanted = (
                "odd.pem: there is no certificate in it",
                "alone.crt: its key can't be used",
                "mixed.crt: the key does not fit the certificate",
                "old.crt: expired on ",
                "no certificate is for nowhere.example",
            )
            for text in wanted:
                await r.routing.wait(lambda text=text: any(text in why for _, why in r.routing.listener_errors), text)
            async with Https(port, trusting(authority), "shop.example") as client:
                assert (await client.ask(headers="Host: shop.example\r\n"))[0] == 200
            for name in ("odd.pem", "alone.crt", "mixed.crt", "mixed.key", "old.crt", "old.key"):
                (directory / name).unlink()
            await r.routing.wait(lambda: len(r.routing.listener_errors) == 1, "only the host without one is left")

    asyncio.run(main())


def test_without_certificates_the_port_and_the_way_out_are_named(tmp_path: Path) -> None:
    async def main() -> None:
        port, empty = free_port(), tmp_path / "empty"
        empty.mkdir()
        for arguments, why in (((), "start it with --certificates DIR"), (("--certificates", str(empty)), "nobody can connect")):
            async with rig(*arguments) as r, Backend(answering()) as backend:
                await r.serve(secure(route(port, endpoint("a", backend.port))))
                assert [(p, why in text) for p, text in r.routing.listener_errors] == [(port, True)]
                async with Http(port) as client:
                    with contextlib.suppress(ConnectionError):
                        assert await client.ended()

    asyncio.run(main())


def test_what_is_no_tls_and_old_tls_is_ended_and_harms_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with shop(tmp_path) as (r, authority, _), Backend(answering()) as backend:
            await r.serve(secure(route(port, endpoint("a", backend.port))))
            for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(3000), b"\x16\x03\x01\x02\x00" + b"x" * 512):
                async with Http(port) as client:
                    await client.send(data)
                    with contextlib.suppress(ConnectionError):
                        await asyncio.wait_for(client.reader.read(), 15)
            async with Http(port) as silent, Https(port, trusting(authority), "shop.example") as client:
                await silent.send(b"\x16")
                assert (await client.ask())[0] == 200
            assert not backend.received[1:]

    asyncio.run(main())


def test_a_proxy_header_comes_before_tls(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        arguments = ("--accept-proxy-protocol", "127.0.0.1")
        async with shop(tmp_path, *arguments) as (r, authority, _), Backend(answering()) as backend:
            await r.serve(secure(route(port, endpoint("a", backend.port))))
            said = header(2, ("192.0.2.9", 5), ("192.0.2.1", 443))
            async with Https(port, trusting(authority), "shop.example", before=said) as client:
                assert (await client.ask())[0] == 200
            assert b"X-Forwarded-For: 192.0.2.9\r\n" in backend.received[0]

    asyncio.run(main())


def test_http_is_sent_to_https_and_served_there(tmp_path: Path) -> None:
    async def main() -> None:
        plain, port = free_port(), free_port()
        async with shop(tmp_path) as (r, authority, _), Backend(answering(b"here")) as backend:
            away = HttpRules(redirect=Redirect(scheme="https", port=port))
            await r.serve(
                dataclasses.replace(route(plain, name="shop/away"), rules=away), secure(route(port, endpoint("a", backend.port)))
            )
            _, headers, _ = await ask_once(plain, "/x?y", headers="Host: shop.example\r\n")
            assert headers["location"] == f"https://shop.example:{port}/x?y"
            async with Https(port, trusting(authority), "shop.example") as client:
                assert (await client.ask("/x?y"))[2] == b"here"

    asyncio.run(main())


@pytest.mark.parametrize("tls", [False, True])
def test_websockets_of_a_real_library_go_through(tmp_path: Path, tls: bool) -> None:
    async def talk(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        port = free_port()
        async with shop(tmp_path) as (r, authority, _), serve(talk, "127.0.0.1", 0, max_size=None) as server:
            behind = next(iter(server.sockets)).getsockname()[1]
            await r.serve(dataclasses.replace(route(port, endpoint("a", behind)), tls=tls))
            scheme, how = ("wss", {"ssl": trusting(authority), "server_hostname": "shop.example"}) if tls else ("ws", {})
            async with connect(f"{scheme}://127.0.0.1:{port}/", max_size=None, **how) as client:  # type: ignore[arg-type]
                for message in ("hello", b"x" * 2_000_000, "", "ü" * 100_000):
                    await client.send(message)
                    assert await asyncio.wait_for(client.recv(), 15) == message
                await asyncio.wait_for(await client.ping(), 15)
            assert client.close_code == 1000

    asyncio.run(main())


def test_a_tunnel_over_tls_may_end_on_one_side_first(tmp_path: Path) -> None:
    """What the client says after the endpoint has ended its output is still decrypted."""

    async def upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        writer.write_eof()
        await reader.read()

    async def main() -> None:
        port = free_port()
        async with shop(tmp_path) as (r, authority, _), Backend(upgraded) as backend:
            await r.serve(secure(route(port, endpoint("a", backend.port))))
            await asyncio.to_thread(half_closed, port, trusting(authority))
            await wait_until(lambda: bytes(backend.received[0]).endswith(b"\r\n\r\nafter the end"), "what came after the end")

    def half_closed(port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), 15)
        with context.wrap_socket(plain, server_hostname="shop.example") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            said = b""
            while data := client.recv(4096):
                said += data
            assert said.startswith(b"HTTP/1.1 101 ")
            assert socket.socket.recv(client, 1, socket.MSG_PEEK) == b""  # OpenSSL drops what comes before (docs/proxy.md)
            client.sendall(b"after the end")

    asyncio.run(main())


def test_a_folder_is_read_when_it_changes_and_keeps_what_was_good(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    directory.mkdir()
    authority, folder = Authority(tmp_path), Folder(directory)
    assert not folder.look()
    put(directory, "b", authority.issue("b.example"))
    put(directory, "default", authority.issue("d.example"))
    put(directory, "a", authority.issue("*.a.example"))
    assert folder.look()
    assert [c.names for c in folder.certificates] == [("d.example",), ("*.a.example",), ("b.example",)]
    assert not folder.look()
    good = folder.certificates
    (directory / "a.key").write_bytes(authority.issue("a.example")[1])  # the first of two files is replaced
    assert not folder.look()
    assert folder.certificates == good
    assert "the key does not fit the certificate" in folder.faults(time.time())[0]
    put(directory, "a", authority.issue("a.example"))
    assert folder.look()
    assert folder.faults(time.time()) == ()
    (directory / "b.crt").unlink()
    assert folder.look()
    assert len(folder.certificates) == 2
    directory.rename(tmp_path / "away")
    assert not folder.look()
    assert len(folder.certificates) == 2
    assert f"{directory}: No such file or directory" in folder.faults(time.time())[0]
    assert "expires on" in folder.faults(time.time() + 85 * 86_400)[1]


def test_names_with_a_star_are_for_one_level(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    directory.mkdir()
    put(directory, "a", Authority(tmp_path).issue("*.a.example", "b.example"))
    folder = Folder(directory)
    folder.look()
    (certificate,) = folder.certificates
    assert [covers(certificate, host) for host in ("x.a.example", "*.a.example", "a.example", "x.y.a.example", "B.example")] == [
        True, True, False, False, True,
    ]  # fmt: skip
    one = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert context_for({"*.a.example": one}, "X.a.example.") is one
    assert context_for({"*.a.example": one}, "a.example") is None


def test_a_client_that_does_not_finish_its_handshake_is_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        port, directory = free_port(), tmp_path / "certificates"
        directory.mkdir()
        authority = Authority(tmp_path)
        put(directory, "shop", authority.issue("shop.example"))
        async with rig("--certificates", str(directory), "--head-timeout", "1") as r, Backend(answering()) as backend:
            await r.serve(dataclasses.replace(route(port, endpoint("a", backend.port)), tls=True))
            async with Http(port) as silent, Http(port) as half:
                await half.send(b"\x16\x03\x01\x02\x00\x01")  # a ClientHello that does not go on
                assert await silent.ended()
                assert await half.ended()

    asyncio.run(main())
