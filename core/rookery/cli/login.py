"""The credential that `rookery login` got: joined, kept, renewed while it is used."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rookery.identity import Damaged, Identity, load, save
from rookery.identity.find import login_path


def log_in(address: str, token_text: str) -> Identity:
    """Raises BadToken, NotJoined, or OSError where it can't be kept."""
    from rookery.identity.join import join  # lazy: loads gRPC
    from rookery.identity.token import parse_token

    identity = asyncio.run(join(address, parse_token(token_text)))
    path = login_path(address)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    save(path, identity)
    return identity


def keep_login(address: str, *, now: bool = False) -> None:
    """Renews a login that is a day old, or any. One that can't be renewed now is used as it is."""
    path = login_path(address)
    with contextlib.suppress(OSError, Damaged):
        identity = load(path)
        if identity is None or time.time() >= identity.ends_at or not (now or identity.renew_at <= time.time()):
            return
        from rookery.identity.join import NotJoined, renew  # lazy: loads gRPC

        with contextlib.suppress(NotJoined):
            save(path, _run(renew(address, identity)))


def _run(work: Coroutine[Any, Any, Identity]) -> Identity:
    """The result, also where an event loop runs already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
