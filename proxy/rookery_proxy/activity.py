"""Which routes and endpoints a worker has to look at: to count, sweep and knock costs what happens, whatever the table's size.

Invariant: a route that counted anything since it was last told of is in `touched`; one with idle connections or a budget that
runs is in `warm`; an endpoint that was ejected is in `ejected` until it is back.
"""

from typing import Generic, TypeVar

R = TypeVar("R")
E = TypeVar("E")


class Activity(Generic[R, E]):
    __slots__ = ("ejected", "touched", "warm")

    def __init__(self) -> None:
        self.touched: list[R] = []
        self.warm: dict[R, None] = {}
        self.ejected: dict[E, None] = {}

    def take_touched(self) -> list[R]:
        touched, self.touched = self.touched, []
        return touched
