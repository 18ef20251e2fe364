"""What goes wrong, as gRPC statuses that a person can act on.

Invariant: no traceback and no text of a library leaves the manager. What nobody expected gets an id by which the manager's log
has the rest of it.
"""

import difflib
import logging
import secrets
from collections.abc import Iterable, Sequence

import grpc
from google.protobuf.message import DecodeError
from rookery.wire import WireError

from rookery_manager.sealing.key_file import NoKey
from rookery_manager.sealing.keyring import Locked
from rookery_manager.store import Compacted, Conflict, StoreError

log = logging.getLogger("rookery.api")

MAX_FAULTS = 20
MAX_NAMED = 5
MAX_MESSAGE = 3_000  # gRPC carries it in a header, of which 8 kB are sure to arrive


class Refused(Exception):
    """An answer other than the one asked for."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def impossible_now(message: str) -> Refused:
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, message)


def not_found(what: str, name: str, known: Iterable[str]) -> Refused:
    """`no service shop/wbe; did you mean shop/web?`"""
    names = sorted(known)
    near = difflib.get_close_matches(name[:200], names, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there is {', '.join(names)}" if 0 < len(names) <= MAX_NAMED else ""
    return Refused(grpc.StatusCode.NOT_FOUND, f"no {what} {shown(name)}{hint}")


def faulty(faults: Sequence[str]) -> Refused:
    """One line a fault."""
    more = [f"and {len(faults) - MAX_FAULTS} more faults"] if len(faults) > MAX_FAULTS else []
    return invalid("\n".join([*faults[:MAX_FAULTS], *more]))


def shown(text: str) -> str:
    """A text from outside as it may be shown: printable, and not endless."""
    text = text if len(text) <= 200 else f"{text[:197]}..."
    return text if text and text.isprintable() else repr(text)


def status_of(error: Exception, rpc: str) -> tuple[grpc.StatusCode, str]:
    code, message = _status_of(error, rpc)
    return code, message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} ..."


def _status_of(error: Exception, rpc: str) -> tuple[grpc.StatusCode, str]:
    match error:
        case Refused():
            return error.code, str(error)
        case DecodeError():
            return grpc.StatusCode.INVALID_ARGUMENT, f"what was sent to {rpc} is no message of its kind"
        case WireError():
            return grpc.StatusCode.INVALID_ARGUMENT, str(error)
        case TimeoutError():
            return grpc.StatusCode.DEADLINE_EXCEEDED, f"the manager could not carry out {rpc} in time; try again"
        case Conflict():
            return grpc.StatusCode.ABORTED, f"others changed the same at the same time, again and again ({error}); try again"
        case Compacted():
            return grpc.StatusCode.OUT_OF_RANGE, f"{error}; begin again with a snapshot"
        case Locked() | NoKey():
            return grpc.StatusCode.FAILED_PRECONDITION, str(error)
        case StoreError():
            log.error("%s: the store can't do it: %s", rpc, error)
            full = "disk is full" in str(error)
            return grpc.StatusCode.RESOURCE_EXHAUSTED if full else grpc.StatusCode.UNAVAILABLE, f"the store: {error}"
    error_id = secrets.token_hex(4)
    log.error("%s failed unexpectedly, error id %s", rpc, error_id, exc_info=error)
    return grpc.StatusCode.INTERNAL, f"the manager failed at {rpc}; its log says more under error id {error_id}"
