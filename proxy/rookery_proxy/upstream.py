"""A connection to an endpoint that speaks HTTP/1: sends one request at a time, checks the answer, hands it to whoever asked.

Invariant: nothing of an answer is handed on before its head was checked, and a connection is pooled only after an answer that
ended exactly where its framing said, to a request that was sent whole.
"""

import socket
from typing import Protocol

from rookery_proxy.answer import Answer, parse_answer
from rookery_proxy.balance import Context
from rookery_proxy.body import Chunks
from rookery_proxy.head import CHUNKED, MAX_HEAD_BYTES, UNTIL_CLOSE, Refusal, has_odd_line_end
from rookery_proxy.health import took_connection
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.wire import HIGH_WATER_BYTES, Wire

_MOST_INTERIM_ANSWERS = 16
_MOST_KEPT_BYTES = 1024  # of an answer's head, for the next one that is the same


class Asker(Protocol):
    """Who waits for an answer. A method that returns False has given the connection up."""

    method: bytes
    minor: int  # of the asker's HTTP version
    sent_whole: bool  # the request

    def connected(self) -> None: ...

    def connect_failed(self, unsent: bytes) -> None: ...

    def interim(self, head: bytes) -> None:
        """A 1xx answer."""

    def begin(self, answer: Answer, body: bytes) -> int:
        """The answer's head and what came of its body with it. Returns how many bytes wait to be taken."""

    def more(self, body: bytes) -> int:
        """More of the body. Returns how many bytes wait to be taken."""

    def end(self) -> None:
        """The answer is complete."""

    def switch(self, answer: Answer, rest: bytes) -> None:
        """101: the connection is the asker's from now on, with what came after the head."""

    def broken(self, refusal: Refusal, *, answered: bool, untouched: bool) -> None:
        """There is no (whole) answer. `untouched`: not a byte of one came before the connection ended."""

    def sent(self) -> None:
        """All that was written of the request is on its way."""


