"""What planners are given of the state."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from rookery.model import App, ContainerSpec, Dependency, Revision, Rollout, RolloutState, Service, ServiceKey, ServiceSpec
from rookery_manager import records
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State
from rookery_manager.store import Entry, Snapshot
from rookery_manager.views import service_view

WEB, DB = ServiceKey("shop/web"), ServiceKey("shop/db")
DONE = Rollout(before=1, after=2, state=RolloutState.DONE, changed_at=200.0)


def updated_at(*, restart: bool = True, rollout: Rollout | None = DONE, made_at: float = 100.0) -> Mapping[ServiceKey, float]:
    """Of the dependencies of a web service that was made then, and depends on a database with this latest rollout."""
    spec = ServiceSpec(name="web", container=ContainerSpec(image="w"), depends_on=(Dependency(service="db", restart=restart),))
    db = ServiceSpec(name="db", container=ContainerSpec(image="d"))
    written: list[Record] = [
        App(name="shop", services=("db", "web")),
        Service(app="shop", name="web", revision=1),
        Revision(app="shop", service="web", number=1, spec=spec, created_at=made_at),
        Service(app="shop", name="db", revision=2, rollout=rollout),
        Revision(app="shop", service="db", number=2, spec=db),
    ]
    puts = [records.put(record, "") for record in written]
    state = State()
    state.load(Snapshot(revision=1, entries={put.key: Entry(key=put.key, value=put.value, revision=1) for put in puts}))
    view = service_view(state, WEB, RoutePlane(state, lambda: 300.0, lease_s=3.0, on_progress=lambda _: None))
    assert view is not None
    return view.updated_at


def test_an_update_of_a_dependency_is_followed_where_that_is_asked_for() -> None:
    assert updated_at() == {DB: 200.0}
    assert updated_at(restart=False) == {}


@pytest.mark.parametrize(
    "rollout", [None, replace(DONE, state=RolloutState.ROLLING), replace(DONE, state=RolloutState.ROLLED_BACK)]
)
def test_one_that_was_not_done_is_not(rollout: Rollout | None) -> None:
    assert updated_at(rollout=rollout) == {}


def test_one_from_before_the_revision_in_force_is_not() -> None:
    assert updated_at(made_at=200.0) == {}
