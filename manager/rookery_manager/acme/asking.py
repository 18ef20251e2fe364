"""Questions to an authority off the event loop: each in a thread that a manager which stops does not wait for.

Invariant: the caller waits no longer than QUESTION_S, also for an authority that answers a byte at a time.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TypeVar

QUESTION_S = 120.0  # a handful of HTTP requests, each with a limit of its own

T = TypeVar("T")


class Failed(Exception):
    """The authority did not do what it was asked for.

    `wait_s` is what it wants to be left alone for. `away`: it did not answer; `over`: the order is of no use any more; `unknown`:
    it does not know the account.
    """

    def __init__(self, why: str, *, wait_s: float = 0.0, away: bool = False, over: bool = True, unknown: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.wait_s = wait_s
        self.away = away
        self.over = over
        self.unknown = unknown


async def ask(question: Callable[[], T]) -> T:
    """What the authority answers. Raises Failed."""
    from rookery_manager.acme.authority import Away, Refused, Unknown  # lazily: it costs what others need not spend

    try:
        async with asyncio.timeout(QUESTION_S):
            return await asyncio.wrap_future(_begun(question))
    except Refused as error:
        raise Failed(str(error), wait_s=error.wait_s, over=error.over) from None
    except Unknown as error:
        raise Failed(str(error), unknown=True) from None
    except Away as error:
        raise Failed(str(error), away=True) from None
    except TimeoutError:
        raise Failed(f"the authority did not come to an end with its answer within {QUESTION_S:g} s", away=True) from None


def _begun(question: Callable[[], T]) -> Future[T]:
    answer: Future[T] = Future()

    def run() -> None:
        with contextlib.suppress(InvalidStateError):  # nobody waits any more
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

    threading.Thread(target=run, name="acme", daemon=True).start()
    return answer
