"""A stream that moves to another connection when the cluster's authority is replaced.

Invariant: the next connection is made, and has shaken hands, before the stream on the one before is ended: what lies between two
streams is one message there and back.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import grpc.aio

from rookery.identity.files import Identity

log = logging.getLogger("rookery.identity")

_READY_S = 10.0
_AGAIN_S = 2.0

Moved = tuple[Identity | None, grpc.aio.Channel]


class Stands(Protocol):
    """What connections are made with; `rookery.identity.standing.Standing` is one."""

    identity: Identity | None

    async def moved(self, identity: Identity | None) -> None: ...

    def heed(self, authorities: Sequence[str], within_s: float) -> None: ...


class MovingStream:
    """`dial` makes a channel with an identity."""

    def __init__(self, dial: Callable[[Identity | None], grpc.aio.Channel], standing: Stands) -> None:
        self._dial = dial
        self._standing = standing

    async def run(self, stream: Callable[[grpc.aio.Channel], Coroutine[Any, Any, str]]) -> str:
        """Has `stream` run on one connection after the other until it ends by itself; what it returned."""
        identity = self._standing.identity
        channel = self._dial(identity)
        try:
            while True:
                ended = await self._until_moved(stream(channel), identity)
                if isinstance(ended, str):
                    return ended
                await channel.close()
                identity, channel = ended
        finally:
            await channel.close()

    async def _until_moved(self, stream: Coroutine[Any, Any, str], identity: Identity | None) -> str | Moved:
        async with asyncio.TaskGroup() as tasks:
            streaming = tasks.create_task(stream)
            moving = tasks.create_task(self._successor(identity))
            await asyncio.wait((streaming, moving), return_when=asyncio.FIRST_COMPLETED)
            moved = not streaming.done()  # what ends while it is cancelled may say that it broke
            streaming.cancel()
            moving.cancel()
        if moved:
            return moving.result()
        if not moving.cancelled():
            await moving.result()[1].close()
        return streaming.result()

    async def _successor(self, before: Identity | None) -> Moved:
        """A channel that is connected, made with a later identity. Tries until there is one."""
        await self._standing.moved(before)
        while True:
            identity = self._standing.identity
            channel = self._dial(identity)
            try:
                async with asyncio.timeout(_READY_S):
                    await channel.channel_ready()
            except TimeoutError:
                log.warning("no connection could be made with the new certificate yet; what there is goes on")
                await channel.close()
            except BaseException:
                await channel.close()
                raise
            else:
                return identity, channel
            await asyncio.sleep(_AGAIN_S)
