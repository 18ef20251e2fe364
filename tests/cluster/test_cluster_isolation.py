"""What containers can reach, tried from inside them: four real engines, two apps, and what one declares for the other."""

import socket
import subprocess
from collections.abc import Iterator

import pytest
from cluster import Cluster
from rig import Host
from rig.image import IMAGE
from rig.machine import in_namespace

pytestmark = [pytest.mark.root, pytest.mark.docker]

MINE, CLOSED, OPEN = 8080, 8081, 8082
OTHERS = 9100  # something on a node that has nothing to do with the cluster


def service(name: str, node: str, more: str = "") -> str:
    return f"""
  {name}:
    image: {IMAGE}
    pull_policy: never
    stop_signal: SIGKILL
    command: ["sh", "-c", "echo {name} > /www/index.html; exec httpd -f -p 8000 -h /www"]
    deploy: {{placement: {{constraints: ["node.hostname == {node}"]}}}}
    expose: ["8000"]
{more}"""


SHOP = "services:" + service("web", "h1", f"    ports: ['{MINE}:8000']\n") + service("side", "h1")


def blog(allow: str) -> str:
    opened = f"    ports: ['{OPEN}:8000']\n    x-rookery: {{allow: {allow}}}\n"
    return "services:" + service("page", "h1", f"    ports: ['{CLOSED}:8000']\n") + service("feed", "h2", opened)


@pytest.fixture
def listener(cluster: Cluster) -> Iterator[int]:
    """A server on the first host that is no part of the cluster."""
    command = ["busybox", "httpd", "-f", "-p", str(OTHERS), "-h", str(cluster.rig.folder)]
    process = subprocess.Popen(in_namespace(cluster.hosts[0].namespace, command))
    yield OTHERS
    process.kill()
    process.wait()


def test_containers_reach_what_is_declared_and_nothing_else(cluster: Cluster, listener: int) -> None:
    first, second, *_ = cluster.hosts
    cluster.deploy(SHOP, app="shop")
    cluster.deploy(blog("[shop/web]"), app="blog")
    [page], [feed] = endpoints(cluster, "page"), endpoints(cluster, "feed")
    page_inside = inside_address(first, "page")
    manager = cluster.manager.address.rpartition(":")
    gateway = cluster.rig.gateway

    socket.create_connection((first.address, listener), timeout=10).close()  # it is there for others

    cluster.wait(lambda: reaches(first, "web", gateway, OPEN), what="what is allowed to be open")
    reached = {
        "a sibling": reaches(first, "web", inside_address(first, "side"), 8000),
        "what its own app publishes": reaches(first, "web", gateway, MINE),
        "that, from a sibling": reaches(first, "side", gateway, MINE),
        "what another app opens to it": reaches(first, "web", gateway, OPEN),
        "what that opens, by a sibling it is not opened to": reaches(first, "side", gateway, OPEN),
        "what another app publishes": reaches(first, "web", gateway, CLOSED),
        "a container of another app": reaches(first, "web", page_inside, 8000),
        "its port on the same node": reaches(first, "web", first.address, page),
        "one on another node": reaches(first, "web", second.address, feed),
        "the manager": reaches(first, "web", manager[0], int(manager[2])),
        "something on its own node": reaches(first, "web", first.address, listener),
        "that, by the bridge's address": reaches(first, "web", bridge_address(first), listener),
        "that, from another node": reaches(second, "feed", first.address, listener),
    }
    assert {what for what, is_reached in reached.items() if is_reached} == {
        "a sibling",
        "what its own app publishes",
        "that, from a sibling",
        "what another app opens to it",
    }
    assert all(not detail.node.conditions for detail in cluster.client.list_nodes())

    # Somebody removes the rules: they are back.
    [table] = tables(first)

    def open_without_rules() -> bool:  # unless the agent looks just then
        subprocess.run(in_namespace(first.namespace, ["nft", "delete", "table", "inet", table]), check=False, timeout=30)
        return reaches(first, "web", first.address, listener)

    cluster.wait(open_without_rules, what="the way to be open without the rules")
    cluster.wait(lambda: not reaches(first, "web", first.address, listener), what="the rules to be in force again")

    # What is opened to all is open to those who run already: nothing is replaced for it.
    before = cluster.started(app="blog")
    cluster.deploy(blog('["*"]'), app="blog")
    cluster.wait(lambda: reaches(first, "side", gateway, OPEN), what="what is opened to all to be open")
    assert not reaches(first, "side", gateway, CLOSED)
    assert cluster.started(app="blog") == before

    for app in ("shop", "blog"):
        cluster.client.remove_app(app)
    cluster.wait(lambda: not tables(first) and not tables(second), what="the rules to go with the last container", within_s=60)


def test_agents_that_share_an_engine_judge_alike(cluster: Cluster) -> None:
    first = cluster.hosts[0]
    cluster.agents["twin"] = cluster.rig.agent(
        first, cluster.manager, name="twin", folder=f"twin-{cluster.manager.folder.parent.name}"
    )
    cluster.wait(lambda: cluster.ready_nodes() == len(cluster.hosts) + 1, what="the second agent of a host to join", within_s=60)
    cluster.deploy("services:" + service("web", "h1", f"    ports: ['{MINE}:8000']\n") + service("side", "twin"), app="shop")
    cluster.deploy(
        "services:" + service("feed", "h2", f"    ports: ['{OPEN}:8000']\n    x-rookery: {{allow: shop/side}}\n"), app="blog"
    )
    gateway = cluster.rig.gateway
    assert len(tables(first)) == 2
    for name in ("web", "side"):
        cluster.wait(lambda name=name: reaches(first, name, gateway, MINE), what=f"what the app publishes to be open to {name}")
    cluster.wait(lambda: reaches(first, "side", gateway, OPEN), what="what is opened to one service to be open to it")
    assert not reaches(first, "web", gateway, OPEN)


def endpoints(cluster: Cluster, service: str) -> list[int]:
    """The ports of a service's replicas on their nodes."""
    return [e.port for replica in cluster.replicas("blog") if replica.service == service for e in replica.endpoints]


def container(host: Host, service: str) -> str:
    [found] = host.engine.containers(label=f"rookery.service={service}")
    return str(found["Id"])


def inside_address(host: Host, service: str) -> str:
    networks = host.engine.client.api.inspect_container(container(host, service))["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def bridge_address(host: Host) -> str:
    networks = host.engine.client.api.inspect_container(container(host, "web"))["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["Gateway"])


def reaches(host: Host, service: str, address: str, port: int) -> bool:
    """Whether a connection from inside the service's container on this host is taken."""
    api = host.engine.client.api
    # Without `-e` it would wait for the server to end the connection.
    made = api.exec_create(container(host, service), ["nc", "-w", "5", address, str(port), "-e", "true"])
    said = api.exec_start(made["Id"]).decode(errors="replace")
    status = api.exec_inspect(made["Id"])["ExitCode"]
    assert status == 0 or "can't connect" in said or "timed out" in said, (status, said)
    return bool(status == 0)


def tables(host: Host) -> list[str]:
    """The tables of agents in the kernel of a host."""
    listed = subprocess.run(
        in_namespace(host.namespace, ["nft", "list", "tables", "inet"]), check=True, capture_output=True, text=True, timeout=30
    )
    return [line.split()[-1] for line in listed.stdout.splitlines() if "rookery-" in line]
