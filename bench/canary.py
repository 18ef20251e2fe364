"""How often a canary is called worse by chance, and how soon when it is: PYTHONPATH=tests/fakes python bench/canary.py

Traffic is drawn at random with a fixed seed, so that a run is repeatable. Takes some minutes.
"""

import argparse
from random import Random
from statistics import median

from fake_canary import Behaviour, Step, first_worse

SEED = 7


def alarms(steps: list[Step]) -> tuple[float, float]:
    """The part of the steps in which the new revision is called worse, and the median of its requests until then."""
    random = Random(SEED)
    found = [look.new.requests for step in steps if (look := first_worse(step, random))]
    return len(found) / len(steps), median(found) if found else 0.0


def medians(times: float, count: int) -> list[tuple[Behaviour, Behaviour]]:
    """An old revision and a slower new one, with medians evenly over a decade: how they lie to the buckets is luck."""
    old = [0.01 * 10 ** (i / count) for i in range(count)]
    return [(Behaviour(median_s=at_s), Behaviour(median_s=at_s * times)) for at_s in old]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    count = parser.parse_args().steps
    print("the same revision on both sides, 120 looks: called worse")
    print(f"{'errors':<8} {'rate':<8} {'5 %':<8} {'25 %':<8} {'50 %':<8} {'95 %':<8}")
    for errors in (0.001, 0.01, 0.1):
        for rate in (10, 100):
            shown = []
            for share in (5, 25, 50, 95):
                null = [
                    Step(new=same, old=same, share=share, rate=rate)
                    for same in (Behaviour(errors=errors, median_s=old.median_s) for old, _ in medians(1, count))
                ]
                shown.append(f"{alarms(null)[0] * 100:<8.2f}")
            print(f"{errors * 100:<8g} {rate:<8} {' '.join(shown)}", flush=True)
    print("\na worse revision at 5 %, 100 requests a second, 120 looks: caught, after how many of its requests (median)")
    few = max(1, count // 5)
    cases = {f"{percent} % errors": [Step(new=Behaviour(errors=percent / 100))] * few for percent in (100, 50, 20, 10, 5, 3)}
    for times in (1.5, 2, 3, 4):
        cases[f"{times:g} times as slow"] = [Step(new=new, old=old) for old, new in medians(times, few)]
    for name, steps in cases.items():
        part, requests = alarms(steps)
        print(f"{name:<20} {part * 100:6.1f} % {requests:8.0f}", flush=True)


if __name__ == "__main__":
    main()
