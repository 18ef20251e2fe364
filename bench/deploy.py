"""How long until N replicas run on four engines: Rookery, Docker Swarm, and the floor, in the same run on the same engines.

    PYTHONPATH=tests/cluster python bench/deploy.py [--counts 10,50,100] [--rounds 3]

Time is taken until the system itself says that all run; for the floor, until the last start call returned. The image is on every
engine.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import floor
from ours import Ours
from report import machine, median, seconds, table
from rig import Host, Rig
from swarm import Swarm

HOSTS = 4
FLOOR_PARALLEL = (1, 2, 4)  # requests at a time on each engine; the best counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10,50,100", help="replicas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of so many rounds are compared (%(default)s)")
    options = parser.parse_args()
    counts = [int(word) for word in options.counts.split(",")]
    print(f"deploy: {HOSTS} engines, 2 MB busybox image, {machine()}\n", flush=True)
    with Rig(HOSTS) as rig:
        seen = {count: measure(rig, count, options.rounds) for count in counts}
    rows = []
    for count, sides in seen.items():
        ours, base, swarm = (median(sides[side]) for side in ("rookery", "floor", "swarm"))
        rows.append(
            [str(count), *(seconds(sides[s]) for s in ("rookery", "floor", "swarm")), f"{ours / base:.2f}", f"{ours / swarm:.2f}"]
        )
    print("\n" + table(["replicas", "Rookery", "floor", "Swarm", "Rookery / floor", "Rookery / Swarm"], rows))


def measure(rig: Rig, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round. The sides take turns, so that a busy moment of the machine hits them alike."""
    sides: dict[str, Callable[[], float]] = {
        "floor": lambda: min(_floor(rig, count, parallel) for parallel in FLOOR_PARALLEL),
        "rookery": lambda: _ours(rig, count),
        "swarm": lambda: _swarm(rig, count),
    }
    seen: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        for side, run in sides.items():
            seen[side].append(run())
            print(f"  {count} replicas, round {number + 1}: {side} {seen[side][-1]:.2f} s", flush=True)
    return seen


def _floor(rig: Rig, count: int, parallel: int) -> float:
    took = floor.deploy(rig.hosts, count, parallel=parallel)
    clear(rig.hosts)
    return took


def _ours(rig: Rig, count: int) -> float:
    with Ours(rig, rig.hosts) as cluster:
        took = cluster.deploy(count)
    clear(rig.hosts)
    return took


def _swarm(rig: Rig, count: int) -> float:
    with Swarm(rig.hosts) as swarm:
        took = swarm.deploy(count)
    clear(rig.hosts)
    return took


def clear(hosts: list[Host]) -> None:
    """Removes every container and network of the rig's engines."""

    def one(host: Host) -> None:
        for container in host.engine.containers(everything=True):
            host.engine.client.api.remove_container(container["Id"], force=True)
        host.engine.client.networks.prune()

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(one, hosts))


if __name__ == "__main__":
    main()
