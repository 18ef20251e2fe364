"""Who is waited for before an old authority is dropped."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rookery.model import MemberState, Node, NodeInfo, PartKind, Person, Pool, PoolMember, PoolSpec, ProviderKind, Role
from rookery.model.ids import NodeId
from rookery_manager.identity.authority import PERSON_LIFE_S
from rookery_manager.identity.keeping import open_authority
from rookery_manager.identity.rotation import Rotation
from rookery_manager.state import State
from rookery_manager.store import MemoryStore

DAY_S = 86_400.0


class Seen:
    """Stands in for the guard."""

    def __init__(self) -> None:
        self.with_: dict[tuple[PartKind, str], str] = {}

    def seen_with(self, kind: PartKind, id: str) -> str:
        return self.with_.get((kind, id), "")

    def authority_changed(self, digests: object) -> None:
        """Nobody calls."""


class Files:
    """Stands in for the files that the manager keeps."""

    def follow(self) -> None:
        """There are none."""


def play(tmp_path: Path, act: Callable[[Rotation, Seen, State, list[float]], Any]) -> None:
    async def main() -> None:
        now = [2e9]
        authority = open_authority(tmp_path / "ca", "c1", lambda: now[0], part_life_s=DAY_S)
        state, seen = State(), Seen()
        state.nodes[NodeId("n1")] = Node(id=NodeId("n1"), info=NodeInfo(hostname="one"))
        state.people["ana"] = Person(name="ana", role=Role.VIEWER)
        rotation = Rotation(tmp_path / "ca", authority, seen, Files(), state, MemoryStore(), lambda: now[0])  # type: ignore[arg-type]
        await rotation.begin("ana@h")
        act(rotation, seen, state, now)

    asyncio.run(main())


def names(rotation: Rotation) -> list[str]:
    return [f"{mover.kind} {mover.name}" for mover in rotation._waiting()]


def test_who_has_shown_the_new_one_or_can_have_nothing_of_the_old_any_more_is_not_waited_for(tmp_path: Path) -> None:
    def act(rotation: Rotation, seen: Seen, _: State, now: list[float]) -> None:
        status = rotation.status()
        assert names(rotation) == ["agent one", "person ana"]
        assert status.done_by == now[0] + PERSON_LIFE_S
        seen.with_[PartKind.PERSON, "ana"] = status.old_digest
        assert names(rotation) == ["agent one", "person ana"]
        seen.with_[PartKind.PERSON, "ana"] = status.digest
        assert names(rotation) == ["agent one"]
        del seen.with_[PartKind.PERSON, "ana"]  # as after a restart
        now[0] += DAY_S
        assert names(rotation) == ["person ana"]
        now[0] += PERSON_LIFE_S
        assert names(rotation) == []

    play(tmp_path, act)


def test_machines_that_are_being_made_with_an_old_token_are_waited_for(tmp_path: Path) -> None:
    def act(rotation: Rotation, seen: Seen, state: State, now: list[float]) -> None:
        seen.with_ = {(PartKind.PERSON, "ana"): rotation.status().digest, (PartKind.AGENT, "n1"): rotation.status().digest}
        spec = PoolSpec(provider=ProviderKind.PROCESS)
        members = (
            PoolMember(name="w-1", state=MemberState.JOINING, created_at=now[0] - 10),
            PoolMember(name="w-2", state=MemberState.CREATING, created_at=now[0] + 10),  # it gets a token of the new one
            PoolMember(name="w-3", state=MemberState.JOINED, created_at=now[0] - 10),
        )
        state.pools["w"] = Pool(name="w", spec=spec, members=members)
        assert names(rotation) == ["agent w-1"]
        now[0] += spec.call_timeout_s + spec.join_timeout_s
        assert names(rotation) == []

    play(tmp_path, act)
