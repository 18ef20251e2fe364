"""Where replicas go: filters say which nodes fit, scores say which is best, and both say why.

Invariant: `place`, `explain` and `eligible` ask the same filters and the same scores, so none contradicts another; equal
questions have equal answers.
"""

from rookery_manager.scheduler.answers import Placed, Refused, Request
from rookery_manager.scheduler.constraint import Constraint, parse_constraint
from rookery_manager.scheduler.filters import NO_NODE
from rookery_manager.scheduler.place import eligible, explain, place
from rookery_manager.scheduler.surely import Rooms
from rookery_manager.scheduler.usage import HostPort, NodeView, charge, view

__all__ = [
    "NO_NODE", "Constraint", "HostPort", "NodeView", "Placed", "Refused", "Request", "Rooms", "charge", "eligible", "explain",
    "parse_constraint", "place", "view",
]  # fmt: skip
