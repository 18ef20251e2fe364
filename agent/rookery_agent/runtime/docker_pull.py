"""Pulls of images: as long as they take, given up when nothing comes any more.

Invariant: a pull that nobody waits for any more ends at the engine, too.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from docker import auth, utils

from rookery_agent.runtime.docker_engine import Engine
from rookery_agent.runtime.docker_stream import Stream
from rookery_agent.runtime.protocol import EngineAway, ImageMissing, RuntimeFailure

log = logging.getLogger("rookery.agent")

_PARALLEL = 2


class Progress:
    """What an engine said of each layer so far, to tell what is new from what is said again."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, int]] = {}

    def moved(self, line: Mapping[str, Any]) -> bool:
        """Whether the line tells of something that came. To wait and to try again is none."""
        status = str(line.get("status", ""))
        if status.startswith(("Waiting", "Retrying")):
            return False
        layer = str(line.get("id", ""))
        now = (status, int((line.get("progressDetail") or {}).get("current") or 0))
        before, self._said[layer] = self._said.get(layer), now
        return before != now


class Pulls:
    """Pulls a few images at a time. `stalled_s` is how long one may make no progress."""

    def __init__(self, engine: Engine, *, stalled_s: float) -> None:
        self._engine = engine
        self._stalled_s = stalled_s
        self._free = asyncio.Semaphore(_PARALLEL)

    async def pull(self, image: str, platform: str) -> None:
        """The image is here. Raises ImageMissing with the engine's words, or EngineAway."""
        async with self._free:
            log.info("pulling %s", image)
            try:
                words = await self._pull(image, platform)
            except TimeoutError:
                words = f"no progress for {self._stalled_s:g} s; does its registry answer?"
            except EngineAway:
                raise
            except RuntimeFailure as error:
                words = str(error)
        if words:
            raise ImageMissing(f"image {image} is not on this node and can't be pulled: {words}")

    async def _pull(self, image: str, platform: str) -> str:
        """Why it failed, empty where it did not. Raises TimeoutError when it makes no progress."""
        progress, loop = Progress(), asyncio.get_running_loop()
        lines = self._engine.stream(lambda client: _opened(client, image, platform, begin_s=self._stalled_s), Stream.messages)
        try:
            async with asyncio.timeout(self._stalled_s) as bound:
                async for line in lines:
                    if line is not None and "error" in line:
                        return str(line["error"])
                    if line is None or progress.moved(line):
                        bound.reschedule(loop.time() + self._stalled_s)
        finally:
            await lines.aclose()
        return ""


def _opened(client: Any, image: str, platform: str, *, begin_s: float) -> Stream:
    repository, tag = utils.parse_repository_tag(image)
    registry, _ = auth.resolve_repository_name(repository)
    header = auth.get_config_header(client, registry)
    params = {"fromImage": repository, "tag": tag or "latest", **({"platform": platform} if platform else {})}
    headers = {"X-Registry-Auth": header.decode() if isinstance(header, bytes) else header} if header else None
    return Stream(client, "/images/create", params=params, headers=headers, body={}, begin_s=begin_s)
