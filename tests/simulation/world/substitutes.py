"""What is put in the place of the outside while a world lives: names in the parts' modules, each with what stands in for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import rookery_agent.engine_watch
import rookery_agent.main
import rookery_agent.reconcile
import rookery_agent.session
import rookery_manager.actor
import rookery_manager.clock
import rookery_manager.front
import rookery_manager.starting
import rookery_proxy.follow
import rookery_proxy.live_route
from rookery_manager.sealing.cipher import new_data_key, new_file_key, wrap
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.store import Store

from world import agent
from world.machine import Dice, Secrets, System, Time
from world.rpc import Channel, Server


class _Channels:
    """Stands in for the module rookery.channel, at the manager."""

    @staticmethod
    def refuse_taken(_address: str) -> None:
        """Nobody else listens."""

    @staticmethod
    def server(_interceptors: object) -> Server:
        return Server()

    @staticmethod
    def listen(_server: Server, _address: str, _credentials: None) -> int:
        return 7070


@contextmanager
def outside(dial: Callable[..., Channel], open_store: Callable[[], Store]) -> Iterator[None]:
    data_key = new_data_key()
    keyring = Keyring(wrap(data_key, new_file_key()), Path("/nowhere/secrets.key"), data_key)

    async def opened(_directory: object, _key_file: object) -> Store:
        return open_store()

    async def begun(_store: object, _key_file: object) -> Keyring:
        return keyring

    replaced: list[tuple[ModuleType, str, Any]] = [
        (rookery_manager.front, "channel", _Channels),
        (rookery_manager.starting, "open_store", opened),
        (rookery_manager.starting, "begin_keyring", begun),
        (rookery_manager.starting, "secrets", Secrets),
        (rookery_manager.starting, "time", Time),
        (rookery_manager.clock, "time", Time),
        (rookery_manager.actor, "secrets", Secrets),
        (rookery_agent.main, "machine", agent.machine),
        (rookery_agent.main, "Disks", agent.Disks),
        (rookery_agent.main, "os", System),
        (rookery_agent.engine_watch, "time", Time),
        (rookery_agent.reconcile, "time", Time),
        (rookery_agent.session, "clock", Time.monotonic),
        (rookery_agent.session, "dial", dial),
        (rookery_proxy.follow, "dial", dial),
        (rookery_proxy.follow, "random", Dice),
        (rookery_proxy.live_route, "random", Dice),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    for module, name, value in replaced:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
