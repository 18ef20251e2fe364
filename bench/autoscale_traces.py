"""What the rule for the number of replicas makes of traffic, beside Kubernetes' HPA rule on the same traces. Simulated.

    PYTHONPATH=tests/simulation python bench/autoscale_traces.py [--seeds 5]

`over target` is the share of all requests beyond what the ready replicas are to have; `idle` are the ready replicas that were not
needed, as a share of those that were.
"""

import argparse
import math
import random
from collections.abc import Callable

from report import table
from traffic_traces import TARGET, TRACES, Hpa, Ours, Rule, run

RULES: dict[str, Callable[[], Rule]] = {"Rookery": Ours, "HPA": Hpa, "HPA, 60 s": lambda: Hpa(down_window_s=60.0)}
START_S = (1, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="each trace is made so often, differently (%(default)s)")
    options = parser.parse_args()
    rows = []
    for name, make in TRACES.items():
        for start_s in START_S:
            traces = [make(random.Random(seed)) for seed in range(options.seeds)]
            asked = sum(map(sum, traces))
            needed = sum(math.ceil(load / TARGET) for trace in traces for load in trace)
            row = [name, f"{start_s} s"]
            for rule in RULES.values():
                outcomes = [run(rule(), trace, start_s) for trace in traces]
                over = sum(outcome.over_target for outcome in outcomes) / asked
                idle = sum(outcome.idle for outcome in outcomes) / needed
                changes = sum(outcome.changes for outcome in outcomes) / len(outcomes)
                row.append(f"{100 * over:.2f} % / {100 * idle:.0f} % / {changes:.0f}")
            rows.append(row)
    print("over target / idle / changes")
    print(table(["trace", "start", *RULES], rows))


if __name__ == "__main__":
    main()
