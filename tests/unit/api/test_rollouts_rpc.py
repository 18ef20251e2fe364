"""UpdateRollout, GetRollout and Restart over a real channel."""

import asyncio
import dataclasses
from collections.abc import Sequence

import grpc
import pytest
from api_cluster import Cluster, refused, replica, with_cluster
from rookery.model import PastRollout, Rollout, RolloutState, Service
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t
from rookery_manager.planners.compare import Sample
from rookery_manager.rollout_history import KEEP_ROLLOUTS

CANARY = t.Strategy(canary=t.Canary(steps=[10, 50, 100], interval_s=30, min_requests=50))
PAUSE, RESUME, ABORT = c.ROLLOUT_ACTION_PAUSE, c.ROLLOUT_ACTION_RESUME, c.ROLLOUT_ACTION_ABORT
IMPOSSIBLE = grpc.StatusCode.FAILED_PRECONDITION


async def deploy(cluster: Cluster, *images: str, strategy: t.Strategy | None = None) -> c.ApplyResponse:
    """One after the other, none waiting for the one before to be done."""
    answer = c.ApplyResponse()
    for image in images:
        mode = t.Mode(replicated=t.Replicated(replicas=2))
        ports = [t.Port(target=80, published=8080)]
        web = t.ServiceSpec(name="web", container=t.ContainerSpec(image=image), mode=mode, ports=ports, strategy=strategy)
        answer = await cluster.stub.Apply(c.ApplyRequest(app=t.AppSpec(name="shop", services=[web]), actor="ann"))
    return answer


def service(cluster: Cluster, key: str = "shop/web") -> Service:
    return cluster.state.services[key]  # type: ignore[index]


def latest(cluster: Cluster, key: str = "shop/web") -> Rollout:
    rollout = service(cluster, key).rollout
    assert rollout is not None
    return rollout


async def settle(cluster: Cluster, **fields: object) -> None:
    """What the rest of the manager would have made of the latest rollout."""
    rollout = dataclasses.replace(latest(cluster), **fields)  # type: ignore[arg-type]
    await cluster.write(dataclasses.replace(service(cluster), rollout=rollout))


async def finish(cluster: Cluster) -> None:
    await settle(cluster, state=RolloutState.DONE, why="revision 2 is rolled out in 1.0 s")
    rollout = latest(cluster)
    await cluster.write(PastRollout(app="shop", service="web", number=rollout.number, rollout=rollout))


async def act(cluster: Cluster, action: int, name: str = "web", app: str = "shop") -> c.RolloutStatus:
    asked = c.UpdateRolloutRequest(app=app, service=name, action=action, actor="bob")  # type: ignore[arg-type]
    return await cluster.stub.UpdateRollout(asked)


async def status(cluster: Cluster, name: str = "web") -> c.RolloutStatus:
    return await cluster.stub.GetRollout(c.GetRolloutRequest(app="shop", service=name))


async def restart(cluster: Cluster, name: str = "web", app: str = "shop") -> c.RestartResponse:
    return await cluster.stub.Restart(c.RestartRequest(app=app, service=name, actor="bob"))


def test_a_rollout_is_paused_and_resumed_and_it_is_known_by_whom() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2")
        paused = await act(cluster, PAUSE)
        assert (paused.rollout.state, paused.rollout.paused_in) == (t.ROLLOUT_STATE_PAUSED, t.ROLLOUT_STATE_ROLLING)
        assert paused.rollout.why == "the rollout of revision 2 is paused by bob"
        resumed = await act(cluster, RESUME)
        assert resumed.rollout.state == t.ROLLOUT_STATE_ROLLING
        assert resumed.rollout.judged_from_at > paused.rollout.changed_at
        assert (resumed.rollout.number, resumed.rollout.started_at) == (1, paused.rollout.started_at)
        events = (await cluster.stub.ListEvents(c.ListEventsRequest(subject="shop/web"))).events
        assert [(event.why, event.actor) for event in events[-2:]] == [
            ("the rollout of revision 2 is paused by bob", "bob"),
            ("the rollout of revision 2 is resumed by bob", "bob"),
        ]

    with_cluster(scene)


