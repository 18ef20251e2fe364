"""A deployer who asks for more than a container, a policy that an admin edits, and what is written down of it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from rookery import channel
from rookery.identity import Identity, parse_token
from rookery.identity.join import join
from rookery.model import AppSpec, BindMount, ContainerSpec, ServiceSpec
from rookery.v1 import control_pb2, control_pb2_grpc, types_pb2
from rookery.wire import encode
from whole_manager import Manager, manager

DENIED = grpc.StatusCode.PERMISSION_DENIED
Words = tuple[Any, str]


def web(image: str = "i", **container: Any) -> ServiceSpec:
    return ServiceSpec(name="web", container=ContainerSpec(image=image, **container))


async def person(made: Manager, name: str, role: types_pb2.Role) -> Identity:
    await made.control.PutPerson(control_pb2.PutPersonRequest(name=name, role=role))
    request = control_pb2.CreateTokenRequest(kind=types_pb2.PART_KIND_PERSON, person=name, uses=1)
    created = await made.control.CreateToken(request)
    return await join(made.address, parse_token(created.text))


def play(data: Path, act: Callable[[Manager, Callable[..., Awaitable[Words]]], Awaitable[None]]) -> None:
    """`act(manager, ask)`: `ask(who, method, request)` is what is refused, or OK."""

    async def ask_as(made: Manager, who: Identity, method: str, request: Any) -> Words:
        async with channel.dial(made.address, who) as connection:
            try:
                await getattr(control_pb2_grpc.ControlServiceStub(connection), method)(request, timeout=30)
            except grpc.aio.AioRpcError as error:
                return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""

    async def main() -> None:
        async with asyncio.timeout(100), manager(data, secure=True) as made:
            await act(made, lambda who, method, request: ask_as(made, who, method, request))

    asyncio.run(main())


def apply(*services: ServiceSpec) -> control_pb2.ApplyRequest:
    return control_pb2.ApplyRequest(app=encode(AppSpec(name="shop", services=services)))


def test_a_deployer_gets_no_further_than_a_container(tmp_path: Path) -> None:
    async def act(made: Manager, ask: Callable[..., Awaitable[Words]]) -> None:
        bob = await person(made, "bob", types_pb2.ROLE_DEPLOYER)
        ola = await person(made, "ola", types_pb2.ROLE_OPERATOR)
        vic = await person(made, "vic", types_pb2.ROLE_VIEWER)
        root = web(privileged=True, mounts=(BindMount(source="/etc", target="/host"),))

        for method in ("Apply", "Plan"):
            code, words = await ask(bob, method, apply(root, ServiceSpec(name="db", container=ContainerSpec(image="i"))))
            assert code is DENIED
            assert words.splitlines() == [
                "services.web.privileged: needs the permission privileged",
                "services.web.volumes: /etc needs the permission bind-mounts",
                "you are bob, deployer, and the policy does not give you that for shop: leave it out, or have an operator "
                f"deploy it or an admin allow it in {tmp_path / 'policy.yml'}; see rookery policy show",
            ]
        assert (await ask(vic, "Plan", apply(root)))[0] is grpc.StatusCode.OK  # who only looks is shown what would be

        said = await made.control.ListEvents(control_pb2.ListEventsRequest(by="bob"))
        assert [event.why for event in said.events][:1] == [
            "refused: deploying shop: services.web.privileged: needs the permission privileged (and 1 more)"
        ]

        # What an operator deployed may stay as it is, but a deployer may not go on with it, nor go back to it.
        plain = ServiceSpec(name="db", container=ContainerSpec(image="i"))
        assert (await ask(ola, "Apply", apply(root, plain)))[0] is grpc.StatusCode.OK
        other = ServiceSpec(name="db", container=ContainerSpec(image="i:2"))
        assert (await ask(bob, "Apply", apply(root, other)))[0] is grpc.StatusCode.OK
        assert (await ask(bob, "Apply", apply(web("evil", privileged=True), other)))[0] is DENIED
        assert (await ask(bob, "Apply", apply(web(), other)))[0] is grpc.StatusCode.OK
        back = control_pb2.RollbackRequest(app="shop", service="web", to=1)
        code, words = await ask(bob, "Rollback", back)
        assert (code, words.splitlines()[0]) == (DENIED, "services.web.privileged: needs the permission privileged")
        assert (await ask(ola, "Rollback", back))[0] is grpc.StatusCode.OK

    play(tmp_path, act)


def test_a_policy_counts_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"

    async def act(made: Manager, ask: Callable[..., Awaitable[Words]]) -> None:
        bob = await person(made, "bob", types_pb2.ROLE_DEPLOYER)
        mounted = web(mounts=(BindMount(source="/srv/shop/data", target="/d"),))
        assert (await ask(bob, "Apply", apply(mounted)))[0] is DENIED

        path.write_text("rules:\n  - {people: [bob], apps: [shop], may: [bind-mounts: [/srv/shop]]}\n")
        assert (await ask(bob, "Apply", apply(mounted)))[0] is grpc.StatusCode.OK
        assert (await ask(bob, "Apply", apply(web(mounts=(BindMount(source="/srv", target="/d"),)))))[0] is DENIED

        path.write_text("rules:\n  - {people: bob}\n")
        policy = await made.control.GetPolicy(control_pb2.GetPolicyRequest())
        assert policy.trouble == f"{path}:2: rules[0]: 'may' is missing"
        assert [list(rule.people) for rule in policy.rules] == [["bob"]]
        assert (await ask(bob, "Apply", apply(web("i:2", mounts=mounted.container.mounts))))[0] is grpc.StatusCode.OK

        # The file takes the place of the built-in rules: it binds admins too.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await made.control.Apply(apply(web(privileged=True)))
        assert caught.value.code() is DENIED

    play(tmp_path, act)
