"""ControlService: what operators, and every other gRPC client, ask of the manager."""

from rookery_manager.api.needs import Api, Nodes, Proxies
from rookery_manager.api.server import make_health, register

__all__ = ["Api", "Nodes", "Proxies", "make_health", "register"]
