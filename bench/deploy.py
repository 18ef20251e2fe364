"""How long until N replicas run on four engines: Rookery, Docker Swarm, and the floor, in the same run on the same engines.

    PYTHONPATH=tests/cluster python bench/deploy.py [--counts 10,50,100] [--rounds 3]

Time is taken until the system itself says that all run; for the floor, until the last start call returned. The image is on every
engine. CPU is that of engines, containers, agents and managers together. All three run once with a network of the app's own, as a
compose file gives it, and once on the engines' default bridge.
"""

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import docker.errors
import floor
from ours import Ours
from report import cpu_s, machine, median, seconds, table
from rig import Host, Rig, wait_until
from swarm import Swarm

HOSTS = 4
FLOOR_PARALLEL = max(
    2, os.cpu_count() or 0
)  # starts at a time on each engine: fewer leave cores idle, more only get in each other's way
SIDES = ("rookery", "floor", "swarm")
Took = tuple[float, float]  # seconds by the clock, seconds of CPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10,50,100", help="replicas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of so many rounds are compared (%(default)s)")
    options = parser.parse_args()
    counts = [int(word) for word in options.counts.split(",")]
    print(f"deploy: {HOSTS} engines, 2 MB busybox image, {machine()}\n", flush=True)
    rows = []
    with Rig(HOSTS) as rig:
        for count in counts:
            for network in (True, False):
                seen = measure(rig, count, network, options.rounds)
                ours, base, swarm = (median(seen[side]) for side in SIDES)
                kind = "own" if network else "default"
                times = [seconds(seen[side]) for side in SIDES]
                cpu = " / ".join(f"{median(seen[f'{side} cpu']):.1f}" for side in SIDES)
                rows.append([str(count), kind, *times, f"{ours / base:.2f}", f"{ours / swarm:.2f}", cpu])
    head = ["replicas", "network", "Rookery", "floor", "Swarm", "Rookery / floor", "Rookery / Swarm", "CPU s of the three"]
    print("\n" + table(head, rows))


def measure(rig: Rig, count: int, network: bool, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round, by the clock and of CPU. They take turns, so that a busy moment hits them alike."""
    run: dict[str, Callable[[Rig, int, bool], Took]] = {"rookery": _ours, "floor": _floor, "swarm": _swarm}
    seen: dict[str, list[float]] = {name: [] for side in SIDES for name in (side, f"{side} cpu")}
    for number in range(rounds):
        for side in SIDES:
            clock_s, cpu = run[side](rig, count, network)
            seen[side].append(clock_s)
            seen[f"{side} cpu"].append(cpu)
            clear(rig.hosts)
        kind = "a network of their own" if network else "the default network"
        took = ", ".join(f"{side} {seen[side][-1]:.2f} s ({seen[f'{side} cpu'][-1]:.1f} s of CPU)" for side in SIDES)
        print(f"  {count} replicas on {kind}, round {number + 1}: {took}", flush=True)
    return seen


def _floor(rig: Rig, count: int, network: bool) -> Took:
    return _with_cpu(rig, lambda: floor.deploy(rig.hosts, count, parallel=FLOOR_PARALLEL, network=network))


def _ours(rig: Rig, count: int, network: bool) -> Took:
    with Ours(rig, rig.hosts) as cluster:
        return _with_cpu(rig, lambda: cluster.deploy(count, network=network))


def _swarm(rig: Rig, count: int, network: bool) -> Took:
    with Swarm(rig.hosts) as swarm:
        return _with_cpu(rig, lambda: swarm.deploy(count, network=network))


def _with_cpu(rig: Rig, deploy: Callable[[], float]) -> Took:
    before = cpu_s(rig.folder)
    took = deploy()
    return took, cpu_s(rig.folder) - before


def clear(hosts: list[Host]) -> None:
    """Removes every container and network of the rig's engines."""

    def one(host: Host) -> None:
        for container in host.engine.containers(everything=True):
            try:
                host.engine.client.api.remove_container(container["Id"], force=True)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # a swarm that was just left removes its own, too
                    raise
        wait_until(lambda: not host.engine.containers(everything=True), within_s=60, what="the engines to be empty")
        host.engine.client.networks.prune()

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(one, hosts))


if __name__ == "__main__":
    main()
