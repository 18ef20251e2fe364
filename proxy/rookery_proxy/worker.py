"""A worker process: serves the ports it is given from the table it is given, and counts.

Runs one readiness loop and imports no gRPC. Invariant: it lives no longer than the supervising process.
"""

import argparse
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
from dataclasses import replace

from rookery.process import configure_log

from rookery_proxy.access import AccessLog, Format
from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.control import Applied, Change, Channel, Count, Drain, Held, Listen, Message, Replace, Secure, Unlisten
from rookery_proxy.detect import welcome
from rookery_proxy.herald import Herald
from rookery_proxy.loop import IN, OUT, Loop
from rookery_proxy.probe import KNOCK_S, Prober
from rookery_proxy.rules import address_of
from rookery_proxy.settings import Here, Limits, Marks
from rookery_proxy.table import advance, build
from rookery_proxy.tls import Handshake, Keyrings
from rookery_proxy.wire import Wire

_ACCEPTS_AT_ONCE = 32
_SWEEP_S = 0.25
_SWEEPS_OF_ALL = 4

log = logging.getLogger(__name__)


class Acceptor:
    """Takes the connections of one listening socket."""

    def __init__(self, context: Context, sock: socket.socket, listener: LiveListener, spare: "Spare", keyrings: Keyrings) -> None:
        self._context = context
        self._keyrings = keyrings
        self._spare = spare
        self.sock = sock
        self.listener = listener
        sock.setblocking(False)
        context.loop.watch(sock, IN, self)

    def on_event(self, mask: int) -> None:  # noqa: ARG002
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, peer = self.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._spare.refuse_one(self.sock)
                    return
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._greet(Wire(self._context.loop, sock, _NOBODY), peer[0])

    def _greet(self, wire: Wire, peer: str) -> None:
        context, listener = self._context, self.listener
        if context.announced_from:
            address = address_of(peer.encode("ascii", "replace"))
            if address is not None and any(address in network for network in context.announced_from):
                Herald(context, listener, wire, peer, self._admit)
                return
        self._admit(wire, peer)

    def _admit(self, wire: Wire, peer: str) -> None:
        """Serves a connection whose client is known, by TLS where the port asks for that."""
        context, listener = self._context, self.listener
        if not listener.tls:
            welcome(context, listener, wire, peer)
            return
        sock = None
        with contextlib.suppress(OSError):
            sock = wire.secure(self._keyrings.of(listener.protocol).wrap)
        if sock is None or len(listener.connections) >= context.limits.connections:
            wire.close()
            return
        Handshake(context, listener, wire, sock, lambda wire: welcome(context, listener, wire, peer))

    def abort(self) -> None:
        """An error with one connection does not end the port; the end of the loop closes it with the process."""

    def close(self) -> None:
        """Takes what waits already, then listens no more."""
        self.on_event(IN)
        self._context.loop.discard(self.sock)


