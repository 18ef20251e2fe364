"""The node as its runtime needs to know it."""

from dataclasses import dataclass

from rookery.model import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`network` is the engine's network at whose addresses replicas answer; empty: at ports of `address`."""

    node_id: NodeId
    hostname: str
    address: str
    network: str = ""
