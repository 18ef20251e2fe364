"""`python -m world`: replays a seed, or lives a number of days and says what they exercised."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from world.day import Outcome, live
from world.planted import BUGS, live_with
from world.weather import BY_NAME


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":  # else sets of strings are in another order each time
        os.execve(sys.executable, [sys.executable, "-m", "world", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    options = _parse()
    seeds = range(options.seed, options.seed + options.days)
    run = partial(live_with, options.plant) if options.plant else live
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in _lived(run, seeds, options.weather, options.jobs):
        outcomes.append(outcome)
        if outcome.fault:
            _tell_fault(outcome, quiet=options.quiet)
            if not options.go_on:
                break
    _tell_all(outcomes, time.monotonic() - began)
    return 1 if any(outcome.fault for outcome in outcomes) else 0


def _lived(run: Callable[[int, str], Outcome], seeds: Sequence[int], weather: str, jobs: int) -> Iterator[Outcome]:
    if jobs == 1 or len(seeds) == 1:
        for seed in seeds:
            yield run(seed, weather)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(run, seeds, [weather] * len(seeds))
        finally:
            pool.shutdown(cancel_futures=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="world", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--days", type=int, default=1, help="how many seeds, from that one on")
    parser.add_argument("--weather", default="", choices=["", *BY_NAME], help="the kind of day; else the seed decides")
    parser.add_argument("--plant", default="", choices=["", *BUGS], help="with this bug in the code")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--go-on", action="store_true", help="after a day that ended badly")
    parser.add_argument("--quiet", action="store_true", help="no story")
    return parser.parse_args()


def _tell_fault(outcome: Outcome, *, quiet: bool) -> None:
    if not quiet:
        print("\n".join(outcome.story))
    print(f"seed {outcome.seed} ({outcome.weather}): {outcome.fault}")
    print(f'replay: make sim SEED={outcome.seed} WEATHER="{outcome.weather}"', flush=True)


def _tell_all(outcomes: Sequence[Outcome], took_s: float) -> None:
    counts: Counter[str] = sum((outcome.counts for outcome in outcomes), Counter())
    virtual_h = sum(outcome.virtual_s for outcome in outcomes) / 3600
    print(f"{len(outcomes)} days in {took_s:.1f} s, {len(outcomes) / took_s:.2f} a second, {virtual_h:.1f} virtual hours")
    print(", ".join(f"{number} {what}" for what, number in sorted(counts.items())))
    print(", ".join(f"{number} {what}" for what, number in sorted(Counter(o.weather for o in outcomes).items())))
    if len(outcomes) == 1:
        print(f"story {outcomes[0].digest}")


if __name__ == "__main__":
    sys.exit(main())
