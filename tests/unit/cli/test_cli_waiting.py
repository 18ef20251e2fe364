"""Waiting for the cluster: what wakes it, what ends it, and a manager that goes away meanwhile."""

import asyncio
import time
from collections.abc import Iterator

import grpc
import pytest
from fake_control import FakeControl, serving
from rookery.cli.display import Lines
from rookery.cli.look import Line, Look, Outcome
from rookery.cli.waiting import wait_until
from rookery.client import AsyncClient, NotFound, Unreachable


class Seen:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def show(self, look: Look) -> None:
        self.texts += [line.whole for line in look.lines]


@pytest.fixture
def control() -> Iterator[FakeControl]:
    fake = FakeControl()
    with serving(fake):
        yield fake


def run(control: FakeControl, looks: list[Look | Exception], *, timeout_s: float = 10.0) -> tuple[Outcome, Look, list[str]]:
    """What comes of these looks; the last one is repeated."""
    seen = Seen()
    coming = iter(looks)
    last = looks[-1]

    async def look() -> Look:
        found = next(coming, last)
        if isinstance(found, Exception):
            raise found
        return found

    async def scenario() -> tuple[Outcome, Look]:
        async with AsyncClient(control.address) as client:
            return await wait_until(client, look, seen, timeout_s=timeout_s, spacing_s=0.0)

    outcome, end = asyncio.run(scenario())
    return outcome, end, seen.texts


WAITING = Look([Line("shop/web", "0/1 ready")], again_s=0.01)
DONE = Look([Line("shop/web", "1/1 ready", Outcome.DONE)], Outcome.DONE)


def test_it_ends_with_the_first_outcome(control: FakeControl) -> None:
    assert run(control, [WAITING, WAITING, DONE]) == (Outcome.DONE, DONE, ["0/1 ready", "0/1 ready", "1/1 ready"])


def test_it_gives_up_in_time(control: FakeControl) -> None:
    outcome, end, _ = run(control, [WAITING], timeout_s=0.1)
    assert (outcome, end) == (Outcome.TIMED_OUT, WAITING)


def test_the_time_counts_anew_with_each_stage(control: FakeControl) -> None:
    stages = [Look(WAITING.lines, again_s=0.05, stage=n // 5) for n in range(30)]  # six of 0.25 s, and more time than one has
    assert run(control, [*stages, DONE], timeout_s=1.0)[0] is Outcome.DONE
    long = [Look(WAITING.lines, again_s=0.05, stage="long", stage_s=60.0)] * 5
    assert run(control, [*long, DONE], timeout_s=0.1)[0] is Outcome.DONE


def test_a_manager_that_is_away_for_a_while_is_waited_for(control: FakeControl) -> None:
    away = Unreachable("gone", code="UNAVAILABLE")
    outcome, _, texts = run(control, [WAITING, away, DONE])
    assert outcome is Outcome.DONE
    assert texts == ["0/1 ready", "0/1 ready", "away, trying again (unavailable)", "1/1 ready"]


def test_a_refusal_is_not(control: FakeControl) -> None:
    with pytest.raises(NotFound):
        run(control, [WAITING, NotFound("no app", code="NOT_FOUND")])


def test_a_change_wakes_it_at_once(control: FakeControl) -> None:
    calm = Look([Line("shop/web", "0/1 ready")], again_s=60.0)
    begun = time.monotonic()

    class Changing(Seen):
        def show(self, look: Look) -> None:
            super().show(look)
            control.add_event("replica", "shop/web.1", "it runs")

    seen = Changing()
    looks = iter([calm, calm, DONE])

    async def look() -> Look:
        return next(looks)

    async def scenario() -> tuple[Outcome, Look]:
        async with AsyncClient(control.address) as client:
            return await wait_until(client, look, seen, timeout_s=60.0, spacing_s=0.2)

    assert asyncio.run(scenario())[0] is Outcome.DONE
    assert time.monotonic() - begun < 30.0


def test_without_a_watch_it_looks_again_by_itself(control: FakeControl) -> None:
    control.refuses["Watch"] = (grpc.StatusCode.UNIMPLEMENTED, "not here")
    calm = Look([Line("shop/web", "0/1 ready")], again_s=60.0)
    begun = time.monotonic()
    assert run(control, [calm, calm, DONE], timeout_s=60.0)[0] is Outcome.DONE
    assert time.monotonic() - begun < 30.0


def test_lines_tell_progress_at_once_and_waits_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for text, waits in [("0/2", "pulling"), ("0/2", "pulling"), ("0/2", "starting"), ("1/2", "starting"), ("2/2", "")]:
        lines.show(Look([Line("web", text, waits=waits)]))
    assert capsys.readouterr().out.splitlines() == ["web  0/2  (pulling)", "web  1/2  (starting)", "web  2/2"]
