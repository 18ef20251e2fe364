"""Whatever comes in: a proper answer, no hang, and nothing half written."""

import asyncio
import contextlib

import grpc
from api_cluster import Cluster, replica, running
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from rookery.model import App, AppRevision, ContainerSpec, Replicated, Revision, Rollout, Service, ServiceSpec
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t

METHODS = [method for method in c.DESCRIPTOR.services_by_name["ControlService"].methods if not method.server_streaming]
STREAMS = [method for method in c.DESCRIPTOR.services_by_name["ControlService"].methods if method.server_streaming]
BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED}

names = st.sampled_from(["shop", "web", "shop/web", "shop/web.1", "web1aaaa", "n1", "", "a", "/", "."])
texts = st.one_of(names, names, names, st.text(max_size=20))
numbers = st.sampled_from([0, 1, 2, 3, 80, 8080, -1, 65_536, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
floats = st.sampled_from([0.0, 0.5, 1.0, 5.0, -1.0]) | st.floats(allow_nan=True, allow_infinity=True)

SCALARS = {
    FieldDescriptor.TYPE_STRING: texts,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: numbers,
    FieldDescriptor.TYPE_INT64: numbers | st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_DOUBLE: floats,
    FieldDescriptor.TYPE_ENUM: st.integers(0, 3) | numbers,
}


@st.composite
def messages(draw: st.DrawFn, message_class: type[Message], depth: int = 0) -> Message:
    """Any message of the class, more often one that makes sense than chance would have it."""
    message = message_class()
    for field in message_class.DESCRIPTOR.fields:
        # A field is left out more often the deeper it lies, so that messages stay small.
        if draw(st.integers(0, 2 + depth)) > 1:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update(draw(st.dictionaries(texts, texts, max_size=2)))
        elif field.message_type is not None:
            inner = messages(GetMessageClass(field.message_type), depth + 1)
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(inner, max_size=2)))
            else:
                getattr(message, field.name).CopyFrom(draw(inner))
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(SCALARS[field.type], max_size=2)))
        else:
            setattr(message, field.name, draw(SCALARS[field.type]))
    return message


def bytes_of(message_class: type[Message]) -> st.SearchStrategy[bytes]:
    sensible = messages(message_class).map(lambda message: message.SerializeToString())
    return st.one_of(sensible, sensible, sensible, st.binary(max_size=200))


unary_calls = st.sampled_from(METHODS).flatmap(
    lambda method: st.tuples(st.just(method.name), bytes_of(GetMessageClass(method.input_type)))
)
stream_calls = st.sampled_from(STREAMS).flatmap(
    lambda method: st.tuples(st.just(method.name), bytes_of(GetMessageClass(method.input_type)))
)


@st.composite
def near_good_applies(draw: st.DrawFn) -> bytes:
    """Specs that would do, but for a few fields that may be anything."""
    specs = []
    for name in draw(st.lists(st.sampled_from(["web", "db", "api"]), max_size=3)):
        spec = draw(messages(t.ServiceSpec, draw(st.sampled_from([4, 30]))))
        assert isinstance(spec, t.ServiceSpec)
        spec.name = name
        spec.container.image = spec.container.image or "web:1"
        specs.append(spec)
    app = t.AppSpec(name=draw(st.sampled_from(["shop", "other"])), services=specs)
    return c.ApplyRequest(app=app, prune=draw(st.booleans())).SerializeToString()


calls = st.lists(unary_calls | st.tuples(st.sampled_from(["Apply", "Plan"]), near_good_applies()), min_size=1, max_size=15)


async def furnish(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    specs = [ServiceSpec(name="web", container=ContainerSpec(image=f"web:{n}"), mode=Replicated(replicas=1)) for n in (1, 2)]
    rollout = Rollout(before=1, after=2, number=1)
    await cluster.write(
        App(name="shop", services=("web",), revision=2),
        Service(app="shop", name="web", revision=2, replicas=1, rollout=rollout),
        *(Revision(app="shop", service="web", number=number, spec=spec) for number, spec in enumerate(specs, start=1)),
        *(AppRevision(app="shop", number=number, services={"web": number}) for number in (1, 2)),
        replica(1),
    )


def check_whole(cluster: Cluster) -> None:
    """Nothing is half written: every service belongs to an app, and has the revisions that it wants and may return to."""
    state = cluster.state
    for key, service in state.services.items():
        assert service.app in state.apps, key
        assert state.revision_of(key, service.revision) is not None, key
        assert service.replicas >= 0
        if service.rollout is not None:
            assert state.revision_of(key, service.rollout.before) is not None, key
            assert service.rollout.number not in state.rollouts.get(key, {}), f"{key}: what is under way is no past"
    for app in state.apps.values():
        assert app.revision == max(state.app_revisions[app.name])
        for name in app.services:
            assert f"{app.name}/{name}" in state.services


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(calls)
def test_unary_calls(batch: list[tuple[str, bytes]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), running() as cluster:
            await furnish(cluster)
            for name, data in batch:
                before = cluster.state.revision
                call = cluster.channel.unary_unary(f"/rookery.v1.ControlService/{name}")(data, timeout=60)
                code = await call.code()
                event(f"{name} {code.name}")
                assert code not in BROKEN, f"{name}: {code}: {await call.details()}"
                if code is not grpc.StatusCode.OK:
                    assert await call.details(), name
                    assert cluster.state.revision == before, f"{name} was refused and wrote"
                check_whole(cluster)

    asyncio.run(main())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream_calls)
def test_streams(call: tuple[str, bytes]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), running() as cluster:
            await furnish(cluster)
            cluster.nodes.connected.clear()
            name, data = call
            stream = cluster.channel.unary_stream(f"/rookery.v1.ControlService/{name}")(data, timeout=0.3)
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for _ in stream:
                    pass
            code = await stream.code()
            event(f"{name} {code.name}")
            assert code not in BROKEN - {grpc.StatusCode.DEADLINE_EXCEEDED}, f"{name}: {await stream.details()}"

    asyncio.run(main())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_are_a_message_or_none(data: bytes) -> None:
    """What the other tests rely on: garbage either parses or raises DecodeError, nothing else."""
    try:
        c.ApplyRequest.FromString(data)
    except DecodeError:
        return
