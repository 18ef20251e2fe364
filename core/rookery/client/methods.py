"""What both clients do alike: make methods of the table of calls, and treat messages on their way out and in."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from google.protobuf.message import Message

from rookery.client.errors import ManagerFailed
from rookery.wire import WireError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def named_after(build: Callable[..., Any], method: F) -> F:
    """The method, with the name, the documentation and the signature of the function in `calls` that it is made of."""
    signature = inspect.signature(build)
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__name__ = method.__qualname__ = build.__name__
    method.__doc__ = build.__doc__
    (result,) = get_args(signature.return_annotation)  # T of Call[T] or Stream[T]
    vars(method)["__signature__"] = signature.replace(parameters=[me, *signature.parameters.values()], return_annotation=result)
    return method


def sign(request: Message, actor: str) -> Message:
    """The request with who asks in it, where it has a place for that."""
    if actor and "actor" in request.DESCRIPTOR.fields_by_name:
        request.actor = actor  # type: ignore[attr-defined]
    return request


def read_answer(read: Callable[[Any], T], message: Message, method: str) -> T:
    """The value of an answer. Raises ManagerFailed for one that this client can't read."""
    try:
        return read(message)
    except WireError as error:
        text = f"the answer to {method} can't be read ({error}): the manager is of another version ('rookery version')"
        raise ManagerFailed(text, code="INTERNAL") from None
