"""WhoAmI, ListPeople, PutPerson, RemovePerson: who may do what. And how each call is judged, once its request is known."""

from __future__ import annotations  # grpc's classes take type parameters in its stubs only

import re
from contextlib import suppress
from typing import Any

import grpc
from rookery.model import PartKind, Person, Role
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import Refused, impossible_now, invalid, not_found, shown
from rookery_manager.api.find import find_replica
from rookery_manager.api.needs import Api
from rookery_manager.identity.peers import caller
from rookery_manager.identity.permissions import PERMISSIONS, why_not
from rookery_manager.records import person_key, put, token_key
from rookery_manager.store import Delete, StoreError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?")
_ROLES = {
    types_pb2.ROLE_VIEWER: Role.VIEWER,
    types_pb2.ROLE_DEPLOYER: Role.DEPLOYER,
    types_pb2.ROLE_OPERATOR: Role.OPERATOR,
    types_pb2.ROLE_ADMIN: Role.ADMIN,
}
MAX_APPS = 200


async def permit(api: Api, name: str, request: Any) -> None:
    """Raises Refused where the caller may not do this, which is written down; whoever may is named as the one who did it."""
    peer = caller()
    if peer is None:  # a server without identities
        return
    person = api.state.people.get(peer.id) if peer.kind is PartKind.PERSON else None
    need = PERMISSIONS.get(f"/rookery.v1.ControlService/{name}")
    if need is None or person is None:
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"{name} is not for {peer}")
    why = why_not(need, person, _app_of(api, name, request) if person.apps else _named_app(request))
    actor = f"{person.name}@{peer.host}" if peer.host else person.name
    if why:
        with suppress(StoreError):  # it is refused all the same
            await api.attempts.note(person.name, actor, why)
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, why)
    if "actor" in request.DESCRIPTOR.fields_by_name:
        request.actor = actor


def _named_app(request: Any) -> str:
    fields = request.DESCRIPTOR.fields_by_name
    if "app" not in fields:
        return ""
    name = request.app if isinstance(request.app, str) else request.app.name
    return shown(name) if name else ""


def _app_of(api: Api, name: str, request: Any) -> str:
    """The app that the request is about; empty for all."""
    if name in ("Logs", "Explain", "GetReplica") and request.replica:
        return find_replica(api.state, request.replica).app
    if name == "ListEvents":
        return shown(request.subject.partition("/")[0]) if request.subject else ""
    return _named_app(request)


async def who_am_i(api: Api, request: control_pb2.WhoAmIRequest) -> control_pb2.WhoAmIResponse:  # noqa: ARG001
    peer = caller()
    person = api.state.people.get(peer.id) if peer else None
    return control_pb2.WhoAmIResponse(person=encode(person) if person else None)


async def list_people(api: Api, request: control_pb2.ListPeopleRequest) -> control_pb2.ListPeopleResponse:  # noqa: ARG001
    return control_pb2.ListPeopleResponse(people=[encode(person) for _, person in sorted(api.state.people.items())])


async def put_person(api: Api, request: control_pb2.PutPersonRequest) -> types_pb2.Person:
    apps = tuple(sorted(set(request.apps)))
    if not _NAME.fullmatch(request.name):
        raise invalid("name: must be 1 to 64 letters, digits, and . _ @ - between them")
    if request.role not in _ROLES:
        raise invalid("role: must be viewer, deployer, operator or admin")
    if len(apps) > MAX_APPS or any(not 0 < len(app) <= 63 or not app.isprintable() or "/" in app for app in apps):
        raise invalid(f"apps: at most {MAX_APPS} names of apps")
    role = _ROLES[request.role]

    def propose() -> Proposal[Person]:
        before = api.state.people.get(request.name)
        person = Person(name=request.name, role=role, apps=apps, created_at=before.created_at if before else api.clock())
        if person == before:
            return Proposal(answer=person)
        if before is not None and _is_full_admin(before) and not _is_full_admin(person):
            _keep_an_admin(api, before)
        of = f" of {', '.join(apps)}" if apps else ""
        why = f"{'is' if before else 'made'} {role}{of}" + (f"; was {before.role}" if before else "")
        conditions = [api.state.condition(person_key(name)) for name in {person.name, *_admins(api)}]
        return Proposal(answer=person, writes=[put(person, why)], conditions=conditions)

    person, _ = await commit(api, propose, request.actor)
    message: types_pb2.Person = encode(person)
    return message


async def remove_person(api: Api, request: control_pb2.RemovePersonRequest) -> control_pb2.RemovePersonResponse:
    def propose() -> Proposal[None]:
        person = api.state.people.get(request.name)
        if person is None:
            raise not_found("person", request.name, api.state.people)
        _keep_an_admin(api, person)
        tokens = [token for token in api.state.tokens.values() if token.person == person.name]
        writes = [Delete(key=person_key(person.name), why="removed; all certificates of this person are void")]
        writes += [Delete(key=token_key(token.id), why=f"{person.name} was removed") for token in tokens]
        conditions = [api.state.condition(person_key(name)) for name in {person.name, *_admins(api)}]
        return Proposal(answer=None, writes=writes, conditions=conditions)

    _, revision = await commit(api, propose, request.actor)
    return control_pb2.RemovePersonResponse(revision=revision)


def _is_full_admin(person: Person) -> bool:
    return person.role is Role.ADMIN and not person.apps


def _admins(api: Api) -> list[str]:
    return [person.name for person in api.state.people.values() if _is_full_admin(person)]


def _keep_an_admin(api: Api, leaving: Person) -> None:
    if _admins(api) == [leaving.name]:
        raise impossible_now(f"{leaving.name} is the only admin of all apps; make another one first")
