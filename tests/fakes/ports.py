"""Ports that nobody else takes, also where tests run side by side."""

import contextlib
import itertools
import os
import random
import socket

# Below the ports that the kernel gives to outgoing connections, and those that agents give to plain processes.
_FIRST, _END = 10_000, 20_000


def _share() -> range:
    """Those of this process: each worker of pytest-xdist has a range of its own."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (_END - _FIRST) // workers
    return range(_FIRST + number * size, _FIRST + (number + 1) * size)


_OURS = _share()
# Not always the same first one: other runs on this machine begin elsewhere.
_NEXT = itertools.count(random.SystemRandom().randrange(len(_OURS)))


def free_port() -> int:
    """A port that nothing listens on: connections to it are refused until something does.

    It comes again only after all the others, so that two that are not in use yet are never the same.
    """
    while True:
        port = _OURS[next(_NEXT) % len(_OURS)]
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