def test_an_aborted_rollout_goes_back_to_where_it_came_from() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2", strategy=CANARY)
        await settle(cluster, share=50, step=1, step_at=cluster.api.clock())
        after = (await act(cluster, ABORT)).rollout
        assert (after.state, after.before, after.after) == (t.ROLLOUT_STATE_ROLLING_BACK, 1, 2)
        assert (after.share, after.step, after.step_at) == (0, 0, 0)
        assert after.why == "the rollout of revision 2 is aborted by bob"
        assert service(cluster).revision == 1

    with_cluster(scene)


def test_a_paused_rollout_can_be_aborted_and_an_aborted_one_paused_and_resumed() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2")
        await act(cluster, PAUSE)
        assert (await act(cluster, ABORT)).rollout.state == t.ROLLOUT_STATE_ROLLING_BACK
        assert (await act(cluster, PAUSE)).rollout.paused_in == t.ROLLOUT_STATE_ROLLING_BACK
        again = await refused(act(cluster, ABORT), IMPOSSIBLE)
        assert again == "the rollout of revision 2 of shop/web goes back to revision 1 already; it is paused"
        assert (await act(cluster, RESUME)).rollout.state == t.ROLLOUT_STATE_ROLLING_BACK
        assert service(cluster).revision == 1

    with_cluster(scene)


def test_what_makes_no_sense_now_is_refused_with_how_it_is() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1")
        for action in (PAUSE, RESUME, ABORT):
            none = await refused(act(cluster, action), IMPOSSIBLE)
            assert none == "nothing was ever rolled out of shop/web: revision 1 is its first"
        await deploy(cluster, "web:2")
        seen = cluster.state.revision
        assert await refused(act(cluster, RESUME), IMPOSSIBLE) == (
            "the rollout of revision 2 of shop/web is not paused, it is rolling"
        )
        assert cluster.state.revision == seen
        await act(cluster, PAUSE)
        assert await refused(act(cluster, PAUSE), IMPOSSIBLE) == (
            "the rollout of revision 2 of shop/web is paused already: the rollout of revision 2 is paused by bob"
        )
        await act(cluster, RESUME)
        await finish(cluster)
        for action in (PAUSE, RESUME, ABORT):
            assert await refused(act(cluster, action), IMPOSSIBLE) == (
                "the rollout of revision 2 of shop/web is over, it is done: revision 2 is rolled out in 1.0 s; "
                "to go back: rookery rollback shop/web"
            )

    with_cluster(scene)


def test_an_abort_while_it_goes_back_already_is_refused() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2")
        await act(cluster, ABORT)
        again = await refused(act(cluster, ABORT), IMPOSSIBLE)
        assert again == "the rollout of revision 2 of shop/web goes back to revision 1 already; it is rolling-back"

    with_cluster(scene)


@pytest.mark.parametrize("action", [0, 4, -1, 2**31 - 1])
def test_an_action_that_there_is_not_is_refused(action: int) -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2")
        told = await refused(act(cluster, action), grpc.StatusCode.INVALID_ARGUMENT)
        assert told == f"action: {action} is none of pause, resume and abort"

    with_cluster(scene)


def test_who_mistypes_a_name_is_told_the_nearest() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1")
        missing = grpc.StatusCode.NOT_FOUND
        for call in (act(cluster, PAUSE, "wbe"), status(cluster, "wbe"), restart(cluster, "wbe")):
            assert await refused(call, missing) == "no service shop/wbe; did you mean shop/web?"
        for call in (
            restart(cluster, "", "shpo"),
            cluster.stub.ListAppRevisions(c.ListAppRevisionsRequest(app="shpo")),
            cluster.stub.Rollback(c.RollbackRequest(app="shpo")),
        ):
            assert await refused(call, missing) == "no app shpo; did you mean shop?"
        senseless = grpc.StatusCode.INVALID_ARGUMENT
        assert await refused(restart(cluster, "", ""), senseless) == "app: missing"
        assert await refused(act(cluster, PAUSE, ""), senseless) == "service: missing"

    with_cluster(scene)


