"""How long an update takes, and what its users notice: Rookery and Docker Swarm in the same run on the same engines.

    PYTHONPATH=tests/cluster python bench/rollout.py [--replicas 50] [--rounds 3]

Both start the new replica first, 5 at a time, with a monitor time of 1 s. Each is measured twice: with containers that do
nothing, and with web servers under load. Time is taken until the system itself says that the update is done, and until no old
container is left on any engine. No container has a health check, so each counts as soon as it runs. Rookery is measured once more
with one, an HTTP request a second to each replica; Swarm is not, for its checks are commands in the containers, and fifty of them
a second take more than two cores have.

The load on Rookery is wrk's, through its proxy: connections that stay, a connection per request, and requests that take 4 s,
longer than the 2 s that Swarm waits before any stop. The servers end at once when they are told to stop, with whatever they have
not answered. Swarm's own balancing is IPVS in the kernel, which not every kernel has, so it is left out: the load on Swarm is
that of a client inside the service's network that asks Swarm's DNS before every request and takes the first address, as a
program on that network would. Both clients pause as long between requests on as many connections, and count as failed what is
not answered with 200.
"""

import argparse
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import load
from deploy import clear
from load import KEEP_ALIVE, PER_REQUEST, SLOW, Load
from ours import APP, LABEL, SERVICE, Ours
from report import machine, seconds, table
from rig import Host, Rig, wait_until
from rig.image import IMAGE, WEB_SERVER
from rookery.compose import load as load_compose
from rookery.model import RolloutState
from swarm import Swarm

