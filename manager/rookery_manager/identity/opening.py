"""All that a manager has of identities, made and joined."""

from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path

from rookery.refusals import Refusals

from rookery_manager.clock import Clock
from rookery_manager.identity.authority import Authority
from rookery_manager.identity.guard import Guard
from rookery_manager.identity.joining import IdentityService
from rookery_manager.identity.keeping import open_authority
from rookery_manager.identity.peers import Peers
from rookery_manager.identity.rotation import Rotation
from rookery_manager.identity.upkeep import Upkeep
from rookery_manager.identity.witness import Witness
from rookery_manager.state import State
from rookery_manager.store import Store

FOLDER = "ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    authority: Authority
    guard: Guard
    service: IdentityService
    upkeep: Upkeep
    rotation: Rotation
    witness: Witness

    def loops(self) -> tuple[Coroutine[None, None, None], ...]:
        """To be run until the manager ends."""
        return self.guard.run(), self.upkeep.run(), self.rotation.run(), self.witness.run()


async def open_identities(
    folder: Path,
    cluster_id: str,
    *,
    state: State,
    store: Store,
    clock: Clock,
    refusals: Refusals,
    part_life_s: float,
    tokens: Path,
) -> Identities:
    """Raises Stop where the authority, or a file that is to be kept, can't be used."""
    authority = open_authority(folder / FOLDER, cluster_id, clock, part_life_s=part_life_s)
    guard = Guard(Peers(authority), state, clock, refusals)
    service = IdentityService(authority, guard, state, store, clock, refusals)
    upkeep = Upkeep(authority, state, store, clock, folder=folder, tokens=tokens)
    await upkeep.begin()
    rotation = Rotation(folder / FOLDER, authority, guard, upkeep, state, store, clock)
    await rotation.note()
    witness = Witness(store, clock)
    refusals.witness = witness.saw
    return Identities(authority=authority, guard=guard, service=service, upkeep=upkeep, rotation=rotation, witness=witness)
