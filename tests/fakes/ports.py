"""Ports that nobody else takes, also where tests run side by side."""

import contextlib
import random
import socket

_RANDOM = random.SystemRandom()  # hypothesis makes the usual one begin anew, and so the same in every process


def free_port() -> int:
    """A port that nothing listens on: connections to it are refused until something does.

    Below the ports that the kernel gives to outgoing connections, one of which could take it meanwhile.
    """
    while True:
        port = _RANDOM.randrange(10_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
