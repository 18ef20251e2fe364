"""What containers need on an engine before they are made: images and networks.

Invariant: everything is idempotent and made by whoever comes first; several agents may share the engine. A network is
removed only when Rookery made it and no container is on it.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from rookery.model import Assignment, NetworkAttachment, PullPolicy, ReplicaId, VolumeMount

from rookery_agent.runtime.docker_engine import Conflict, Engine, Missing
from rookery_agent.runtime.docker_pull import Pulls
from rookery_agent.runtime.docker_spec import APP, NETWORK, networks
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.protocol import EngineAway, ImageMissing, RuntimeFailure

log = logging.getLogger("rookery.agent")


class Images:
    """Which images are here; each is pulled once for all that wait for it."""

    def __init__(self, engine: Engine, *, stalled_s: float) -> None:
        self._engine = engine
        self._pull = Pulls(engine, stalled_s=stalled_s).pull
        self._here: dict[str, tuple[str, ...]] = {}  # and their entrypoints
        self._locks: dict[str, asyncio.Lock] = {}
        self._pulls: dict[str, int] = {}  # attempts that came to a result
        self._failures: dict[str, ImageMissing] = {}

    def entrypoint(self, image: str) -> tuple[str, ...]:
        return self._here.get(image, ())

    def forget(self, image: str) -> None:
        self._here.pop(image, None)

    async def ensure(self, image: str, policy: PullPolicy, platform: str) -> None:
        """The image is here. Raises ImageMissing."""
        if policy is not PullPolicy.ALWAYS and image in self._here:
            return
        seen = self._pulls.get(image, 0)
        async with self._locks.setdefault(image, asyncio.Lock()):
            if self._pulls.get(image, 0) != seen:  # somebody pulled while this one waited
                failure = self._failures.get(image)
                if failure is not None:
                    raise failure
                return
            here = await self._look(image)
            if here and policy is not PullPolicy.ALWAYS:
                return
            if policy is PullPolicy.NEVER:
                raise ImageMissing(f"image {image} is not on this node, and its pull_policy is never; load it there")
            self._failures.pop(image, None)
            try:
                await self._pull(image, platform)
                if not await self._look(image):
                    raise ImageMissing(f"image {image} is not on this node, although its pull ended well")
            except ImageMissing as error:
                self._pulls[image] = seen + 1
                if not here:
                    self._failures[image] = error
                    raise
                log.warning("image %s can't be pulled anew (%s); the one that is here is used", image, error)
            else:
                self._pulls[image] = seen + 1

    async def _look(self, image: str) -> bool:
        try:
            found = await self._engine.call(lambda client: client.inspect_image(image), timeout_s=20)
        except Missing:
            self._here.pop(image, None)
            return False
        self._here[image] = tuple((found.get("Config") or {}).get("Entrypoint") or ())
        return True


class Networks:
    """The networks of apps on this engine, and which replicas of this node need them."""

    def __init__(self, engine: Engine, place: Place) -> None:
        self._engine = engine
        self._place = place
        self._known: dict[str, tuple[str, str]] = {}  # and each one's bridge and app, empty where Rookery did not make it
        self._users: dict[ReplicaId, tuple[str, ...]] = {}
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Nothing is known any more: it is looked for anew when it is next needed."""
        self._known.clear()

    def adopt(self, replica_id: ReplicaId, names: tuple[str, ...]) -> None:
        self._users[replica_id] = names

    async def ensure(self, a: Assignment) -> None:
        wanted = networks(a, self._place)
        self._users[a.replica_id] = wanted
        described = {attachment.network: attachment for attachment in a.spec.container.networks}
        for name in wanted:
            if name in self._known:
                continue
            async with self._lock:
                if name not in self._known:
                    await self._ensure(a.app, name, described.get(name))
                    await self._learn(name)

    async def bridges(self) -> dict[str, str]:
        """The machine's bridges of the networks that Rookery made and replicas of this node use, each with its app. Raises
        EngineAway."""
        used = {name for names in self._users.values() for name in names}
        for name in used - self._known.keys():
            await self._learn(name)
        return dict(sorted(self._known[name] for name in used if name in self._known and self._known[name][0]))

    async def _learn(self, name: str) -> None:
        """Looks at a network. One that there is twice stays unknown: nothing starts on it before that is settled."""
        try:
            network = await self._engine.call(partial(_inspect_network, name), timeout_s=20)
        except EngineAway:
            raise
        except RuntimeFailure as error:
            log.debug("network %s can't be looked at: %s", name, error)
            return
        app = (network.get("Labels") or {}).get(NETWORK, "")
        if not app or network.get("Driver") != "bridge":
            self._known[name] = ("", "")
            return
        named = (network.get("Options") or {}).get("com.docker.network.bridge.name")
        self._known[name] = (named or f"br-{network['Id'][:12]}", app)

    async def release(self, replica_id: ReplicaId) -> None:
        """Removes networks that only this replica needed."""
        for name in self._users.pop(replica_id, ()):
            if name == self._place.network or any(name in names for names in self._users.values()):
                continue
            async with self._lock:
                if any(name in names for names in self._users.values()):
                    continue
                self._known.pop(name, None)
                try:
                    await self._remove_unused(await self._engine.call(partial(_inspect_network, name)))
                except EngineAway:
                    raise
                except RuntimeFailure as error:
                    log.debug("network %s stays: %s", name, error)

    async def sweep(self) -> None:
        """Removes networks that an agent left when it was killed between its container's removal and theirs."""
        filters = {"label": [NETWORK]}
        used = {name for names in self._users.values() for name in names}
        for network in await self._engine.call(lambda client: client.networks(filters=filters), timeout_s=20):
            if network["Name"] in used:
                continue
            try:
                await self._remove_unused(network)
            except (Missing, Conflict, RuntimeFailure) as error:
                if isinstance(error, EngineAway):
                    raise

    async def _ensure(self, app: str, name: str, described: NetworkAttachment | None) -> None:
        try:
            found = await self._engine.call(lambda client: client.inspect_network(name), timeout_s=20)
            if described is not None and not described.external and not (found.get("Labels") or {}).get(NETWORK):
                log.warning("network %s was made by somebody else: %s uses it as it is, and it is never removed", name, app)
            return
        except Missing:
            pass
        except EngineAway:
            raise
        except RuntimeFailure as error:
            if "ambiguous" not in str(error):
                raise
            await self._settle_duplicates(name)
            return
        if described is None or described.external:
            raise RuntimeFailure(f"network {name} is not on this node; make it there with: docker network create {name}")
        try:
            await self._engine.call(
                lambda client: client.create_network(
                    name,
                    driver=described.driver or "bridge",
                    options=dict(described.driver_opts) or None,
                    internal=described.internal,
                    labels={**described.labels, NETWORK: app, APP: app},
                    check_duplicate=True,
                )
            )
        except Conflict:
            return  # another agent on this engine was first
        await self._settle_duplicates(name)

    async def _settle_duplicates(self, name: str) -> None:
        """Leaves one network of the name: an engine that two agents ask at the same time may make two.

        The one that is used stays, else the oldest. Containers join by name, which an engine refuses while there are two, so at
        most one of them is used; and an engine removes none that is.
        """
        found = await self._engine.call(lambda client: client.networks(names=[name]), timeout_s=20)
        same = [network for network in found if network["Name"] == name and (network.get("Labels") or {}).get(NETWORK)]
        if len(same) < 2:
            return
        oldest_first = sorted(same, key=lambda network: (network["Created"], network["Id"]))
        unused = [network for network in oldest_first if not await self._is_used(network)]
        for network in unused if len(unused) < len(same) else unused[1:]:
            try:
                await self._remove_unused(network)
            except (Missing, Conflict):
                log.debug("another agent removed the second network %s", name)

    async def _remove_unused(self, network: Mapping[str, Any]) -> None:
        if not (network.get("Labels") or {}).get(NETWORK):
            return
        if not await self._is_used(network):
            await self._engine.call(lambda client: client.remove_network(network["Id"]))

    async def _is_used(self, network: Mapping[str, Any]) -> bool:
        filters = {"network": [network["Id"]]}
        return bool(await self._engine.call(lambda client: client.containers(all=True, filters=filters), timeout_s=20))


async def check_volumes(engine: Engine, a: Assignment) -> None:
    """Raises RuntimeFailure where an external volume is missing; others the engine makes with the container."""
    for mount in a.spec.container.mounts:
        if isinstance(mount, VolumeMount) and mount.external:
            name = mount.volume
            try:
                await engine.call(partial(_inspect_volume, name), timeout_s=20)
            except Missing:
                raise RuntimeFailure(
                    f"volume {name} is external and not on this node; make it there with: docker volume create {name}"
                ) from None


def _inspect_network(name: str, client: Any) -> Any:
    return client.inspect_network(name)


def _inspect_volume(name: str, client: Any) -> Any:
    return client.inspect_volume(name)
