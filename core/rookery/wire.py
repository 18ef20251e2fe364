"""Model values to protobuf messages and back: the only place where both are known.

A dataclass and its message have the same name and the same field names; the conversions are made from the two declarations,
once a class. Rules: a StrEnum member `RUNNING` of `ReplicaState` is `REPLICA_STATE_RUNNING`; a union of classes is a message with
one oneof named `kind`; a field that is absent on the wire takes the dataclass's default, so every scalar whose default is not
zero is `optional` in the proto (a test holds both to it).
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from rookery.v1 import control_pb2, types_pb2

T = TypeVar("T")
Encoder = Callable[[Any], Any]
Decoder = Callable[[Any], Any]


class WireError(ValueError):
    """A message that is no value of the model: an unknown enum number, a choice that was not made."""


def encode(value: Any) -> Any:
    """The protobuf message of a model value."""
    return _codec(cast(Hashable, type(value))).encode(value)


def decode(cls: type[T], message: Message) -> T:
    """The model value of a message. Raises WireError for one that is no value of the model."""
    return cast(T, _codec(cast(Hashable, cls)).decode(message))


def to_bytes(value: Any) -> bytes:
    return cast(bytes, encode(value).SerializeToString(deterministic=True))


def from_bytes(cls: type[T], data: bytes) -> T:
    """The model value of a serialized message. Raises WireError where the bytes are none."""
    message = message_class(cls.__name__)()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError(f"not a {cls.__name__}: {error}") from error
    return decode(cls, message)


def message_class(name: str) -> type[Message]:
    """The generated class of that name."""
    for module in (types_pb2, control_pb2):
        if hasattr(module, name):
            return cast(type[Message], getattr(module, name))
    raise LookupError(f"no message named {name} in rookery.v1")


@dataclasses.dataclass(frozen=True, slots=True)
class _Codec:
    encode: Encoder
    decode: Decoder


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    write: Callable[[Message, Any], None]
    read: Callable[[Message], Any]


_ABSENT = object()


@cache
def _codec(cls: type[Any]) -> _Codec:
    make = message_class(cls.__name__)
    fields = _fields(cls, make.DESCRIPTOR)
    required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}

    def encode_value(value: Any) -> Message:
        message = make()
        for field in fields:
            field.write(message, getattr(value, field.name))
        return message

    def decode_message(message: Message) -> Any:
        values = {}
        for field in fields:
            value = field.read(message)
            if value is not _ABSENT:
                values[field.name] = value
        try:
            return cls(**values)
        except TypeError:
            missing = ", ".join(sorted(required - values.keys()))
            raise WireError(f"{cls.__name__}: {missing} must be set") from None

    return _Codec(encode_value, decode_message)


def _fields(cls: type[Any], descriptor: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(cls)
    made = []
    for field in dataclasses.fields(cls):
        wire_field = descriptor.fields_by_name.get(field.name)
        if wire_field is None:
            raise LookupError(f"message {descriptor.name} has no field {field.name}")
        made.append(_field(field.name, hints[field.name], wire_field))
    return tuple(made)


def _field(name: str, hint: Any, wire_field: FieldDescriptor) -> _Field:
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _repeated(name, typing.get_args(hint)[0], wire_field)
    if origin is Mapping or origin is typing.get_origin(Mapping[str, str]):
        return _map(name)
    members = [arg for arg in typing.get_args(hint) if arg is not type(None)] if origin is types.UnionType else [hint]
    nullable = origin is types.UnionType and type(None) in typing.get_args(hint)
    codec = _value_codec(members, wire_field)
    return _singular(name, codec, wire_field, nullable=nullable)


def _repeated(name: str, hint: Any, wire_field: FieldDescriptor) -> _Field:
    members = list(typing.get_args(hint)) if typing.get_origin(hint) is types.UnionType else [hint]
    codec = _value_codec(members, wire_field)
    if codec is None:
        return _Field(name, lambda m, v: getattr(m, name).extend(v), lambda m: tuple(getattr(m, name)))
    write, read = codec.encode, codec.decode
    return _Field(
        name,
        lambda m, v: getattr(m, name).extend([write(item) for item in v]),
        lambda m: tuple([item for item in map(read, getattr(m, name)) if item is not _ABSENT]),
    )


def _map(name: str) -> _Field:
    return _Field(name, lambda m, v: getattr(m, name).update(v), lambda m: dict(getattr(m, name)))


def _singular(name: str, codec: _Codec | None, wire_field: FieldDescriptor, *, nullable: bool) -> _Field:
    encode_one = codec.encode if codec else None
    decode_one = codec.decode if codec else None
    is_message = wire_field.message_type is not None

    def write(message: Message, value: Any) -> None:
        if value is None:
            return
        if encode_one is not None:
            value = encode_one(value)
        if is_message:
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)

    def read(message: Message) -> Any:
        if wire_field.has_presence and not message.HasField(name):
            return None if nullable else _ABSENT
        value = getattr(message, name)
        return decode_one(value) if decode_one is not None else value

    return _Field(name, write, read)


def _value_codec(members: list[Any], wire_field: FieldDescriptor) -> _Codec | None:
    """How one value is converted; None where it is the same on both sides."""
    if len(members) > 1:
        return _choice(tuple(members), wire_field.message_type)
    hint = getattr(members[0], "__supertype__", members[0])  # a NewType is what it wraps
    if dataclasses.is_dataclass(hint):
        cls = cast(type[Any], hint)
        return _Codec(
            lambda value: _codec(cast(Hashable, cls)).encode(value), lambda message: _codec(cast(Hashable, cls)).decode(message)
        )
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum(hint, wire_field.enum_type)
    return None


def _choice(classes: tuple[type[Any], ...], descriptor: Any) -> _Codec:
    make = message_class(descriptor.name)
    by_message = {field.message_type.name: field.name for field in descriptor.oneofs_by_name["kind"].fields}
    slots = {cls: by_message[cls.__name__] for cls in classes}
    by_slot = {slot: cls for cls, slot in slots.items()}

    def encode_value(value: Any) -> Message:
        message = make()
        part = getattr(message, slots[type(value)])
        part.SetInParent()
        part.CopyFrom(_codec(cast(Hashable, type(value))).encode(value))
        return message

    def decode_message(message: Message) -> Any:
        slot = message.WhichOneof("kind")
        if slot is None:
            raise WireError(f"{descriptor.name}: none of {', '.join(by_slot)} is set")
        return _codec(cast(Hashable, by_slot[slot])).decode(getattr(message, slot))

    return _Codec(encode_value, decode_message)


def _enum(cls: type[StrEnum], descriptor: Any) -> _Codec:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", descriptor.name).upper() + "_"
    numbers = {
        member: descriptor.values_by_name[prefix + (member.name if member.value else "UNSPECIFIED")].number for member in cls
    }
    by_number: dict[int, Any] = {number: member for member, number in numbers.items()}
    by_number.setdefault(0, _ABSENT)

    def decode_number(number: int) -> Any:
        try:
            return by_number[number]
        except KeyError:
            raise WireError(f"{descriptor.name}: no value has the number {number}") from None

    return _Codec(lambda member: numbers[member], decode_number)
