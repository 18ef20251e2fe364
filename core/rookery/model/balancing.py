"""How a service's requests are shared out between its replicas."""

from dataclasses import dataclass
from enum import StrEnum


class BalanceMethod(StrEnum):
    TWO_CHOICES = "two-choices"
    ROUND_ROBIN = "round-robin"
    LEAST_IN_FLIGHT = "least-in-flight"
    HASH = "hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """By hash, requests with the same `hash_header` or `hash_cookie` go to the same replica; without either those of one client
    address.

    `weight` and `prefer` are properties of nodes (`node.labels.power`, `node.hostname`): replicas get requests by their node's
    weight (a number; 1 where it is none), and those whose node has the same property as the proxy's go first. A new replica's
    share grows over `slow_start_s`. `max_in_flight` is of each replica at each proxy; 0: no limit. When all have that, so many as
    `queue_most` wait in each worker of a proxy, for `queue_s` at most; 0: none does.
    """

    method: BalanceMethod = BalanceMethod.TWO_CHOICES
    hash_header: str = ""
    hash_cookie: str = ""
    weight: str = ""
    prefer: str = ""
    slow_start_s: float = 0.0
    max_in_flight: int = 0
    queue_s: float = 0.0
    queue_most: int = 0
