"""How soon a load step is followed, and how soon the first request is answered that wakes a service from zero.

    PYTHONPATH=tests/cluster python bench/autoscale.py [--rounds 5]

On four engines, two proxies and loads by wrk. `wanted` is from the step until all the replicas are wanted that the formula asks
for, `serving` until they are ready. `from zero` is one request, from its beginning to its answer; `floor` is the same container
made and started through the engine's API, until it answers: what no system can be faster than. Kubernetes' HPA looks every 15 s.
"""

import argparse
import http.client
import time

from cluster import PORT, Cluster
from load import Load
from report import machine, seconds, table
from rig import Host, Rig, wait_until
from rig.image import IMAGE, WEB_SERVER
from test_cluster_autoscale import BUSY, at_rest, compose, scaling

HOSTS = 4
IDEAL = 6  # of 24 requests in flight, 4 wanted per replica


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    rounds = parser.parse_args().rounds
    print(f"autoscale: {HOSTS} engines, {machine()}\n", flush=True)
    with Rig(HOSTS) as rig:
        with Cluster(rig) as cluster:
            cluster.add_proxy(cluster.hosts[1])
            wanted, serving = zip(*(_step(cluster) for _ in range(rounds)), strict=True)
            zero = [_from_zero(cluster) for _ in range(rounds)]
        floor = [_floor(rig.hosts[0]) for _ in range(rounds)]
    rows = [
        ["load step 1 -> 6: wanted", seconds(wanted)],
        ["load step 1 -> 6: serving", seconds(serving)],
        ["from zero: first answer", seconds(zero)],
        ["floor: container until it answers", seconds(floor)],
    ]
    print(table(["case", "seconds"], rows))


def _step(cluster: Cluster) -> tuple[float, float]:
    """Until six are wanted, and until they serve."""
    cluster.deploy(compose())
    cluster.wait(lambda: at_rest(cluster, 1), what="one replica", within_s=60)
    urls = [f"http://{address}:{PORT}" for address in cluster.addresses]
    begun = time.monotonic()  # wrk takes some 10 ms to begin
    with Load(urls, kinds=[BUSY]):
        wait_until(lambda: scaling(cluster).replicas >= IDEAL, within_s=30, what="six replicas to be wanted")
        wanted_s = time.monotonic() - begun
        wait_until(lambda: scaling(cluster).ready >= IDEAL, within_s=60, what="six replicas to serve")
        return wanted_s, time.monotonic() - begun


def _from_zero(cluster: Cluster) -> float:
    cluster.apply(compose(min=0, idle="1s"))
    cluster.wait(lambda: at_rest(cluster, 0), what="no replica to be left", within_s=60)
    began = time.monotonic()
    cluster.ask()
    return time.monotonic() - began


def _floor(host: Host) -> float:
    """The same container with a published port, on a network of its own as an app's has."""
    api = host.engine.client.api
    network = api.create_network("floor_default", driver="bridge")
    began = time.monotonic()
    config = api.create_host_config(port_bindings={8000: 18000}, network_mode="floor_default")
    made = api.create_container(IMAGE, WEB_SERVER, ports=[8000], host_config=config)
    api.start(made["Id"])
    wait_until(lambda: _answers(host.address), within_s=30, what="the container to answer", every_s=0.01)
    took = time.monotonic() - began
    api.remove_container(made["Id"], force=True)
    api.remove_network(network["Id"])
    return took


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, 18000, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
