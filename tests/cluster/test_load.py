"""The load itself: it must not count less than what goes wrong, nor more."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import load
import pytest
from load import Kind, Load

_WRONG_EVERY = 10
_KINDS = (Kind(name="keep-alive", pause_ms=2), Kind(name="per request", pause_ms=2, keep_alive=False))
_RESET = struct.pack("ii", 1, 0)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# By what the server does to every tenth request: what it sends, and whether it ends the connection then, with a reset or without.
WRONGS = {
    "no answer": (b"", "end"),
    "no answer, a reset": (b"", "reset"),
    "half an answer": (OK[:-1], "end"),
    "another status": (OK.replace(b"200 OK", b"503 No"), ""),
    "an end that was not announced": (OK, "end"),
}


@pytest.fixture(autouse=True)
def _needs_wrk() -> None:
    if load.missing():
        pytest.skip(load.missing())


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_goes_wrong_is_counted(wrong: str) -> None:
    with server(*WRONGS[wrong]) as (url, wrongs), Load([url], kinds=_KINDS, may_fail=True) as made:
        made.wait(200)
    assert len(wrongs) > 10
    assert made.failed == len(wrongs)
    assert made.results[0].reason == ("503 ok" if wrong == "another status" else "")


def test_an_end_that_was_announced_is_none_that_counts() -> None:
    announced = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
    with server(announced, "end") as (url, ends), Load([url], kinds=_KINDS) as made:
        made.wait(200)
    assert len(ends) > 10
    assert not made.failed
    assert made.whose == {"ok": made.sent}


def test_a_request_that_is_never_answered_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "ANSWERED_WITHIN_S", 0.5)
    with server(b"", "") as (url, silent), Load([url], kinds=_KINDS[:1], may_fail=True) as made:
        while len(silent) < _KINDS[0].connections:
            threading.Event().wait(0.01)
    assert made.results[0].unanswered == made.failed == _KINDS[0].connections


def test_a_wrk_that_gives_no_result_is_an_error() -> None:
    with pytest.raises(ValueError, match="gave no result"):
        load.parse("Running 1s test\n", kind="x", url="http://x")


@contextmanager
def server(answer: bytes, then: str) -> Iterator[tuple[str, list[int]]]:
    """A server on loopback that treats every tenth request so; its URL, and one entry for each of those."""
    wrongs: list[int] = []
    numbers = iter(range(1, 1_000_000))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # wrk has ended
            while request := connection.recv(4096):
                assert request.endswith(b"\r\n\r\n")
                number = next(numbers)
                if number % _WRONG_EVERY:
                    connection.sendall(OK)
                    continue
                wrongs.append(number)
                if then == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                if answer:
                    connection.sendall(answer)
                if then:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", wrongs
        listening.shutdown(socket.SHUT_RDWR)
