"""What a certificate authority may answer that is no certificate, and what becomes of it in words; by a scripted one over TLS."""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pem import Authority as Root
from rookery_manager.acme.authority import MOST_WHY, Authority, Away, Refused, Unknown, Working, new_key
from rookery_manager.acme.settings import AcmeSettings

Reply = tuple[int, dict[str, str], bytes]


class Scripted:
    """An authority that answers each POST with the next reply."""

    def __init__(self, root: Root) -> None:
        self.replies: list[Reply] = []
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say(outer.directory() or (200, {}, b"<html>no directory</html>"))

            def do_HEAD(self) -> None:
                self._say((200, {}, b""))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append(self.path)
                self._say(outer.replies.pop(0))

            def _say(self, reply: Reply) -> None:
                status, headers, body = reply
                self.send_response(status)
                for name, value in {"Replay-Nonce": "bm9uY2U", "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body if self.command != "HEAD" else b"")

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        chain, key = root.issue("localhost")
        pem = root.path.with_name("localhost.pem")
        pem.write_bytes(chain + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        self.directory: Callable[[], Reply | None] = self._directory
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _directory(self) -> Reply:
        return 200, {}, json.dumps({name: f"{self.url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}).encode()

    def problem(self, status: int, code: str, detail: str, **headers: str) -> None:
        body = json.dumps({"type": f"urn:ietf:params:acme:error:{code}", "detail": detail}).encode()
        self.replies.append((status, {"Content-Type": "application/problem+json", **headers}, body))

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


@pytest.fixture
def scripted(root: Root) -> Iterator[Scripted]:
    made = Scripted(root)
    yield made
    made.stop()


@pytest.fixture
def asked(scripted: Scripted, root: Root) -> Iterator[Authority]:
    settings = AcmeSettings(directory=f"{scripted.url}/dir", ca_file=root.path)
    made = Authority(settings, new_key(), f"{scripted.url}/account")
    yield made
    made.close()


def test_an_order_and_an_account_are_known_by_their_urls(scripted: Scripted, asked: Authority) -> None:
    scripted.replies = [(201, {"Location": f"{scripted.url}/o/1"}, b"{}"), (200, {"Location": f"{scripted.url}/a/1"}, b"{}")]
    assert asked.order("shop.example.org") == f"{scripted.url}/o/1"
    assert asked.register() == f"{scripted.url}/a/1"
    assert scripted.asked == ["/newOrder", "/newAccount"]


@pytest.mark.parametrize(("after", "wait_s"), [({"Retry-After": "7200"}, 7200.0), ({}, 0.0), ({"Retry-After": "soon"}, 0.0)])
def test_a_rate_limit_leaves_the_order_and_says_how_long(
    scripted: Scripted, asked: Authority, after: dict[str, str], wait_s: float
) -> None:
    scripted.problem(429, "rateLimited", "too many certificates already", **after)
    with pytest.raises(Refused, match=r"too many certificates already \(rateLimited\)") as refused:
        asked.order("shop.example.org")
    assert not refused.value.over
    assert refused.value.wait_s == pytest.approx(wait_s, abs=60)


def test_a_refusal_ends_the_order(scripted: Scripted, asked: Authority) -> None:
    scripted.problem(400, "rejectedIdentifier", "x\n" * 1000)
    with pytest.raises(Refused) as refused:
        asked.order("shop.example.org")
    assert refused.value.over
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 2 * MOST_WHY


def test_nonces_that_are_refused_are_tried_again(scripted: Scripted, asked: Authority) -> None:
    for _ in range(4):
        scripted.problem(400, "badNonce", "no")
    scripted.replies.append((201, {"Location": "here"}, b"{}"))
    assert asked.order("shop.example.org") == "here"


def test_an_account_that_is_not_known_any_more_is_told_apart(scripted: Scripted, asked: Authority) -> None:
    scripted.problem(400, "accountDoesNotExist", "who?")
    with pytest.raises(Unknown):
        asked.order("shop.example.org")


def test_work_that_takes_its_time_says_when_to_ask_again(scripted: Scripted, asked: Authority) -> None:
    scripted.replies = [(200, {"Retry-After": "120"}, b'{"status": "processing"}')]
    found = asked.look(f"{scripted.url}/o/1", "shop.example.org", new_key())
    assert isinstance(found, Working)
    assert found.wait_s == pytest.approx(120, abs=60)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((502, {}, b"<html>bad gateway</html>"), "status 502"),
        ((201, {}, b"{}"), "does not answer as an ACME directory does"),
        ((201, {"Replay-Nonce": "!"}, b"{}"), "does not answer as an ACME directory does"),
    ],
)
def test_what_is_no_answer_is_as_good_as_none(scripted: Scripted, asked: Authority, reply: Reply, why: str) -> None:
    scripted.replies = [reply]
    with pytest.raises(Away, match=why):
        asked.order("shop.example.org")


def test_what_is_no_directory_is_named(scripted: Scripted, asked: Authority) -> None:
    scripted.directory = lambda: None
    with pytest.raises(Away, match="/dir does not answer as an ACME directory does"):
        asked.order("shop.example.org")


def test_one_that_is_not_trusted_says_what_to_do(scripted: Scripted) -> None:
    stranger = Authority(AcmeSettings(directory=f"{scripted.url}/dir"), new_key(), "")
    with pytest.raises(Away, match="name its root with --acme-ca"):
        stranger.register()
    stranger.close()


def test_a_manager_without_acme_loads_no_library_for_it() -> None:
    script = "import sys, rookery_manager.main; print({'acme', 'josepy', 'requests'} & {n.split('.')[0] for n in sys.modules})"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
