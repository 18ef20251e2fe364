"""What of a service's spec its containers are made from: a change of it replaces replicas, a change of the rest replaces none.

Invariant: every field of ServiceSpec is decided here, once. What is left out of the template takes effect on running replicas as
they are: it is read by the manager, the proxies or the agent whenever they act, not written into the container.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache

from rookery.model import PortMode, PullPolicy, ServiceSpec, target_ports

Part = Callable[[ServiceSpec], object]


def _nothing(spec: ServiceSpec) -> object:  # noqa: ARG001 (one of several parts)
    return None


def _container(spec: ServiceSpec) -> object:
    # Read at the moment of pulling or stopping; the rest is fixed when the engine makes the container.
    return dataclasses.replace(spec.container, stop_signal="", stop_grace_period_s=0.0, pull_policy=PullPolicy.MISSING)


def _ports(spec: ServiceSpec) -> object:
    # The engine publishes the target ports, and those of mode `host` under their own numbers. Which port the proxies listen on
    # for an ingress port concerns no container.
    return target_ports(spec), tuple(port for port in spec.ports if port.mode is PortMode.HOST)


NEEDS_NEW_CONTAINER: Mapping[str, Part] = {
    "name": _nothing,
    "container": _container,
    "mode": lambda spec: type(spec.mode),  # the number of replicas is no part of a container
    "reservations": lambda spec: spec.reservations,  # they were placed by it, and engines are told of it
    "limits": lambda spec: spec.limits,
    # A replica that sits where a new constraint forbids it has to move; a preference is for those that are yet to be placed.
    "placement": lambda spec: (spec.placement.constraints, spec.placement.max_replicas_per_node),
    "restart": _nothing,
    "update": _nothing,
    "rollback": _nothing,
    "ports": _ports,
    "expose": _ports,
    "routes": _ports,
    "probe": lambda spec: spec.probe,  # engines run command and image probes by what the container was made with
    "depends_on": _nothing,
    "labels": _nothing,
    "drain_timeout_s": _nothing,
    "on_disconnect": _nothing,
    "on_disconnect_after_s": _nothing,
    "runtime": lambda spec: spec.runtime,
    "rebalance": _nothing,
    "strategy": _nothing,
    "balancing": _nothing,
    "proxy_protocol": _nothing,
    "autoscale": _nothing,
    "allow": _nothing,
}


def same_template(a: ServiceSpec, b: ServiceSpec) -> bool:
    """True where a replica made from `a` is as good as one made from `b`."""
    return a is b or _are_same(_Known(a), _Known(b))


class _Known:
    """A spec by its identity: specs don't change, and are far cheaper told apart so than by all that is in them."""

    __slots__ = ("spec",)

    def __init__(self, spec: ServiceSpec) -> None:
        self.spec = spec

    def __hash__(self) -> int:
        return id(self.spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.spec is other.spec


# A plan asks of every replica, several times over, and there are but a few pairs at a time: some are kept, with their specs.
@lru_cache(maxsize=256)
def _are_same(a: _Known, b: _Known) -> bool:
    return all(part(a.spec) == part(b.spec) for part in NEEDS_NEW_CONTAINER.values())
