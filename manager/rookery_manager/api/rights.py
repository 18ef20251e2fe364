"""GetPolicy; and whether who asks may deploy what a spec asks for beyond its container."""

from __future__ import annotations  # grpc's classes take type parameters in its stubs only

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import grpc
from rookery.model import Policy, Role, ServiceSpec
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.errors import MAX_FAULTS, Refused
from rookery_manager.api.needs import Api
from rookery_manager.identity.peers import caller
from rookery_manager.planners.rights import lacking, needed
from rookery_manager.store import StoreError


class Forbidden(Refused):
    """Something in a spec needs a permission that the caller does not have."""

    def __init__(self, lines: list[str], way_out: str) -> None:
        super().__init__(grpc.StatusCode.PERMISSION_DENIED, "\n".join([*lines, way_out]))
        self.brief = lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")


def check_rights(api: Api, app: str, specs: Iterable[ServiceSpec]) -> None:
    """Raises Forbidden. Without identities nobody is asked who they are, and nothing is refused."""
    peer = caller()
    person = api.state.people.get(peer.id) if peer is not None else None
    if person is None or not person.role.covers(Role.DEPLOYER):  # a viewer only looks at what others would do
        return
    policy = api.policy.current()
    others = api.state.apps.keys() - {app}
    lines = [
        f"services.{spec.name}.{need}"
        for spec in specs
        for need in dict.fromkeys(lacking(policy, person, app, needed(app, spec, others)))
    ]
    if not lines:
        return
    more = [f"and {len(lines) - MAX_FAULTS} more"] if len(lines) > MAX_FAULTS else []
    way_out = (
        f"you are {person.name}, {person.role}, and the policy does not give you that for {app}: leave it out, or have "
        f"an operator deploy it or an admin allow it{_place(policy)}; see rookery policy show"
    )
    raise Forbidden([*lines[:MAX_FAULTS], *more], way_out)


def _place(policy: Policy) -> str:
    return f" in {policy.path}" if policy.path else ""


@asynccontextmanager
async def audited(api: Api, app: str) -> AsyncIterator[None]:
    """Writes down who was refused what."""
    try:
        yield
    except Forbidden as error:
        peer = caller()
        if peer is not None:
            with suppress(StoreError):  # it is refused all the same
                actor = f"{peer.id}@{peer.host}" if peer.host else peer.id
                await api.attempts.note(peer.id, actor, f"deploying {app}: {error.brief}")
        raise


async def get_policy(api: Api, request: control_pb2.GetPolicyRequest) -> types_pb2.Policy:  # noqa: ARG001
    message: types_pb2.Policy = encode(api.policy.current())
    return message
