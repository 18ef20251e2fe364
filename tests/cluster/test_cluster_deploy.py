"""Apps on four real engines, with nothing going wrong but what the user did."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster import WEB, Cluster, Traffic, web
from rookery.model import ReplicaState

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_thirty_replicas_are_spread_reached_and_removed(cluster: Cluster) -> None:
    cluster.deploy(web(30))
    on_nodes = cluster.ready_on()
    assert sorted(on_nodes.values()) == [7, 7, 8, 8], on_nodes
    assert len(cluster.started()) == 30

    expected = {replica.id for replica in cluster.replicas()}
    reached: set[str] = set()

    def all_reached() -> bool:
        with ThreadPoolExecutor(4) as pool:
            reached.update(answer.split()[0] for answer in pool.map(lambda _: cluster.ask(), range(100)))
        return reached == expected

    cluster.wait(all_reached, what="requests through the proxy to reach all 30 replicas", within_s=60)

    cluster.client.remove_app("shop")
    cluster.wait(lambda: not _left(cluster), what="no container of the app to be left on any engine", within_s=60)
    cluster.wait(lambda: not cluster.client.list_apps(), what="the app to be gone")


def test_scaling_in_drops_no_request_and_leaves_no_container(cluster: Cluster) -> None:
    cluster.deploy(web(8))
    with Traffic(cluster) as traffic:
        cluster.wait(lambda: len(traffic.good) > 50, what="requests to flow")
        cluster.client.scale("shop", "web", 3)
        cluster.wait(lambda: cluster.converged() and len(_left(cluster)) == 3, what="five of eight containers to be gone")
    assert not traffic.failed


def test_an_image_that_does_not_exist_blocks_nothing_else(cluster: Cluster) -> None:
    broken = (
        f"services:\n  web:{WEB}    ports: ['8080:8000']\n    deploy: {{ replicas: 4 }}\n  lost:\n    image: nowhere/nothing:1\n"
    )
    cluster.apply(broken)
    cluster.wait(lambda: sum(cluster.ready_on().values()) == 4, what="the good service to be ready")
    cluster.wait(lambda: "nothing" in _why(cluster), what="the engine's words about the missing image")
    [lost] = [replica for replica in cluster.replicas() if replica.service == "lost"]
    assert lost.state in (ReplicaState.ASSIGNED, ReplicaState.PREPARING)

    cluster.deploy(web(4, port=8081), app="other")

    cluster.deploy(broken.replace("nowhere/nothing:1", "rookery-rig/busybox:1"))
    assert len(_left(cluster)) == 5


def _why(cluster: Cluster) -> str:
    return " ".join(replica.why for replica in cluster.replicas() if replica.service == "lost")


def _left(cluster: Cluster) -> list[str]:
    """Containers of the app in any state, on all engines."""
    label = "rookery.app=shop"
    return [one["Id"] for host in cluster.hosts for one in host.engine.containers(label=label, everything=True)]
