"""How long a failure lasts, on four engines: Rookery and Docker Swarm in the same run.

    PYTHONPATH=tests/cluster python bench/recover.py [--replicas 40] [--rounds 3]

From the SIGKILL of a container's first process until its replacement runs; from the cut of a node's cable until all replicas
run on the other nodes; how many replicas the node has some time after its return; from the SIGKILL of a node's engine, which is
started again at once and then ends the containers that it finds, until all replicas run; and from the SIGKILL of the manager,
started again at once too, until one replica more runs that it is asked for from then on. Swarm's manager is an engine, whose
containers end with it; Rookery's is a process beside them. What runs is what the engines say.
"""

import argparse
import time
from collections.abc import Callable
from typing import Protocol

import docker.errors
import requests
from deploy import clear
from ours import LABEL, Ours
from report import machine, seconds, table
from rig import Host, Rig, wait_until
from rookery.client.errors import ClientError
from swarm import Swarm

HOSTS = 4
RETURN_S = 40  # how long a returned node is watched


class Cluster(Protocol):
    def deploy(self, count: int) -> float: ...

    def restart_manager(self) -> None:
        """SIGKILL, and started again at once; may return before it answers."""

    def scale(self, count: int) -> None:
        """Raises while the manager doesn't take it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=40, help="(%(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="containers killed one after another, and nodes cut off (%(default)s)"
    )
    options = parser.parse_args()
    print(f"recover: {HOSTS} engines, {options.replicas} replicas, {machine()}\n", flush=True)
    seen: dict[str, dict[str, list[float]]] = {}
    with Rig(HOSTS) as rig:
        for side in ("Rookery", "Swarm"):
            seen[side] = {name: [] for name in ("killed", "cut", "back", "engine", "manager")}
            for number in range(options.rounds):
                figures = _ours(rig, options.replicas) if side == "Rookery" else _swarm(rig, options.replicas)
                for name, value in figures.items():
                    seen[side][name].append(value)
                print(
                    f"  round {number + 1}: {side} " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()),
                    flush=True,
                )
                clear(rig.hosts)
    rows = [
        ["container killed -> replacement runs", *(seconds(seen[side]["killed"]) for side in seen)],
        [f"node cut off -> all {options.replicas} run elsewhere", *(seconds(seen[side]["cut"]) for side in seen)],
        [
            f"replicas on it {RETURN_S} s after its return",
            *(" ".join(f"{value:.0f}" for value in seen[side]["back"]) for side in seen),
        ],
        [f"engine killed and started -> all {options.replicas} run", *(seconds(seen[side]["engine"]) for side in seen)],
        ["manager killed and started -> one more replica runs", *(seconds(seen[side]["manager"]) for side in seen)],
    ]
    print("\n" + table(["case", *seen], rows))


def _ours(rig: Rig, count: int) -> dict[str, float]:
    with Ours(rig, rig.hosts) as cluster:
        return _measure(rig, cluster, count, LABEL)


def _swarm(rig: Rig, count: int) -> dict[str, float]:
    with Swarm(rig.hosts) as swarm:
        return _measure(rig, swarm, count, "com.docker.swarm.service.name=busybox")


def _measure(rig: Rig, cluster: Cluster, count: int, label: str) -> dict[str, float]:
    cluster.deploy(count)
    last, others = rig.hosts[-1], rig.hosts[:-1]

    victim = rig.hosts[1]
    before = set(victim.engine.started(label=label).values())
    killed = victim.engine.containers(label=label)[0]["Id"]
    began = time.monotonic()
    victim.engine.kill_container(killed)
    _until(lambda: _fresh(victim, label, before) or (running(rig.hosts, label) == count and killed not in _ids(victim, label)))
    killed_s = time.monotonic() - began

    began = time.monotonic()
    last.cut()
    _until(lambda: running(others, label) == count)
    cut_s = time.monotonic() - began

    last.restore()
    time.sleep(RETURN_S)
    back = running([last], label)

    old = set(victim.engine.started(label=label).values())
    began = time.monotonic()
    victim.engine.kill()
    victim.engine.start()
    victim.engine.wait_ready()
    _until(lambda: running(rig.hosts, label) == count and not old & set(victim.engine.started(label=label).values()))
    engine_s = time.monotonic() - began

    began = time.monotonic()
    cluster.restart_manager()
    _until(lambda: _taken(lambda: cluster.scale(count + 1)))
    _until(lambda: all(host.engine.ready() for host in rig.hosts) and running(rig.hosts, label) == count + 1)
    manager_s = time.monotonic() - began
    return {"killed": killed_s, "cut": cut_s, "back": float(back), "engine": engine_s, "manager": manager_s}


def _taken(call: Callable[[], None]) -> bool:
    try:
        call()
    except (ClientError, docker.errors.APIError, requests.RequestException):
        return False
    return True


def _fresh(host: Host, label: str, before: set[str]) -> bool:
    """True when the host runs as many containers as before and one of them was started since."""
    now = host.engine.started(label=label).values()
    return len(now) == len(before) and bool(set(now) - before)


def _ids(host: Host, label: str) -> set[str]:
    return {container["Id"] for container in host.engine.containers(label=label)}


def running(hosts: list[Host], label: str) -> int:
    return sum(len(host.engine.containers(label=label)) for host in hosts)


def _until(condition: Callable[[], bool]) -> None:
    wait_until(condition, within_s=120, what="recovery", every_s=0.02)


if __name__ == "__main__":
    main()