def test_an_actor_is_printable_and_not_endless() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2")
        seen = cluster.state.revision
        for actor in ("x" * 201, "bob\n"):
            calls = (
                cluster.stub.UpdateRollout(c.UpdateRolloutRequest(app="shop", service="web", action=PAUSE, actor=actor)),
                cluster.stub.Restart(c.RestartRequest(app="shop", actor=actor)),
                cluster.stub.Rollback(c.RollbackRequest(app="shop", actor=actor)),
            )
            for call in calls:
                told = await refused(call, grpc.StatusCode.INVALID_ARGUMENT)
                assert told == "actor: must be at most 200 printable characters"
        assert cluster.state.revision == seen
        await cluster.stub.UpdateRollout(c.UpdateRolloutRequest(app="shop", service="web", action=PAUSE))
        assert latest(cluster).why == "the rollout of revision 2 is paused by unknown"

    with_cluster(scene)


def test_nothing_is_done_to_what_is_being_removed() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2")
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        for call in (act(cluster, ABORT), restart(cluster)):
            assert await refused(call, IMPOSSIBLE) == "shop/web is being removed; deploy it again to have it back"
        whole = "shop has no services, or they are being removed; deploy it again to have them back"
        assert await refused(restart(cluster, ""), IMPOSSIBLE) == whole
        assert (await status(cluster)).rollout.after == 2  # it can be looked at

    with_cluster(scene)


def test_a_service_is_restarted_at_the_revision_it_is_at() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1")
        answer = await restart(cluster)
        assert list(answer.services) == ["web"]
        after, rollout = service(cluster), latest(cluster)
        assert (after.revision, rollout.before, rollout.after, rollout.number, rollout.actor) == (1, 1, 1, 1, "bob")
        assert after.restarted_at == rollout.started_at
        assert after.why == "restarted at revision 1"
        assert cluster.state.apps["shop"].revision == 1  # that is no change of what is wanted
        aborted = await act(cluster, ABORT)
        assert aborted.rollout.why == "the restart of revision 1 is aborted by bob"
        assert service(cluster).restarted_at == 0

    with_cluster(scene)


def test_a_whole_app_is_restarted_but_for_what_is_being_removed() -> None:
    async def scene(cluster: Cluster) -> None:
        specs = [t.ServiceSpec(name=name, container=t.ContainerSpec(image="i")) for name in ("api", "db", "web")]
        await cluster.stub.Apply(c.ApplyRequest(app=t.AppSpec(name="shop", services=specs)))
        await cluster.stub.Apply(c.ApplyRequest(app=t.AppSpec(name="shop", services=specs[1:]), prune=True))
        answer = await restart(cluster, "")
        assert list(answer.services) == ["db", "web"]
        assert service(cluster, "shop/api").restarted_at == 0
        assert latest(cluster, "shop/db").is_restart
        assert latest(cluster, "shop/web").is_restart

    with_cluster(scene)


def test_a_rollout_that_another_one_overtakes_is_kept_as_overtaken() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await deploy(cluster, "web:1", "web:2")
        assert [change.overtakes for change in first.changes] == [0]
        second = await deploy(cluster, "web:3")
        assert [change.overtakes for change in second.changes] == [2]
        now = await status(cluster)
        assert (now.rollout.before, now.rollout.after, now.rollout.number) == (1, 3, 2)  # not back to what was never done
        (past,) = now.past
        assert (past.number, past.before, past.after, past.state) == (1, 1, 2, t.ROLLOUT_STATE_OVERTAKEN)
        assert past.why == "it was rolling when revision 3 took its place"
        await act(cluster, PAUSE)
        await restart(cluster)
        await act(cluster, ABORT)
        await cluster.stub.Rollback(c.RollbackRequest(app="shop", service="web", to=2))
        detail = await cluster.stub.GetService(c.GetServiceRequest(app="shop", service="web"))
        assert [(r.number, r.why) for r in detail.rollouts] == [
            (3, "it was rolling-back when revision 2 took its place"),
            (2, "it was paused when revision 3 took its place"),
            (1, "it was rolling when revision 3 took its place"),
        ]
        assert latest(cluster).number == 4

    with_cluster(scene)


