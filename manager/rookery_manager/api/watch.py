"""Watch: one message a store revision that touches what was asked for.

Invariant: nothing is buffered for a client. What it has not read yet lies in the store's history; who reads too slowly to find it
there is told to begin again. Replicas, nodes and apps are as that revision wrote them; a service's status is as it is when the
message is made, which may be later.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import cast

import grpc
from rookery.model import App, Node, Replica
from rookery.model.ids import ServiceKey
from rookery.v1 import control_pb2
from rookery.wire import encode

from rookery_manager.api.errors import Refused, invalid
from rookery_manager.api.events import read, to_events
from rookery_manager.api.needs import Api
from rookery_manager.api.services import service_of_key, statuses
from rookery_manager.records import CLASSES
from rookery_manager.store import Change

Send = Callable[[control_pb2.WatchResponse], Awaitable[None]]

BREATHE_EVERY = 500  # replicas after which others get a turn of the event loop


async def watch(api: Api, request: control_pb2.WatchRequest, send: Send) -> None:
    if request.after_revision < 0:
        raise invalid(f"after_revision: {request.after_revision} is negative")
    if request.after_revision > api.state.revision:
        ahead = f"after_revision: {request.after_revision} is ahead of the store, which is at {api.state.revision}"
        raise Refused(grpc.StatusCode.OUT_OF_RANGE, f"{ahead}; begin again with a snapshot")
    after = request.after_revision or api.state.revision
    if request.snapshot:
        after = api.state.revision
        message, replicas = _snapshot(api, request.app)  # taken in one turn of the event loop: it belongs together
        for at in range(0, len(replicas), BREATHE_EVERY):
            message.replicas.extend([encode(replica) for replica in replicas[at : at + BREATHE_EVERY]])
            await asyncio.sleep(0)
        await send(message)  # one message: whoever has its revision has all of it, and can go on from there
    changes_of = cast("AsyncGenerator[tuple[Change, ...], None]", api.store.watch(after=after))
    async with aclosing(changes_of):
        async for changes in changes_of:
            mine = [change for change in changes if _touches(change.key, request.app)]
            if mine:
                await api.state.reach(changes[0].revision)
                await send(await _message(api, mine))
    raise Refused(grpc.StatusCode.UNAVAILABLE, "the manager stops; connect again to go on")


def _snapshot(api: Api, app: str) -> tuple[control_pb2.WatchResponse, list[Replica]]:
    """All but the replicas, and the replicas, which are still to be encoded."""
    state = api.state
    message = control_pb2.WatchResponse(
        revision=state.revision,
        services=[encode(status) for status in statuses(state, app)],
        nodes=[encode(node) for node in state.nodes.values()],
        apps=[encode(found) for name, found in state.apps.items() if app in ("", name)],
    )
    return message, [replica for replica in state.replicas.values() if not replica.ended and app in ("", replica.app)]


def _touches(key: str, app: str) -> bool:
    """Nodes concern every app; contents of secrets and configs are shown to no one."""
    kind, _, rest = key.partition("/")
    if kind in ("manager", "people", "tokens", "revoked", "attempts", "seal", "lock"):
        return not app
    if kind not in CLASSES or (app and kind == "pools"):
        return False
    return not app or kind == "nodes" or rest.partition("/")[0] == app


async def _message(api: Api, changes: Sequence[Change]) -> control_pb2.WatchResponse:
    events = await to_events(api.store, changes)
    records = [read(change) for change in changes]
    touched = [status for key in _services(changes) if (status := service_of_key(api.state, key)) is not None]
    return control_pb2.WatchResponse(
        revision=changes[0].revision,
        events=[encode(event) for event in events],
        services=[encode(status) for status in touched],
        replicas=[encode(record) for record in records if isinstance(record, Replica)],
        nodes=[encode(record) for record in records if isinstance(record, Node)],
        apps=[encode(record) for record in records if isinstance(record, App)],
        deleted=[name for change in changes if change.value is None and (name := _deleted(change.key))],
    )


def _services(changes: Iterable[Change]) -> list[ServiceKey]:
    """The services whose status may have changed."""
    keys: dict[str, None] = {}
    for change in changes:
        kind, _, rest = change.key.partition("/")
        if kind in ("services", "revisions", "replicas"):
            keys["/".join(rest.split("/")[:2])] = None
    return [ServiceKey(key) for key in keys]


def _deleted(key: str) -> str:
    parts = key.split("/")
    match parts[0]:
        case "replicas":
            return f"replica/{parts[3]}"
        case "nodes":
            return f"node/{parts[1]}"
        case "services":
            return f"service/{parts[1]}/{parts[2]}"
        case "apps":
            return f"app/{parts[1]}"
    return ""
