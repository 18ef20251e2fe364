"""Every call that the manager serves has its permission written down, and a person may do what the role allows."""

import asyncio
from pathlib import Path

import grpc
import pytest
from certificates import admin_of
from hypothesis import given
from hypothesis import strategies as st
from rookery import channel
from rookery.model import PartKind, Person, Role
from rookery.v1 import control_pb2, control_pb2_grpc
from rookery_manager.api.server import SERVICES, STREAMING, UNARY
from rookery_manager.identity.permissions import ANYBODY, MEMBERS, PEOPLE, PERMISSIONS, Need, Scope, why_not
from whole_manager import manager

CALLS = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}
OF_GRPC = {
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}


def test_every_call_has_a_permission_and_nothing_else_has() -> None:
    assert set(PERMISSIONS) == CALLS | OF_GRPC


def test_control_is_for_people_and_each_call_asks_for_a_role() -> None:
    for name in (*UNARY, *STREAMING):
        need = PERMISSIONS[f"/rookery.v1.ControlService/{name}"]
        assert need.callers == PEOPLE
        assert need.role is not None
        assert need.doing


def test_a_visitor_may_do_next_to_nothing() -> None:
    open_to_all = {method for method, need in PERMISSIONS.items() if None in need.callers}
    assert open_to_all == {
        "/rookery.v1.IdentityService/GetAuthority",
        "/rookery.v1.IdentityService/Join",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
    }
    assert {None} == ANYBODY - MEMBERS


def test_what_changes_something_is_not_for_viewers() -> None:
    changing = {m.name for s in SERVICES[:1] for m in s.methods if "actor" in m.input_type.fields_by_name} - {"Plan"}
    for name in changing:
        need = PERMISSIONS[f"/rookery.v1.ControlService/{name}"]
        assert need.role is not None
        assert need.role.covers(Role.DEPLOYER), name


NAMES = st.sampled_from(["shop", "bank", "blog"])
NEEDS = st.builds(
    Need, callers=st.just(PEOPLE), doing=st.just("doing it to {app}"), role=st.sampled_from(Role), scope=st.sampled_from(Scope)
)


@given(need=NEEDS, role=st.sampled_from(Role), apps=st.sets(NAMES), app=st.sampled_from(["", "shop", "bank"]))
def test_a_person_may_do_what_role_and_apps_cover(need: Need, role: Role, apps: set[str], app: str) -> None:
    person = Person(name="ana", role=role, apps=tuple(sorted(apps)))
    allowed = not why_not(need, person, app)
    assert need.role is not None
    covered = not apps or need.scope is Scope.NONE or (need.scope is Scope.APP and app in apps)
    assert allowed == (role.covers(need.role) and covered)
    if allowed:  # and so may whoever has more
        assert not why_not(need, Person(name="bo", role=Role.ADMIN, apps=person.apps), app)
        assert not why_not(need, Person(name="bo", role=role), app)


@pytest.mark.parametrize(
    ("person", "app", "words"),
    [
        (Person(name="ana", role=Role.VIEWER), "shop", "deploying shop needs the role deployer; you are ana, viewer"),
        (
            Person(name="bo", role=Role.DEPLOYER, apps=("blog",)),
            "shop",
            "deploying shop needs the role deployer of it; you are bo, deployer of blog",
        ),
    ],
)
def test_a_refusal_says_what_is_needed_and_what_there_is(person: Person, app: str, words: str) -> None:
    assert why_not(PERMISSIONS["/rookery.v1.ControlService/Apply"], person, app) == words


def test_a_call_that_is_not_in_the_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rookery_manager.identity import guard

    method = "/rookery.v1.ControlService/GetCluster"
    monkeypatch.setattr(guard, "PERMISSIONS", {name: need for name, need in PERMISSIONS.items() if name != method})

    async def main() -> None:
        async with manager(tmp_path, secure=True) as made, channel.dial(made.address, admin_of(tmp_path)) as connection:
            stub = control_pb2_grpc.ControlServiceStub(connection)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetCluster(control_pb2.GetClusterRequest())
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "no permission for it is written down" in (caught.value.details() or "")
            assert (await stub.WhoAmI(control_pb2.WhoAmIRequest())).person.name == "admin"

    asyncio.run(main())


def test_the_history_names_who_called_whatever_the_request_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with manager(tmp_path, secure=True) as made:
            request = control_pb2.CreateTokenRequest(kind=1, actor="somebody else")
            created = await made.control.CreateToken(request)
            events = await made.control.ListEvents(control_pb2.ListEventsRequest())
            assert [e.actor for e in events.events if e.subject == created.token.id] == ["admin@127.0.0.1"]
            assert created.text not in str(events)
            assert PartKind.AGENT in created.text or created.text.startswith("RKY1-")

    asyncio.run(main())