HOSTS = 4
PORT = 8080
SWARM_LABEL = "com.docker.swarm.service.name=busybox"
SLEEP = ["sleep", "1000000000"]
DNS_CLIENT = Path(__file__).with_name("dns_client.py")
SLOW_S = 4
ANSWERED_WITHIN_S = 60.0
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Seconds until the system says it is done, and until nothing old runs; `sent` requests meanwhile, of which `failed`."""

    done_s: float
    gone_s: float
    sent: int = 0
    failed: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=50, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args()
    if load.missing():
        sys.exit(load.missing())
    print(
        f"rollout: {HOSTS} engines, {options.replicas} replicas, 5 at a time, start-first, monitor 1 s, {machine()}\n", flush=True
    )
    cases: dict[str, Callable[[Rig, int], Update]] = {
        "Rookery, idle": partial(_ours, busy=False),
        "Swarm, idle": partial(_swarm, busy=False),
        "Rookery, under load": partial(_ours, busy=True),
        "Swarm, under load": partial(_swarm, busy=True),
        "Rookery, under load, with health checks": partial(_ours, busy=True, checked=True),
    }
    seen: dict[str, list[Update]] = {}
    with Rig(HOSTS) as rig:
        for number in range(options.rounds):
            for case, run in cases.items():
                update = run(rig, options.replicas)
                seen.setdefault(case, []).append(update)
                print(f"  round {number + 1}: {case}: {update}", flush=True)
                clear(rig.hosts)
    rows = [
        [
            case,
            seconds([update.done_s for update in updates]),
            seconds([update.gone_s for update in updates]),
            f"{sum(u.failed for u in updates)} of {sent:,}" if (sent := sum(u.sent for u in updates)) else "",
        ]
        for case, updates in seen.items()
    ]
    print("\n" + table(["case", "done", "nothing old left", "failed requests"], rows))


def _ours(rig: Rig, count: int, *, busy: bool, checked: bool = False) -> Update:
    with Ours(rig, rig.hosts) as cluster:
        proxy = rig.proxy(cluster.manager, name=f"proxy-{time.monotonic_ns()}") if busy else None
        _apply(rig, cluster, count, busy, checked, "1")
        wait_until(lambda: cluster.ready() == count, within_s=300, what=f"{count} replicas to be ready")
        old = _ids(rig.hosts, LABEL)

        def update() -> tuple[float, float]:
            begin: Callable[[], None] = lambda: _apply(rig, cluster, count, busy, checked, "2")  # noqa: E731
            return _timed(rig.hosts, LABEL, old, begin, lambda: _is_done(cluster))

        try:
            if not busy:
                done_s, gone_s = update()
                return Update(done_s=done_s, gone_s=gone_s)
            with Load([f"http://{rig.gateway}:{PORT}"], kinds=(KEEP_ALIVE, PER_REQUEST, SLOW), may_fail=True) as made:
                done_s, gone_s = update()
            return Update(done_s=done_s, gone_s=gone_s, sent=made.sent, failed=made.failed)
        finally:
            if proxy is not None:
                rig.discard(proxy)


def _apply(rig: Rig, cluster: Ours, count: int, busy: bool, checked: bool, number: str) -> None:
    service: dict[str, Any] = {
        "image": IMAGE,
        "pull_policy": "never",
        "stop_signal": "SIGKILL",
        "command": WEB_SERVER if busy else SLEEP,
        "environment": {"NUMBER": number, "SLOW_S": str(SLOW_S)},
        "deploy": {"replicas": count, "update_config": {"parallelism": 5, "monitor": "1s", "order": "start-first"}},
    }
    if busy:
        service["ports"] = [f"{PORT}:8000"]
    if checked:
        service["x-rookery"] = {"health": {"http": {"port": 8000, "path": "/health"}, "interval": "1s"}}
    file = rig.folder / "bench.yml"
    file.write_text(json.dumps({"services": {SERVICE: service}}))
    cluster.client.apply(load_compose([file], app=APP, env={}).app)


def _is_done(cluster: Ours) -> bool:
    (status,) = cluster.client.list_services(APP)
    rollout = status.service.rollout
    return rollout is not None and rollout.state is RolloutState.DONE


def _swarm(rig: Rig, count: int, *, busy: bool) -> Update:
    image = rig.hosts[0].engine.client.api.inspect_image(IMAGE)["Id"]  # by id: Swarm asks a registry about anything else
    environment = [f"SLOW_S={SLOW_S}"]
    container: dict[str, Any] = {
        "Image": image,
        "Command": WEB_SERVER if busy else SLEEP,
        "StopSignal": "SIGKILL",
        "Env": environment,
    }
    update = {"Parallelism": 5, "Monitor": SECOND_NS, "Order": "start-first", "FailureAction": "pause"}
    with Swarm(rig.hosts) as swarm:
        swarm.serve(count, {"ContainerSpec": container}, endpoint={"Mode": "dnsrr"} if busy else None, update=update)
        old = _ids(rig.hosts, SWARM_LABEL)

        def run() -> tuple[float, float]:
            begin: Callable[[], None] = lambda: swarm.update([*environment, "NUMBER=2"])  # noqa: E731
            return _timed(rig.hosts, SWARM_LABEL, old, begin, lambda: _is_completed(swarm))

        if not busy:
            done_s, gone_s = run()
            return Update(done_s=done_s, gone_s=gone_s)
        with _dns_client(rig.hosts[1]) as client:
            done_s, gone_s = run()
        return Update(done_s=done_s, gone_s=gone_s, sent=client["sent"], failed=client["failed"])


def _is_completed(swarm: Swarm) -> bool:
    state = swarm.update_state()
    if state == "paused":
        raise SystemExit("Swarm paused its update")
    return state == "completed"


@contextmanager
def _dns_client(host: Host) -> Iterator[dict[str, int]]:
    """A client in the service's network; its counts are there when the context has ended."""
    api = host.engine.client.api
    joined = api.create_networking_config({"swarm_default": api.create_endpoint_config()})
    made = api.create_container(
        IMAGE, SLEEP, networking_config=joined, host_config=api.create_host_config(network_mode="swarm_default")
    )
    api.start(made["Id"])
    pid = api.inspect_container(made["Id"])["State"]["Pid"]
    pause_ms = KEEP_ALIVE.pause_ms
    fast = KEEP_ALIVE.connections + PER_REQUEST.connections
    command = [sys.executable, str(DNS_CLIENT), "busybox", "8000", str(fast), str(SLOW.connections), str(pause_ms)]
    process = subprocess.Popen(
        ["nsenter", f"--net=/proc/{pid}/ns/net", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    counts: dict[str, int] = {}
    try:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], ANSWERED_WITHIN_S)[0] or process.stdout.readline() != "answered\n":
            raise SystemExit("the client in Swarm's network got no answer")
        yield counts
        output, _ = process.communicate("\n", timeout=60)
        told = json.loads(output)
        counts.update(sent=told["sent"], failed=told["failed"])
        if told["reasons"]:
            print(f"    Swarm's failed requests: {told['reasons']}", flush=True)
    finally:
        process.kill()
        process.communicate()
        api.remove_container(made["Id"], force=True)


def _timed(
    hosts: list[Host], label: str, old: set[str], begin: Callable[[], None], is_done: Callable[[], bool]
) -> tuple[float, float]:
    """Seconds from `begin` until it is done, and until none of the old containers run."""
    began = time.monotonic()
    begin()
    wait_until(is_done, within_s=300, what="the update to be done", every_s=0.05)
    done_s = time.monotonic() - began
    wait_until(lambda: not old & _ids(hosts, label), within_s=120, what="the old containers to be gone", every_s=0.05)
    return done_s, time.monotonic() - began


def _ids(hosts: list[Host], label: str) -> set[str]:
    return {container["Id"] for host in hosts for container in host.engine.containers(label=label)}


if __name__ == "__main__":
    main()
