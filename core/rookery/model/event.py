"""One change of the store, with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`kind` is app, service, revision, replica or node; `subject` its name (`shop/web.3`), `id` its id where it has one."""

    revision: int
    at: float
    actor: str
    kind: str
    subject: str
    why: str
    id: str = ""
