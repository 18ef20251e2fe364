"""How a service stands, and what it says it waits for."""

import pytest
from rookery.model import (
    ContainerSpec,
    Global,
    Replica,
    ReplicaId,
    ReplicaState,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    Service,
    ServiceSpec,
    ServiceStatus,
)
from rookery_manager.planners.status import service_status

S = ReplicaState
WEB = ServiceSpec(name="web", container=ContainerSpec(image="web:1"), mode=Replicated(replicas=2))


def replica(slot: int, state: ReplicaState = S.RUNNING, **more: object) -> Replica:
    known = {"ready": state is S.RUNNING, "revision": 1, **more}
    return Replica(id=ReplicaId(f"r{slot}{state}"), app="shop", service="web", slot=slot, state=state, **known)  # type: ignore[arg-type]


def status(*replicas: Replica, wanted: int = 2, revision: int = 1, removing: bool = False, **more: object) -> ServiceStatus:
    service = Service(app="shop", name="web", revision=revision, replicas=wanted, removing=removing)
    specs = more.pop("specs", {1: WEB, 2: ServiceSpec(name="web", container=ContainerSpec(image="web:2"))})
    return service_status(service, specs, replicas, **more)  # type: ignore[arg-type]


def test_converged_when_all_that_is_wanted_is_ready_and_nothing_else_is_left() -> None:
    found = status(replica(1), replica(2), replica(1, S.STOPPED), replica(2, S.FAILED))
    assert (found.wanted, found.running, found.ready, found.updated, found.converged, found.why) == (2, 2, 2, 2, True, "")


def test_nothing_wanted_and_nothing_there_is_converged() -> None:
    assert status(wanted=0).converged


@pytest.mark.parametrize(
    ("replicas", "why"),
    [
        ((), "2 replicas to be created"),
        ((replica(1),), "1 replica to be created"),
        ((replica(1), replica(2, S.PENDING, why="no node fits it")), "shop/web.2 is pending: no node fits it"),
        ((replica(1), replica(2, S.PREPARING, why="no such image: web:1")), "shop/web.2 is preparing: no such image: web:1"),
        (
            (replica(1, S.STARTING, why="starting"), replica(2, ready=False, restarts=2, why="restarting in 4 s")),
            "shop/web.2 is running: restarting in 4 s",
        ),
        ((replica(1, S.ASSIGNED), replica(2, S.ASSIGNED)), "2 replicas to start"),
        ((replica(1), replica(2), replica(3, S.DRAINING)), "1 replica to stop (shop/web.3 is draining)"),
        ((replica(1), replica(2, S.FAILED, why="exited with status 3")), "shop/web.2 failed: exited with status 3"),
        (
            (replica(1, S.PREPARING, why="pulling web:1"), replica(2, S.PREPARING, why="pulling web:1")),
            "shop/web.1 is preparing: pulling web:1 (and 1 more)",
        ),
    ],
)  # fmt: skip
def test_the_most_telling_reason(replicas: tuple[Replica, ...], why: str) -> None:
    found = status(*replicas)
    assert not found.converged
    assert found.why == why


def test_replicas_of_an_older_template_are_not_updated() -> None:
    found = status(replica(1, revision=2), replica(2), revision=2)
    assert (found.ready, found.updated, found.converged) == (2, 1, False)
    assert found.why == "1 replica to be replaced by revision 2"


def test_replicas_of_an_older_revision_with_the_same_template_are() -> None:
    settings = ServiceSpec(name="web", container=ContainerSpec(image="web:1"), restart=RestartPolicy(max_attempts=1))
    found = status(replica(1), replica(2), revision=2, specs={1: WEB, 2: settings})
    assert (found.updated, found.converged) == (2, True)


def test_a_surplus_replica_is_not_converged() -> None:
    assert status(replica(1), replica(2), replica(3)).why == "1 replica more than wanted"


def test_a_removed_service_wants_none_and_says_so() -> None:
    found = status(replica(1), replica(2, S.STOPPING), removing=True)
    assert (found.wanted, found.converged, found.why) == (0, False, "it is being removed: 2 replicas to stop")


def test_a_global_service_wants_one_on_every_eligible_node() -> None:
    specs = {1: ServiceSpec(name="web", mode=Global())}
    found = status(replica(0), specs=specs, eligible=3)
    assert (found.mode, found.wanted, found.converged) == ("global", 3, False)


def test_a_job_is_done_when_so_many_completed() -> None:
    specs = {1: ServiceSpec(name="web", mode=ReplicatedJob(replicas=2))}
    done = status(replica(1, S.STOPPED, exit_code=0), replica(2, S.STOPPED, exit_code=0), specs=specs)
    assert (done.mode, done.converged) == ("replicated-job", True)
    assert not status(replica(1, S.STOPPED, exit_code=0), replica(2), specs=specs).converged
    failed = status(
        replica(1, S.STOPPED, exit_code=0), replica(2, S.FAILED, exit_code=1, why="exited with status 1"), specs=specs
    )
    assert (failed.converged, failed.why) == (False, "shop/web.2 failed: exited with status 1")
    assert status(replica(1), replica(2), specs=specs).why == "2 replicas to complete"
