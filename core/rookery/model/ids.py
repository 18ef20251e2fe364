"""The names of things, as types of their own."""

from typing import NewType

AppName = NewType("AppName", str)
ServiceName = NewType("ServiceName", str)  # within its app
ServiceKey = NewType("ServiceKey", str)  # APP/SERVICE
ReplicaId = NewType("ReplicaId", str)
NodeId = NewType("NodeId", str)
RouteId = NewType("RouteId", str)


def service_key(app: str, service: str) -> ServiceKey:
    return ServiceKey(f"{app}/{service}")


def replica_name(app: str, service: str, slot: int, node_name: str = "") -> str:
    """`shop/web.3`; a global service's replica has no slot and goes by its node: `shop/web.n2`."""
    return f"{app}/{service}.{slot if slot else node_name or '?'}"
