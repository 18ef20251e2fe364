"""Requests as a user would send them, and what became of each."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`why` is empty for a request that was answered with 200. `count` is None where the api was away."""

    at: float
    node: str = ""
    slot: str = ""
    count: int | None = None
    why: str = ""


def ask(host: str, port: int) -> Answer:
    """One request on a connection of its own, so that each is balanced."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            return Answer(at=time.monotonic(), why=f"{response.status} {body.decode(errors='replace').strip()[:200]}")
        said = json.loads(body)
        api = said.get("api") or {}
        return Answer(at=time.monotonic(), node=said["node"], slot=said["slot"], count=api.get("count"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(at=time.monotonic(), why=f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def send(host: str, port: int, count: int) -> list[Answer]:
    """`count` requests, eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: ask(host, port), range(count)))


class Background:
    """Requests that go on while something else happens: four users who pause for a moment after each answer."""

    def __init__(self, host: str, port: int) -> None:
        self.answers: list[Answer] = []
        self._target = (host, port)
        self._stop = threading.Event()
        self._users = [threading.Thread(target=self._use, daemon=True) for _ in range(4)]

    def __enter__(self) -> "Background":
        for user in self._users:
            user.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for user in self._users:
            user.join(2 * TIMEOUT_S)

    def _use(self) -> None:
        while not self._stop.wait(0.02):
            self.answers.append(ask(*self._target))


def longest_gap_s(answers: Iterable[Answer]) -> float:
    """The longest time in which nobody got a good answer."""
    good = sorted(answer.at for answer in answers if not answer.why)
    return max((after - before for before, after in pairwise(good)), default=0.0)


def spread(answers: Iterable[Answer]) -> str:
    """How the good answers were spread over nodes and replicas, as a table; then what went wrong, if anything."""
    good: Counter[tuple[str, str]] = Counter()
    bad: Counter[str] = Counter()
    for answer in answers:
        if answer.why:
            bad[answer.why] += 1
        else:
            good[answer.node, answer.slot] += 1
    lines = ["  node     replica  requests"]
    for (node, slot), count in sorted(good.items()):
        lines.append(f"  {node:<8} web.{slot:<4} {count:>8}  {'#' * round(count / 2)}")
    lines += [f"  failed: {count} x {why}" for why, count in bad.most_common()]
    return "\n".join(lines)
