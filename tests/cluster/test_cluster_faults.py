"""What four real engines, their agents and the manager can do to an app, and what of it a user may notice."""

import time

import pytest
from cluster import Cluster, Traffic, web
from rookery.model import NodeState

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_killed_containers_come_back_and_the_others_stay(cluster: Cluster) -> None:
    cluster.deploy(web(9))
    before = cluster.started()
    victims = [next(iter(host.engine.started(label="rookery.app=shop"))) for host in cluster.hosts[:3]]
    with Traffic(cluster) as traffic:
        cluster.wait(lambda: len(traffic.good) > 50, what="requests to flow")
        for host, victim in zip(cluster.hosts, victims, strict=False):
            host.engine.kill_container(victim)

        def restarted() -> bool:
            now = cluster.started()
            return len(now) == 9 and all(now.get(victim) != before[victim] for victim in victims)

        cluster.wait(restarted, what="nine containers to run again, three of them anew", within_s=30)
        cluster.wait(cluster.converged, what="all nine to be ready", within_s=30)
    assert not traffic.failed
    now = cluster.started()
    assert {key: at for key, at in before.items() if key not in victims}.items() <= now.items()


def test_a_killed_agent_adopts_what_runs_when_it_is_back(cluster: Cluster) -> None:
    cluster.deploy(web(8))
    before = cluster.started()
    agent = cluster.agents["h2"]
    agent.kill()
    agent.start()
    cluster.wait(lambda: "h2" in cluster.ready_on() and cluster.ready_nodes() == 4, what="the agent to be back")
    cluster.wait(cluster.converged, what="all to be ready")
    cluster.client.scale("shop", "web", 9)  # the agents act on it, so they have looked at all they have
    cluster.wait(lambda: cluster.converged() and len(cluster.started()) == 9, what="a ninth replica")
    assert before.items() <= cluster.started().items(), "a container was restarted"


def test_a_node_whose_agent_died_for_good_is_replaced(cluster: Cluster) -> None:
    cluster.deploy(web(8))
    lost = cluster.hosts[3]
    agent = cluster.agents[lost.name]
    agent.kill()
    cluster.wait(lambda: cluster.node_state(lost.name) is NodeState.DOWN, what="the node to be down", within_s=30)
    others = [host for host in cluster.hosts if host is not lost]
    cluster.wait(lambda: len(cluster.started(others)) == 8, what="eight replicas on the other nodes", within_s=60)
    cluster.wait(lambda: cluster.converged() and lost.name not in cluster.ready_on(), what="all to be ready", within_s=60)


def test_a_manager_killed_during_a_deployment_loses_nothing(cluster: Cluster) -> None:
    cluster.apply(web(24))
    running: dict[str, str] = {}
    for enough in (0, 6, 14):
        cluster.wait(lambda enough=enough: len(cluster.started()) >= enough, what=f"{enough} containers", within_s=60)
        running |= cluster.started()
        cluster.manager.kill()
        cluster.manager.start()
    cluster.wait(cluster.converged, what="all 24 to be ready", within_s=60)
    now = cluster.started()
    assert len(now) == 24
    assert running.items() <= now.items(), "a container was restarted or replaced"
    assert [service.wanted for service in cluster.client.list_services("shop")] == [24]


def test_requests_go_on_while_the_manager_is_away(cluster: Cluster) -> None:
    cluster.deploy(web(6))
    with Traffic(cluster) as traffic:
        cluster.wait(lambda: len(traffic.good) > 20, what="requests to flow")
        cluster.manager.kill()
        victim = next(iter(cluster.hosts[0].engine.started(label="rookery.app=shop")))
        before = cluster.started()[victim]
        cluster.hosts[0].engine.kill_container(victim)
        cluster.wait(
            lambda: len(cluster.started()) == 6 and cluster.started().get(victim) != before,
            what="the agent to restart a container without the manager",
            within_s=30,
        )
        seen = len(traffic.good)
        cluster.wait(lambda: len(traffic.good) > seen + 100, what="requests to go on without the manager")
        cluster.manager.start()
        cluster.wait(lambda: cluster.ready_nodes() == 4 and cluster.converged(), what="the manager to be back")
    assert not traffic.failed


def test_a_node_that_is_cut_off_is_replaced_and_taken_back(cluster: Cluster) -> None:
    cluster.deploy(web(12))
    lost, others = cluster.hosts[0], cluster.hosts[1:]
    with Traffic(cluster) as traffic:
        cluster.wait(lambda: len(traffic.good) > 50, what="requests to flow")
        lost.cut()
        cluster.wait(lambda: len(cluster.started(others)) == 12, what="twelve replicas on the other nodes", within_s=30)
        cluster.wait(lambda: cluster.converged() and lost.name not in cluster.ready_on(), what="all to be ready", within_s=30)
        recovered = time.monotonic()
        cluster.wait(lambda: traffic.answers_since(recovered) > 100, what="requests to go on")
        assert len(lost.engine.containers(label="rookery.app=shop")) == 3, "a cut-off node keeps what it runs"

        lost.restore()
        cluster.wait(lambda: cluster.ready_nodes() == 4, what="the node to be back", within_s=30)
        cluster.wait(
            lambda: cluster.ready_on() == {host.name: 3 for host in cluster.hosts} and len(cluster.started()) == 12,
            what="superfluous replicas to be stopped and the node to have its share again",
            within_s=90,
        )
        cluster.wait(
            lambda: len(cluster.started([lost])) == 3 and cluster.converged(), what="the node to get its share again", within_s=60
        )
    late = [why for at, why in traffic.failed if at > recovered]
    assert not late, "requests failed although all was ready"


def test_an_engine_that_dies_and_returns_gets_its_replicas_back(cluster: Cluster) -> None:
    cluster.deploy(web(8))
    host = cluster.hosts[2]
    host.engine.kill()
    host.engine.start()
    host.engine.wait_ready()
    cluster.wait(lambda: len(cluster.started()) == 8 and cluster.converged(), what="all eight to be ready", within_s=60)