class Spare:
    """A descriptor kept for when there is none left: what waits would then wake the loop for ever."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._fd = _open_null()
        self._said_at = float("-inf")

    def refuse_one(self, listening: socket.socket) -> None:
        """Lets one connection in and closes it at once."""
        if self._fd is not None:
            os.close(self._fd)
            with contextlib.suppress(OSError):
                listening.accept()[0].close()
        self._fd = _open_null()
        if self._loop.now - self._said_at > 10.0:
            self._said_at = self._loop.now
            log.error("no file descriptors left: new connections are refused; raise the limit of open files (ulimit -n)")


class _Nobody:
    """Owns a wire until `welcome` has found its owner."""

    def on_input(self) -> None: ...
    def on_drained(self) -> None: ...
    def on_lost(self) -> None: ...
    def on_connected(self) -> None: ...
    def on_refused(self, why: str) -> None: ...


_NOBODY = _Nobody()


class Worker:
    def __init__(self, context: Context, channel: Channel) -> None:
        loop = self._loop = context.loop
        self._channel = channel
        self._context = context
        self._keyrings = Keyrings()
        self._acceptors: dict[int, Acceptor] = {}
        self._spare = Spare(loop)
        self._sweeps = 0
        self._winding: list[LiveListener] = []  # ports that are gone, with connections left
        loop.watch(channel.sock, IN, self)
        loop.every(_SWEEP_S, self._sweep)
        self._context.holding.on_wait = self._tell_held
        loop.every(KNOCK_S, Prober(self._context).knock)

    def on_event(self, mask: int) -> None:
        if mask & OUT:
            self._channel.flush()
        if mask & ~OUT:
            for message in self._channel.receive():
                self._obey(message)
        if self._channel.closed:
            self._loop.stop()
            return
        self._watch_channel()

    def abort(self) -> None:
        self._loop.stop()

    def _obey(self, message: Message) -> None:
        balance = self._context.balance
        match message:
            case Replace(table=table):
                self._apply_listeners_of(dict(balance.listeners))
                balance.apply(build(table))
                self._channel.send(Applied(version=table.version))
            case Change(from_version=before, to_version=after, puts=puts, removes=removes):
                self._apply_listeners_of(dict(balance.listeners))
                advanced = advance(balance.table, before, after, puts, removes)
                balance.apply(advanced, {route.id for route in puts} | set(removes))
                self._channel.send(Applied(version=after))
            case Listen(port=port):
                sock = self._channel.take_socket()
                listener = balance.listeners.get(port)
                if listener is None:
                    sock.close()
                    return
                if port in self._acceptors:
                    self._acceptors.pop(port).close()
                self._acceptors[port] = Acceptor(self._context, sock, listener, self._spare, self._keyrings)
            case Secure(certificates=certificates):
                self._keyrings.take(certificates)
            case Unlisten(port=port):
                acceptor = self._acceptors.pop(port, None)
                if acceptor is not None:
                    acceptor.close()
            case Count(changes=changes):
                figures = balance.changes() if changes else balance.figures()
                connections = sum(len(listener.connections) for listener in self._listeners())
                self._channel.send(replace(figures, connections=connections))
            case Drain(timeout_s=timeout_s):
                self._drain(timeout_s)
            case _:
                log.error("a message that is not for workers: %r", message)

    def _tell_held(self) -> None:
        self._channel.send(Held())
        self._watch_channel()

    def _watch_channel(self) -> None:
        self._loop.change(self._channel.sock.fileno(), IN | OUT if self._channel.waiting else IN)

    def _apply_listeners_of(self, before: dict[int, LiveListener]) -> None:
        """Remembers the ports of the table before, whose connections may outlive them."""
        known = {id(listener) for listener in self._winding}
        self._winding += [listener for listener in before.values() if id(listener) not in known]

    def _listeners(self) -> list[LiveListener]:
        live = list(self._context.balance.listeners.values())
        known = {id(listener) for listener in live}
        self._winding = [listener for listener in self._winding if listener.connections and id(listener) not in known]
        return live + self._winding

    def _sweep(self) -> None:
        now = self._loop.now
        for listener in self._listeners():
            for connection in [c for c in listener.connections if c.deadline < now]:
                connection.expire()
        self._sweeps += 1
        if self._sweeps % _SWEEPS_OF_ALL == 0:
            self._context.balance.sweep(now, now - self._context.limits.upstream_idle_s)

    def _drain(self, timeout_s: float) -> None:
        self._context.draining = True
        for acceptor in self._acceptors.values():
            acceptor.close()
        self._acceptors.clear()
        self._context.holding.close(self._context.balance.routes.values())
        self._loop.after(timeout_s, self._loop.stop)
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        left = [connection for listener in self._listeners() for connection in listener.connections]
        if not left:
            self._loop.stop()
            return
        for connection in left:
            connection.wind_down()
        self._loop.after(0.05, self._end_when_idle)


def _open_null() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="rookery-proxy-worker", description="A worker process of rookery-proxy, which starts it."
    )
    parser.add_argument("--control", type=int, required=True, help="descriptor of the socket to the supervising process")
    parser.add_argument("--most-connections", type=int, required=True)
    parser.add_argument("--head-timeout", type=float, required=True)
    parser.add_argument("--idle-timeout", type=float, required=True)
    parser.add_argument("--access-log", default="")
    parser.add_argument("--access-log-format", default=Format.JSON)
    parser.add_argument("--node", default="")
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--request-ids", action="store_true")
    parser.add_argument("--forwarded", action="store_true")
    parser.add_argument("--announced-from", action="append", default=[])
    parser.add_argument("--log-level", default="info")
    options = parser.parse_args()
    configure_log("proxy", level=options.log_level)
    # Signals of the terminal go to the whole group; when to end is the supervising process's word.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    loop = Loop()
    limits = Limits(connections=options.most_connections, head_s=options.head_timeout, idle_s=options.idle_timeout)
    access = AccessLog(loop, options.access_log, Format(options.access_log_format)) if options.access_log else None
    labels = dict(label.split("=", 1) for label in options.label)
    here = Here(node=options.node, labels=labels, share=options.share)
    announced_from = tuple(options.announced_from)
    marks = Marks(request_ids=options.request_ids, forwarded=options.forwarded, announced_from=announced_from)
    Worker(Context(loop, limits, access, here, marks), Channel(socket.socket(fileno=options.control)))
    gc.collect()
    gc.freeze()
    loop.run()
    if access is not None:
        access.flush()
    os._exit(0)  # to free a large table, object by object, takes seconds in which the supervising process waits


if __name__ == "__main__":
    main()
