"""What makes and removes the machines of a pool: programs, called with JSON (docs/pools.md), ours and the operator's alike."""

from rookery_manager.providers.calling import Providers
from rookery_manager.providers.contract import Failed

__all__ = ["Failed", "Providers"]