class Upstream:
    __slots__ = (
        "_answer", "_asker", "_buffer", "_chunks", "_context", "_interim", "_left", "endpoint", "fresh", "idle_since", "wire",
    )  # fmt: skip

    def __init__(self, context: Context, endpoint: LiveEndpoint, sock: socket.socket, asker: Asker) -> None:
        self._context = context
        self.endpoint = endpoint
        self._asker: Asker | None = asker
        self._answer: Answer | None = None
        self._buffer = b""
        self._chunks: Chunks | None = None
        self._left = 0
        self._interim = 0
        self.fresh = True  # made for the request it has
        self.idle_since = 0.0
        self.wire = Wire(context.loop, sock, self, connecting=True)

    def reuse(self, asker: Asker) -> None:
        """Takes the connection out of idleness for another request."""
        self._asker = asker
        self._interim = 0
        self.fresh = False

    def is_stale(self) -> bool:
        return self.wire.closed or self.wire.peek_stale()

    def discard(self) -> None:
        self._asker = None
        self.wire.close()

    def on_input(self) -> None:
        data = self.wire.read()
        if data is None:
            return
        asker = self._asker
        if asker is None:  # idle: it ended, or said something that nobody asked for
            if self in self.endpoint.idle:
                self.endpoint.idle.remove(self)
            self.wire.close()
            return
        if not data:
            self._ended(asker)
            return
        endpoint = self.endpoint
        endpoint.bytes_out += len(data)
        if self._answer is not None:
            self._body(asker, data)
            return
        head, answer = endpoint.answer_head, endpoint.answer
        if answer is not None and not self._buffer and data.startswith(head) and asker.method != b"HEAD":
            try:
                self._begin(asker, answer, data[len(head) :])
            except Refusal as refusal:  # of its chunks
                self._break(asker, refusal)
        else:
            self._head(asker, self._buffer + data if self._buffer else data)

    def on_drained(self) -> None:
        if self._asker is not None:
            self._asker.sent()

    def on_lost(self) -> None:
        """The endpoint takes no more. It may have answered already: its answer is read to the end first."""
        if self._asker is None:
            self.discard()
        elif not self._answer:
            self.on_input()

    def on_connected(self) -> None:
        took_connection(self.endpoint)
        if self._asker is not None:
            self._asker.connected()

    def on_refused(self, why: str) -> None:  # noqa: ARG002 (counted per endpoint)
        self.give_up_connect()

    def give_up_connect(self) -> None:
        asker, self._asker = self._asker, None
        unsent = self.wire.take_pending()
        self.wire.close()
        if asker is not None:
            asker.connect_failed(unsent)

    def _head(self, asker: Asker, data: bytes) -> None:
        while True:
            end = data.find(b"\r\n\r\n")
            try:
                if end < 0:
                    if len(data) > MAX_HEAD_BYTES or data[:7] != b"HTTP/1."[: len(data)] or has_odd_line_end(data):
                        parse_answer(data, b"")
                        raise Refusal(502, "the head of the endpoint's answer has no end")
                    self._buffer = data
                    return
                self._buffer = b""
                head, rest = data[: end + 4], data[end + 4 :]
                answer = parse_answer(head, asker.method)
                if answer.status >= 200:
                    if asker.method != b"HEAD" and len(head) <= _MOST_KEPT_BYTES:
                        self.endpoint.answer_head, self.endpoint.answer = head, answer
                    self._begin(asker, answer, rest)
                    return
                if answer.status == 101:
                    self._asker = None
                    asker.switch(answer, rest)
                    return
                self._interim += 1
                if self._interim > _MOST_INTERIM_ANSWERS:
                    raise Refusal(502, "the endpoint sends one interim answer after the other")
            except Refusal as refusal:
                self._break(asker, refusal)
                return
            if asker.minor:
                asker.interim(answer.head)
            if not rest or self._asker is not asker:
                return
            data = rest

    def _begin(self, asker: Asker, answer: Answer, rest: bytes) -> None:
        length = answer.length
        after = b""
        if length >= 0:
            left = length - len(rest)
            if left < 0:
                rest, after, left = rest[:length], rest[length:], 0
            done = not left
        elif length == CHUNKED:
            chunks = self._chunks = Chunks(502, unwrap=asker.minor == 0)
            rest, after = chunks.feed(rest)
            left, done = CHUNKED, chunks.done
        else:
            left, done = UNTIL_CLOSE, False
        self._left = left
        self._answer = answer
        waiting = asker.begin(answer, rest)
        if done:
            self._finish(asker, answer, after)
        elif waiting > HIGH_WATER_BYTES:
            self.wire.pause()

    def _body(self, asker: Asker, data: bytes) -> None:
        after = b""
        left = self._left
        if left > 0:
            if len(data) > left:
                data, after = data[:left], data[left:]
            self._left = left = left - len(data)
            done = not left
        elif left == CHUNKED:
            assert self._chunks is not None
            try:
                data, after = self._chunks.feed(data)
            except Refusal as refusal:
                self._break(asker, refusal)
                return
            done = self._chunks.done
        else:
            done = False
        waiting = asker.more(data) if data else 0
        if done:
            assert self._answer is not None
            self._finish(asker, self._answer, after)
        elif waiting > HIGH_WATER_BYTES:
            self.wire.pause()

    def _finish(self, asker: Asker, answer: Answer, after: bytes) -> None:
        if self._asker is not asker:
            return
        self._asker = self._answer = self._chunks = None
        endpoint = self.endpoint
        if answer.keep_alive and not after and asker.sent_whole and not endpoint.gone and not self.wire.pending_bytes:
            self.idle_since = self._context.loop.now
            if self.wire.paused:
                self.wire.resume()
            endpoint.idle.append(self)
        else:
            self.wire.close()
        asker.end()

    def _ended(self, asker: Asker) -> None:
        if self._answer is not None and self._left == UNTIL_CLOSE and not self.wire.broken:
            self._finish(asker, self._answer, b"")
        elif self._answer is not None:
            self._break(asker, Refusal(502, "the endpoint closed the connection within its answer"))
        else:
            self._break(
                asker,
                Refusal(502, "the endpoint closed the connection without an answer"),
                untouched=not self._buffer and not self._interim,
            )

    def _break(self, asker: Asker, refusal: Refusal, *, untouched: bool = False) -> None:
        answered = self._answer is not None
        self._asker = None
        self.wire.close()
        asker.broken(refusal, answered=answered, untouched=untouched)
