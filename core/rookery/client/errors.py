"""What can go wrong with a call, as errors whose message a person can act on.

The words are the manager's own, except where no manager spoke: then they say what stood in the way and how to get round it.
"""

import re
from collections.abc import Mapping

from rookery.channel import words_of_tls


class ClientError(Exception):
    """A call that the manager refused or could not answer; `code` is the gRPC status (`NOT_FOUND`)."""

    def __init__(self, message: str, *, code: str = "UNKNOWN") -> None:
        super().__init__(message)
        self.code = code


class Unreachable(ClientError):
    """No manager answered."""


class TimedOut(ClientError):
    """The manager did not answer within the deadline."""


class NotFound(ClientError):
    """There is nothing of that name."""


class BadRequest(ClientError):
    """The manager does not take what it was given: an impossible value, a name that breaks the rules."""


class Conflict(ClientError):
    """The state of the cluster forbids it: it exists already, it is not empty, someone was faster."""


class Denied(ClientError):
    """Who asks may not do this."""


class Unsupported(ClientError):
    """This manager does not know the call: it is of another version."""


class ManagerFailed(ClientError):
    """The manager made a mistake; its log says which."""


_BY_CODE: Mapping[str, type[ClientError]] = {
    "NOT_FOUND": NotFound,
    "INVALID_ARGUMENT": BadRequest,
    "OUT_OF_RANGE": BadRequest,
    "FAILED_PRECONDITION": Conflict,
    "ALREADY_EXISTS": Conflict,
    "ABORTED": Conflict,
    "PERMISSION_DENIED": Denied,
    "UNAUTHENTICATED": Denied,
    "UNIMPLEMENTED": Unsupported,
    "INTERNAL": ManagerFailed,
    "UNKNOWN": ManagerFailed,
    "DATA_LOSS": ManagerFailed,
}
# What gRPC itself says when there was no connection, and the few words that a person needs of it.
_NO_CONNECTION: tuple[tuple[str, str], ...] = (
    (r"Connection refused", "connection refused"),
    (r"DNS resolution failed|Name or service not known|Domain name not found|C-ares", "no such host"),
    (r"No route to host", "no route to host"),
    (r"Network is unreachable", "network is unreachable"),
    (r"[Tt]imed? ?out|Timeout occurred|[Dd]eadline", "connection timed out"),
    (r"Connection reset|Socket closed|Broken pipe|GOAWAY|recvmsg|connection closed|Endpoint closing", "connection lost"),
    (r"failed to connect|Failed to connect", "can't connect"),
)
_NOT_GRPC = re.compile(
    r"http1\.x|Failed parsing HTTP/2|frame size|settings frame|Ssl handshake|protocol error|PROTOCOL_ERROR", re.I
)


def from_status(
    code: str, details: str, *, address: str, method: str, timeout_s: float | None, secure: bool = False
) -> ClientError:
    """The error for a gRPC status other than OK; `secure` where it came over TLS."""
    if code == "UNAVAILABLE" and secure and (tls := words_of_tls(details)):
        return Unreachable(f"the manager at {address} can't be talked to: {tls}", code=code)
    if code in ("UNAVAILABLE", "UNKNOWN", "INTERNAL") and _NOT_GRPC.search(details) and "timed out" not in details:
        return Unreachable(f"what answers at {address} is no Rookery manager. {_WAY_OUT}", code=code)
    if code == "UNAVAILABLE":
        why = next((words for pattern, words in _NO_CONNECTION if re.search(pattern, details)), "")
        if why == "connection lost" and not secure:
            way_out = "A manager that was not started with --insecure does not talk to one without a credential"
            return Unreachable(f"no manager answers at {address} ({why}). {way_out}", code=code)
        if why:
            return Unreachable(f"no manager answers at {address} ({why}). {_WAY_OUT}", code=code)
        return Unreachable(f"the manager at {address} can't answer now: {details or 'no reason given'}", code=code)
    if code == "DEADLINE_EXCEEDED":
        within = f" within {timeout_s:g} s" if timeout_s else " in time"
        # The manager's own words tell more than those that gRPC has for every deadline.
        own = details if details.startswith("the manager") else ""
        return TimedOut(own or f"the manager at {address} did not answer {method}{within}; its log may say why", code=code)
    if code == "CANCELLED":
        return ClientError(f"{method} was cancelled", code=code)
    if code == "UNIMPLEMENTED":
        return Unsupported(
            f"the manager at {address} does not know {method}: it is of another version ('rookery version')", code=code
        )
    cls = _BY_CODE.get(code, ClientError)
    if cls is ManagerFailed and not details.startswith("the manager"):
        return cls(f"the manager failed in {method}: {details or 'no reason given'}; see its log", code=code)
    return cls(details or f"{method}: {code.lower().replace('_', ' ')}", code=code)


_WAY_OUT = "Start one with 'rookery up', or name another with --manager HOST:PORT or ROOKERY_MANAGER"
