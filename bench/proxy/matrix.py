"""The whole comparison of rookery-proxy with HAProxy and nginx: bodies, connections, TLS, workers, endpoints, one by one.

    python bench/proxy/matrix.py [--seconds 5] [--rounds 3] [--quick]

Each line is a run of run.py with its figures; on a quiet machine it takes some 40 minutes (--quick: 2, for a look at whether all
of it works). p99 is that at the highest rate; rate.py has it at a fixed one.
"""

import argparse
import asyncio
import time

from run import bench, parser

RUNS = (
    ["--bodies", "tiny,10k,1m", "--connections", "8,64,256", "--tcp"],
    ["--bodies", "tiny", "--connections", "64", "--closing"],
    ["--bodies", "tiny,10k,1m", "--connections", "64", "--tls"],
    ["--bodies", "tiny", "--connections", "64", "--tls", "--closing"],
    ["--bodies", "tiny", "--connections", "64,256", "--workers", "2"],
    ["--bodies", "tiny", "--connections", "64", "--endpoints", "1000"],
)
QUICK = (
    ["--bodies", "tiny", "--connections", "64", "--tcp"],
    ["--bodies", "tiny", "--connections", "64", "--closing"],
    ["--bodies", "tiny,1m", "--connections", "64", "--tls"],
    ["--bodies", "tiny", "--connections", "64", "--workers", "2"],
    ["--bodies", "tiny", "--connections", "64", "--endpoints", "1000"],
)


def main() -> None:
    own = argparse.ArgumentParser(description="The whole comparison of rookery-proxy with HAProxy and nginx.")
    own.add_argument("--seconds", type=float, default=5.0, help="of each round (%(default)s)")
    own.add_argument("--rounds", type=int, default=3, help="the median of which is told (%(default)s)")
    own.add_argument("--quick", action="store_true", help="a few of the runs, 1 s and one round each")
    options = own.parse_args()
    seconds, rounds = (1.0, 1) if options.quick else (options.seconds, options.rounds)
    for run in QUICK if options.quick else RUNS:
        print(f"\n==== {time.strftime('%H:%M:%S')}  run.py {' '.join(run)}", flush=True)
        asyncio.run(bench(parser().parse_args([*run, "--seconds", str(seconds), "--rounds", str(rounds)])))


if __name__ == "__main__":
    main()
