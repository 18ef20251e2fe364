"""The Python client: every call of ControlService, typed, with the model's values in and out.

    with Client("127.0.0.1:7070") as client:
        for service in client.list_services("shop"):
            print(service.service.key, service.ready, "of", service.wanted)

`AsyncClient` has the same methods for asyncio. Every call raises a ClientError whose message says what to do.
"""

from rookery.client.address import DEFAULT_ADDRESS, DEFAULT_PORT, parse_address
from rookery.client.asynchronous import AsyncClient
from rookery.client.blocking import Client
from rookery.client.errors import (
    BadRequest,
    ClientError,
    Conflict,
    Denied,
    ManagerFailed,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from rookery.client.values import (
    Applied,
    BackupPart,
    Changes,
    CreatedToken,
    Explanation,
    LogEntry,
    LogFailure,
    LogLine,
    Planned,
    Restarted,
    RolledBack,
    RolloutAction,
    Rotated,
    Scaled,
)

__all__ = [
    "AsyncClient", "Client", "DEFAULT_ADDRESS", "DEFAULT_PORT", "parse_address",
    "BadRequest", "ClientError", "Conflict", "Denied", "ManagerFailed", "NotFound", "TimedOut", "Unreachable", "Unsupported",
    "Applied", "BackupPart", "Changes", "CreatedToken", "Explanation", "LogEntry", "LogFailure", "LogLine", "Planned",
    "Restarted", "RolledBack", "RolloutAction", "Rotated", "Scaled",
]  # fmt: skip
