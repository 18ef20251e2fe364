"""The floor under every deployment: the same containers made and started straight through the engines' APIs, in parallel."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import docker
from rig import Host
from rig.image import IMAGE

_NETWORK = "floor_default"


def deploy(hosts: list[Host], count: int, *, parallel: int, network: bool) -> float:
    """Seconds until all containers run, spread over the hosts, `parallel` requests at a time on each engine.

    They have what Rookery gives a replica: labels, environment and, with `network`, a network of the app's own.
    """
    began = time.monotonic()
    if network:
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(lambda host: host.engine.client.api.create_network(_NETWORK, driver="bridge"), hosts))
    own = threading.local()
    clients: list[docker.APIClient] = []

    def start(index: int) -> None:
        host = hosts[index % len(hosts)]
        known = own.__dict__.setdefault("clients", {})
        if host.name not in known:
            known[host.name] = docker.APIClient(base_url=host.engine.url, version="1.41")
            clients.append(known[host.name])
        _start(known[host.name], index, network)

    with ThreadPoolExecutor(parallel * len(hosts)) as pool:
        list(pool.map(start, range(count)))
    took = time.monotonic() - began
    for client in clients:
        client.close()
    return took


def _start(client: docker.APIClient, index: int, network: bool) -> None:
    identity = {"app": "floor", "service": "busybox", "slot": str(index), "node": "floor", "replica": f"{index:026}"}
    joined = {}
    if network:
        alias = client.create_endpoint_config(aliases=["busybox"])
        joined = {
            "host_config": client.create_host_config(network_mode=_NETWORK),
            "networking_config": client.create_networking_config({_NETWORK: alias}),
        }
    made = client.create_container(
        IMAGE,
        ["sleep", "1000000000"],
        name=f"floor-busybox-{index}",
        labels={**{f"rookery.{key}": value for key, value in identity.items()}, "rookery.revision": "1"},
        environment={f"ROOKERY_{key.upper()}": value for key, value in identity.items()},
        **joined,
    )
    client.start(made["Id"])
