"""The model and the proto say the same, and every value survives the way there and back."""

import dataclasses
import inspect

import pytest
from rookery import model
from rookery.v1 import types_pb2
from rookery.wire import WireError, decode, from_bytes, message_class, to_bytes

VALUES = [
    cls
    for name in model.__all__
    if inspect.isclass(cls := getattr(model, name)) and dataclasses.is_dataclass(cls) and cls is not model.Transition
]


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_class_and_message_have_the_same_fields(cls: type) -> None:
    descriptor = message_class(cls.__name__).DESCRIPTOR
    assert {field.name for field in dataclasses.fields(cls)} == {field.name for field in descriptor.fields}


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_a_scalar_whose_default_is_not_zero_is_optional_on_the_wire(cls: type) -> None:
    descriptor = message_class(cls.__name__).DESCRIPTOR
    for field in dataclasses.fields(cls):
        wire_field = descriptor.fields_by_name[field.name]
        if isinstance(field.default, bool | int | float | str) and field.default and wire_field.enum_type is None:
            assert wire_field.has_presence, f"{cls.__name__}.{field.name} would be read as zero where a client leaves it out"


def full_service() -> model.ServiceSpec:
    return model.ServiceSpec(
        name="web",
        container=model.ContainerSpec(
            image="web:1",
            command=model.Argv(args=()),
            entrypoint=None,
            environment={"A": "1", "B": ""},
            mounts=(
                model.VolumeMount(volume="shop_data", target="/data"),
                model.TmpfsMount(target="/tmp", size_bytes=1),
                model.BindMount(source="/a", target="/b"),
            ),
            files=(model.FileMount(kind=model.FileKind.SECRET, name="s", target="/run/secrets/s", digest="0"),),
        ),
        mode=model.Global(),
        probe=model.HttpProbe(port=80),
        restart=model.RestartPolicy(delay_s=0.0),
        ports=(model.Port(target=80, published=8080),),
        rebalance=False,
    )


@pytest.mark.parametrize(
    "value",
    [
        full_service(),
        model.ServiceSpec(name="x"),
        model.Replica(id=model.ReplicaId("a"), app="x", service="y", slot=1, revision=1, exit_code=0),
        model.Route(id=model.RouteId("r"), app="a", service="b", port=80, protocol=model.ListenProtocol.DETECT),
        model.Node(id=model.NodeId("n"), info=model.NodeInfo(hostname="h", runtimes=(model.RuntimeKind.PROCESS,))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_survives_the_way_there_and_back(value: object) -> None:
    assert from_bytes(type(value), to_bytes(value)) == value


def test_what_a_client_leaves_out_takes_the_default() -> None:
    assert decode(model.ServiceSpec, types_pb2.ServiceSpec(name="a")) == model.ServiceSpec(name="a")


def test_a_choice_that_was_not_made_is_an_error() -> None:
    with pytest.raises(WireError, match="none of replicated, global"):
        decode(model.ServiceSpec, types_pb2.ServiceSpec(name="a", mode=types_pb2.Mode()))


def test_an_unknown_enum_number_is_an_error() -> None:
    message = types_pb2.RestartPolicy()
    message.condition = 99  # type: ignore[assignment]
    with pytest.raises(WireError, match="no value has the number 99"):
        decode(model.RestartPolicy, message)


def test_a_required_enum_that_is_missing_is_an_error() -> None:
    with pytest.raises(WireError, match="state must be set"):
        decode(model.ReplicaStatus, types_pb2.ReplicaStatus(replica_id="a"))


def test_garbage_is_an_error() -> None:
    with pytest.raises(WireError, match="not a Replica"):
        from_bytes(model.Replica, b"\xff\xff\xff")