def test_of_the_rollouts_that_are_over_the_newest_are_kept() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1")
        for _ in range(KEEP_ROLLOUTS + 5):
            await restart(cluster)
        past = (await status(cluster)).past
        assert [rollout.number for rollout in past] == list(range(KEEP_ROLLOUTS + 4, 4, -1))
        stored = (await cluster.store.snapshot("rollouts/shop/web/")).entries
        assert len(stored) == KEEP_ROLLOUTS
        await deploy(cluster, *(f"web:{number}" for number in range(2, 5)))
        assert len((await cluster.store.snapshot("rollouts/shop/web/")).entries) == KEEP_ROLLOUTS

    with_cluster(scene)


def test_a_service_that_comes_again_while_it_is_being_removed_has_no_rollouts_of_its_former_life() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2", "web:3", "web:4")
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        await deploy(cluster, "web:5")
        assert not (await status(cluster)).past
        assert not (await status(cluster)).HasField("rollout")
        await deploy(cluster, "web:6")
        assert (await status(cluster)).rollout.number == 1

    with_cluster(scene)


def test_a_canary_is_shown_with_its_steps_and_the_figures_of_both_sides() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2", strategy=CANARY)
        before = await status(cluster)
        assert (before.strategy, list(before.steps)) == ("canary", [10, 50, 100])
        assert before.waits_for == "0 of 1 new replicas are ready and stayed so for 5 s (canary at 10 %)"
        assert not before.HasField("new")
        now = cluster.api.clock()
        await cluster.write(replica(1, id="old", revision=1), replica(2, id="older", revision=1))
        await cluster.write(replica(1, id="new", revision=2, ready_at=now - 100, created_at=now - 200))
        await settle(cluster, share=10, step=0, step_at=now)
        cluster.proxies.seen = {"old": Sample(requests=90, errors=1), "new": Sample(requests=10)}
        shown = await status(cluster)
        assert (shown.new.requests, shown.old.requests, shown.old.errors) == (10, 90, 1)
        assert (shown.wanted, shown.updated, shown.ready) == (2, 1, 3)
        assert shown.waits_for.startswith("canary at 10 % for 2")
        assert shown.waits_for.endswith("s more; revision 2 has answered 10 of the 50 requests it is judged by")

    with_cluster(scene)


def test_a_service_that_was_never_updated_has_no_rollout() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1")
        shown = await status(cluster)
        assert not shown.HasField("rollout")
        assert (shown.app, shown.service, shown.strategy, list(shown.steps), list(shown.past)) == (
            "shop",
            "web",
            "rolling",
            [],
            [],
        )

    with_cluster(scene)


@pytest.mark.parametrize("actions", [(PAUSE, PAUSE), (PAUSE, ABORT), (ABORT, ABORT)])
def test_of_two_operators_at_once_the_second_acts_on_what_the_first_left(actions: Sequence[int]) -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", "web:2")
        answers = await asyncio.gather(*(act(cluster, action) for action in actions), return_exceptions=True)
        refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert all(refusal.code() is IMPOSSIBLE for refusal in refusals)
        assert len(refusals) == (0 if actions == (PAUSE, ABORT) else 1)  # what goes back can be paused too
        assert len(cluster.state.revisions["shop/web"]) == 2  # type: ignore[index]

    with_cluster(scene)
