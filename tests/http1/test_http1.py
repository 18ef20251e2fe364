"""The corpus against a real proxy: every case whole, byte by byte, and cut at random, always with the same outcome."""

import asyncio
import re
from collections import Counter

import pytest
from http1_answers import ANSWERS
from http1_case import Answered, Asked
from http1_forwarded import FORWARDED
from http1_judge import wrong
from http1_lane import Lane, cuttings
from http1_refused import REFUSED
from proxy_rig import endpoint, free_port, rig, route

CASES: tuple[Asked | Answered, ...] = (*REFUSED, *FORWARDED, *ANSWERS)
LANES = 24  # at once


def title(case: Asked | Answered) -> str:
    return f"{'request' if isinstance(case, Asked) else 'answer'}: {case.rule}: {case.name}"


async def run_all() -> dict[str, list[str]]:
    """What went wrong, by case."""
    failures: dict[str, list[str]] = {title(case): [] for case in CASES}
    waiting = list(reversed(CASES))

    async def work(lane: Lane) -> None:
        while waiting:
            case = waiting.pop()
            for cuts in cuttings(case):
                why = wrong(case, await lane.run(case, cuts))
                if why:
                    failures[title(case)].append(f"cut at {list(cuts)[:10]}: {why}")

    async with rig() as r:
        lanes = [Lane() for _ in range(LANES)]
        for lane in lanes:
            await lane.start()
            lane.port = free_port()
        await r.serve(
            *(route(lane.port, endpoint(f"e{n}", lane.endpoint_port), name=f"lane{n}/web") for n, lane in enumerate(lanes))
        )
        await asyncio.gather(*(work(lane) for lane in lanes))
        for lane in lanes:
            await lane.stop()
    return failures


@pytest.fixture(scope="module")
def failures() -> dict[str, list[str]]:
    return asyncio.run(run_all())


@pytest.mark.parametrize("case", CASES, ids=title)
def test_case(case: Asked | Answered, failures: dict[str, list[str]]) -> None:
    assert failures[title(case)] == []


def test_the_corpus_is_large_names_its_rules_and_says_nothing_twice() -> None:
    assert len(REFUSED) + len(FORWARDED) >= 250
    assert len(ANSWERS) >= 100
    assert [name for name, count in Counter(map(title, CASES)).items() if count > 1] == []
    assert [case for case in CASES if not re.match(r"(?:9110|9112) \d+|docs/", case.rule)] == []
    asked = Counter(case.sent for case in CASES if isinstance(case, Asked))
    assert [sent[:200] for sent, count in asked.items() if count > 1] == []
