"""What stands still, is cut off one way, must not run twice, or loses its disk or its clock: each alone, on real engines."""

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import pytest
from cluster import PORT, WEB, Cluster, Traffic, web
from rig import Host, Part, Rig, clock, wait_until
from rookery.client import Client, ClientError
from rookery.model import NodeState

T = TypeVar("T")

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_a_manager_that_stood_still_for_longer_than_the_lease_buries_nobody(cluster: Cluster) -> None:
    cluster.deploy(web(8))
    before = cluster.started()
    with Traffic(cluster) as traffic:
        cluster.wait(lambda: len(traffic.good) > 20, what="requests to flow")
        cluster.manager.freeze()
        seen = len(traffic.good)
        cluster.wait(lambda: len(traffic.good) > seen + 150, what="requests to go on for longer than the lease", within_s=60)
        cluster.manager.thaw()
        cluster.client.scale("shop", "web", 9)
        cluster.wait(lambda: cluster.converged() and len(cluster.started()) == 9, what="the manager to do its work again")
    assert not traffic.failed
    assert before.items() <= cluster.started().items(), "a container was restarted"
    assert not [event for event in cluster.client.list_events(limit=1000) if event.why.startswith("down")]


def test_an_agent_that_stood_still_is_replaced_and_stops_what_is_not_its_own_any_more(cluster: Cluster) -> None:
    cluster.deploy(web(8))
    host = cluster.hosts[1]
    cluster.agents[host.name].freeze()
    _replaced(cluster, host)
    cluster.agents[host.name].thaw()
    _back(cluster)


@pytest.mark.parametrize("fault", [Host.mute, Host.deafen])
def test_a_link_that_is_cut_one_way_is_cut(cluster: Cluster, fault: object) -> None:
    cluster.deploy(web(8))
    host = cluster.hosts[2]
    fault(host)  # type: ignore[operator]
    _replaced(cluster, host)
    host.restore()
    _back(cluster)


def test_what_must_not_run_twice_is_stopped_before_its_replacement_starts(cluster: Cluster) -> None:
    stop = "      on_disconnect: { action: stop, after: 1s }\n"
    once = f"services:\n  web:{WEB}{stop}    stop_grace_period: 2s\n    ports: ['{PORT}:8000']\n    deploy: {{ replicas: 4 }}\n"
    cluster.deploy(once)
    host = cluster.hosts[0]
    (old,) = host.engine.started(label="rookery.app=shop")
    before = cluster.started(cluster.hosts[1:])
    host.cut()
    cluster.wait(lambda: len(cluster.started(cluster.hosts[1:])) == 4, what="the replacement to run", within_s=40)
    (new,) = cluster.started(cluster.hosts[1:]).keys() - before.keys()
    stopped_at = _moment(host.engine.client.api.inspect_container(old)["State"]["FinishedAt"])
    started_at = _moment(cluster.started(cluster.hosts[1:])[new])
    assert stopped_at < started_at, "both ran at the same time"
    host.restore()
    cluster.wait(lambda: cluster.ready_nodes() == 4 and len(cluster.started()) == 4, what="the node to be back", within_s=40)
    cluster.wait(cluster.converged, what="all to be well", within_s=40)


def test_a_node_that_goes_down_again_and_again_is_held_off(cluster: Cluster) -> None:
    host = cluster.hosts[3]
    agent = cluster.agents[host.name]
    for _ in range(2):
        agent.kill()
        cluster.wait(lambda: cluster.node_state(host.name) is NodeState.DOWN, what="the node to be down")
        agent.start()
        cluster.wait(lambda: cluster.node_state(host.name) is NodeState.READY, what="the node to be back")
    cluster.apply(web(6))
    cluster.wait(lambda: len(_placed(cluster)) == 6, what="all six to have a node")  # which they have before it is over
    assert host.name not in _placed(cluster)
    (detail,) = [detail for detail in cluster.client.list_nodes() if detail.node.name == host.name]
    assert detail.node.held_off
    cluster.wait(lambda: cluster.ready_on()[host.name] > 0, what="the node to be given work again", within_s=60)


def test_a_manager_whose_disk_is_full_says_so_judges_nobody_and_goes_on_with_room(engines: Rig) -> None:
    manager = engines.manager(name="full/manager", disk_bytes=24 * 2**20)
    agent = engines.agent(engines.hosts[0], manager, name="h1", folder="full/h1")
    try:
        with Client(manager.address, identity=manager.admin) as client:

            def ready() -> int:
                return client.get_cluster().nodes_ready

            _until(ready, manager, agent, what="the node to be ready")
            manager.fill_disk()

            numbers = itertools.count()

            def refused() -> str:
                try:
                    client.update_node("h1", set_labels={"x": f"{next(numbers)}{'y' * 200}"})
                except ClientError as error:
                    return str(error)
                return ""

            assert "full" in _until(refused, manager, agent, what="a write to be refused")
            assert ready() == 1
            manager.free_disk()
            _until(lambda: not refused(), manager, agent, what="a write to be taken")
    finally:
        engines.discard(agent)
        engines.discard(manager)


@pytest.mark.skipif(bool(clock.missing()), reason=clock.missing())
def test_clocks_that_are_set_lose_no_node(engines: Rig) -> None:
    manager = engines.manager(name="clocks/manager", own_clock=True)
    agents = [
        engines.agent(host, manager, name=host.name, folder=f"clocks/{host.name}", own_clock=True) for host in engines.hosts[:2]
    ]
    try:
        with Client(manager.address, identity=manager.admin) as client:
            _until(lambda: client.get_cluster().nodes_ready == 2, manager, *agents, what="the nodes to be ready")
            for offset_s in (7200.0, -7200.0):
                manager.set_clock(offset_s)
                agents[0].set_clock(-offset_s)
                beats = client.get_cluster().revision
                client.update_node("h2", set_labels={"offset": f"{offset_s:g}"})
                assert client.get_cluster().revision > beats
            _until(lambda: client.get_cluster().nodes_ready == 2, manager, *agents, what="the nodes to be ready still")
            assert not [event for event in client.list_events(limit=1000) if event.why.startswith("down")]
    finally:
        for agent in agents:
            engines.discard(agent)
        engines.discard(manager)


def _placed(cluster: Cluster) -> list[str]:
    """The nodes that replicas were given to, each as often as it has one."""
    return [replica.node_name for replica in cluster.replicas() if replica.node_name]


def _replaced(cluster: Cluster, host: Host) -> None:
    others = [other for other in cluster.hosts if other is not host]
    cluster.wait(lambda: cluster.node_state(host.name) is NodeState.DOWN, what="the node to be down", within_s=60)
    cluster.wait(lambda: len(cluster.started(others)) == 8 and cluster.converged(), what="eight elsewhere", within_s=60)


def _back(cluster: Cluster) -> None:
    cluster.wait(lambda: cluster.ready_nodes() == 4, what="the node to be back", within_s=30)
    cluster.wait(lambda: cluster.converged() and len(cluster.started()) == 8, what="what is too many to be gone", within_s=60)


def _until(condition: Callable[[], T], *parts: Part, what: str) -> T:
    def checked() -> T | None:
        for part in parts:
            part.check()
        try:
            return condition()
        except ClientError:
            return None

    found = wait_until(checked, within_s=30, what=what)
    assert found is not None
    return found


def _moment(text: str) -> datetime:
    """An engine's time stamp; of its nine digits after the point, Python takes six."""
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00")
