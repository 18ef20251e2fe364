"""What is wrong with how a service's new revisions are to take over.

Invariant: a strategy that passes here finds old and new replicas side by side, and requests to share out between them.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from rookery.model import (
    Canary,
    GlobalJob,
    PortMode,
    PortProtocol,
    ReplicatedJob,
    Rolling,
    ServiceSpec,
    UpdateOrder,
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, section 5.6.2


def rollout_faults(spec: ServiceSpec, path: str) -> Iterator[str]:
    if isinstance(spec.strategy, Rolling):
        return
    at = f"{path}.strategy"
    if isinstance(spec.strategy, Canary):
        yield from _canary_faults(spec.strategy, at)
    if isinstance(spec.mode, ReplicatedJob | GlobalJob):
        yield f"{at}: jobs run to their end and serve no requests; use rolling"
        return
    if spec.update.order is UpdateOrder.STOP_FIRST:
        yield f"{at}: needs old and new replicas side by side, but update.order is stop-first; use start-first, or rolling"
    if not spec.routes and not any(p.mode is PortMode.INGRESS and p.protocol is PortProtocol.TCP for p in spec.ports):
        yield f"{at}: no requests pass the proxies, as the service has neither an ingress TCP port nor a route; use rolling"


def _canary_faults(canary: Canary, path: str) -> Iterator[str]:
    if not canary.steps:
        yield f"{path}.steps: missing; they are the shares of the requests in percent, the last of them 100"
    elif bad := [step for step in canary.steps if not 1 <= step <= 100]:
        yield f"{path}.steps: {bad[0]} is not between 1 and 100"
    elif bad := [later for earlier, later in pairwise(canary.steps) if later <= earlier]:
        yield f"{path}.steps: {bad[0]} is not larger than the step before it"
    elif canary.steps[-1] != 100:
        yield f"{path}.steps: the last is {canary.steps[-1]}, so the rollout would never end; it has to be 100"
    for name in ("sticky_cookie", "sticky_header"):
        text = getattr(canary, name)
        if text and not _TOKEN.fullmatch(text):
            yield f"{path}.{name}: {text[:80]!r} is no name of a {name.removeprefix('sticky_')}"
    if canary.sticky_cookie and canary.sticky_header:
        yield f"{path}.sticky_header: there is a sticky cookie already; leave one of them out"
