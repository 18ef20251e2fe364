"""Revisions of whole apps over a real channel: how they come, if_revision, the plan, the return to one of them, and their end."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from api_cluster import Cluster, refused, with_cluster
from rookery.model import Service
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t
from rookery_manager.actor import Actor
from rookery_manager.planners.actions import ForgetService

IMPOSSIBLE = grpc.StatusCode.FAILED_PRECONDITION


def spec(name: str, image: str = "i:1", after: Sequence[str] = (), replicas: int = 1) -> t.ServiceSpec:
    depends_on = [t.Dependency(service=other, condition=t.DEPENDENCY_CONDITION_SERVICE_HEALTHY, required=True) for other in after]
    mode = t.Mode(replicated=t.Replicated(replicas=replicas))
    return t.ServiceSpec(name=name, container=t.ContainerSpec(image=image), mode=mode, depends_on=depends_on)


def request(
    *services: t.ServiceSpec, if_revision: int | None = None, prune: bool = False, actor: str = "ann", app: str = "shop"
) -> c.ApplyRequest:
    return c.ApplyRequest(app=t.AppSpec(name=app, services=services), actor=actor, prune=prune, if_revision=if_revision)


def shop(image: str) -> tuple[t.ServiceSpec, ...]:
    """web -> api -> db, all of one image."""
    return spec("web", image, ["api"]), spec("api", image, ["db"]), spec("db", image)


async def back(cluster: Cluster, to: int = 0) -> c.RollbackResponse:
    return await cluster.stub.Rollback(c.RollbackRequest(app="shop", to=to, actor="bob"))


async def revisions(cluster: Cluster) -> list[t.AppRevision]:
    return list((await cluster.stub.ListAppRevisions(c.ListAppRevisionsRequest(app="shop"))).revisions)


def service(cluster: Cluster, name: str) -> Service:
    return cluster.state.services[f"shop/{name}"]  # type: ignore[index]


def test_each_change_of_what_is_wanted_makes_a_revision_of_the_app() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await cluster.stub.Apply(request(spec("web"), spec("db")))
        assert first.app_revision == 1
        again = await cluster.stub.Apply(request(spec("web"), spec("db")))
        assert (again.app_revision, again.revision) == (1, first.revision)
        assert (await cluster.stub.Apply(request(spec("web", "i:2"), spec("db")))).app_revision == 2
        assert (await cluster.stub.Apply(request(spec("web", "i:2"), prune=True))).app_revision == 3
        await cluster.stub.Rollback(c.RollbackRequest(app="shop", service="web", actor="bob"))
        found = [(r.number, dict(r.services), r.actor, r.why) for r in await revisions(cluster)]
        assert found == [
            (4, {"web": 1}, "bob", "web returned from revision 2 to 1"),
            (3, {"web": 2}, "ann", "remove db"),
            (2, {"web": 2, "db": 1}, "ann", "update web"),
            (1, {"web": 1, "db": 1}, "ann", "create web, create db"),
        ]
        assert (await cluster.stub.GetApp(c.GetAppRequest(app="shop"))).app.revision == 4

    with_cluster(scene)


def test_only_the_newest_revisions_are_listed() -> None:
    async def scene(cluster: Cluster) -> None:
        for number in range(1, 104):
            await cluster.stub.Apply(request(spec("web", f"i:{number}")))
        assert [r.number for r in await revisions(cluster)] == list(range(103, 3, -1))

    with_cluster(scene)


def test_an_apply_at_the_revision_that_was_seen_is_carried_out() -> None:
    async def scene(cluster: Cluster) -> None:
        assert (await cluster.stub.Apply(request(spec("web"), if_revision=0))).app_revision == 1
        assert (await cluster.stub.Plan(request(spec("web", "i:2"), if_revision=1))).app_revision == 1
        assert (await cluster.stub.Apply(request(spec("web", "i:2"), if_revision=1))).app_revision == 2

    with_cluster(scene)


def test_an_apply_after_someone_faster_is_refused_with_who_that_was_and_what_they_did() -> None:
    async def scene(cluster: Cluster) -> None:
        nothing = await refused(cluster.stub.Apply(request(spec("web"), if_revision=3)), IMPOSSIBLE)
        assert nothing == "shop does not exist; not at revision 3, as you asked. Nothing was changed; plan anew and look"
        await cluster.stub.Apply(request(spec("web")))
        await cluster.stub.Apply(request(spec("web", "i:2"), actor="eve"))
        seen = cluster.state.revision
        for number in (0, 1, 3, -1):
            for call in (cluster.stub.Apply, cluster.stub.Plan):
                assert await refused(call(request(spec("web", "i:3"), if_revision=number)), IMPOSSIBLE) == (
                    f"shop is at revision 2, by eve: update web; not at revision {number}, as you asked. "
                    "Nothing was changed; plan anew and look"
                )
        assert cluster.state.revision == seen

    with_cluster(scene)


def test_of_two_who_saw_the_same_revision_exactly_one_wins() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("web")))
        calls = [cluster.stub.Apply(request(spec("web", f"i:{n}"), if_revision=1, actor=f"client {n}")) for n in range(2, 10)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        won = [answer for answer in answers if isinstance(answer, c.ApplyResponse)]
        assert [answer.app_revision for answer in won] == [2]
        winner = (await revisions(cluster))[0].actor
        for answer in answers:
            if isinstance(answer, grpc.aio.AioRpcError):
                assert answer.code() is IMPOSSIBLE
                assert (answer.details() or "").startswith(f"shop is at revision 2, by {winner}: update web; not at revision 1")

    with_cluster(scene)


def test_two_who_create_the_same_app_at_once_and_both_want_it_new() -> None:
    async def scene(cluster: Cluster) -> None:
        calls = [cluster.stub.Apply(request(spec("web", f"i:{n}"), if_revision=0)) for n in range(2)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(answer, c.ApplyResponse) for answer in answers) == 1

    with_cluster(scene)


def test_the_answer_names_the_revision_that_the_apply_made() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("web")))
        answers = await asyncio.gather(*(cluster.stub.Apply(request(spec("web", f"i:{n}"))) for n in range(2, 12)))
        assert sorted(answer.app_revision for answer in answers) == list(range(2, 12))
        images = {r.number: r.spec.container.image for r in cluster.state.revisions["shop/web"].values()}  # type: ignore[index]
        for n, answer in enumerate(answers, start=2):
            assert images[cluster.state.app_revisions["shop"][answer.app_revision].services["web"]] == f"i:{n}"

    with_cluster(scene)


def test_the_plan_says_what_comes_goes_and_stays_in_which_order_and_what_is_pulled() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.add_nodes(2)
        created = await cluster.stub.Plan(request(*shop("i:1")))
        assert created.app_revision == 0
        assert [(s.service, s.wave, list(s.after), s.created) for s in created.services] == [
            ("db", 1, [], 1),
            ("api", 2, ["db"], 1),
            ("web", 3, ["api"], 1),
        ]
        assert all(s.image == "i:1" and len(s.pull_on) == 1 for s in created.services)
        await cluster.stub.Apply(request(*shop("i:1"), spec("old"), spec("more")))
        planned = await cluster.stub.Plan(
            request(
                spec("web", "i:2", ["api"]), spec("api", "i:1", ["db"]), spec("db", "i:2"), spec("more", replicas=3), prune=True
            )
        )
        assert planned.app_revision == 1
        told = {s.service: s for s in planned.services}
        assert (told["web"].wave, list(told["web"].after), told["web"].how) == (1, [], "1 at a time, the new one first")
        assert (told["api"].how, told["api"].created, told["more"].created) == ("", 1, 3)  # there is none of them yet
        assert told["old"].removed == 0
        assert cluster.state.apps["shop"].revision == 1

    with_cluster(scene)


def test_a_plan_that_removes_services_and_updates_others() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("web"), spec("a"), spec("z")))
        planned = await cluster.stub.Plan(request(spec("web", "i:2"), prune=True))
        assert {s.service for s in planned.services} == {"web", "a", "z"}

    with_cluster(scene)


def test_a_plan_of_many_services_that_depend_on_each_other_is_made_at_once() -> None:
    async def scene(cluster: Cluster) -> None:
        layers = [[f"s{depth}-{n}" for n in range(3)] for depth in range(30)]
        specs = [spec(name, after=layers[i - 1] if i else ()) for i, layer in enumerate(layers) for name in layer]
        planned = await cluster.stub.Plan(request(*specs), timeout=30)
        assert max(s.wave for s in planned.services) == 30

    with_cluster(scene)


def test_an_app_returns_to_what_it_was_and_its_services_go_back_in_reverse_order() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(*shop("i:1")))
        await cluster.stub.Apply(request(*shop("i:2")))
        answer = await back(cluster)
        assert (answer.before, answer.after) == (2, 1)
        assert [(s.service, s.before, s.after) for s in answer.services] == [("api", 2, 1), ("db", 2, 1), ("web", 2, 1)]
        assert (list(answer.left), list(answer.gone)) == ([], [])
        for name in ("web", "api", "db"):
            rollout = service(cluster, name).rollout
            assert rollout is not None
            assert (service(cluster, name).revision, rollout.is_reverse, rollout.is_return) == (1, True, True)
        newest = (await revisions(cluster))[0]
        assert (newest.number, newest.actor, newest.why) == (3, "bob", "returned to revision 1 of shop")
        shown = await cluster.stub.GetRollout(c.GetRolloutRequest(app="shop", service="db"))
        assert shown.waits_for == "shop/api, which depends on it, to be back at revision 1"

    with_cluster(scene)


def test_a_return_to_what_is_in_force_changes_nothing() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(*shop("i:1")))
        await cluster.stub.Apply(request(*shop("i:2")))
        seen = cluster.state.revision
        answer = await back(cluster, to=2)
        assert (answer.before, answer.after, list(answer.services), answer.revision) == (2, 2, [], seen)
        first = await back(cluster, to=1)
        again = await back(cluster, to=1)
        assert (list(again.services), again.revision) == ([], first.revision)

    with_cluster(scene)


def test_a_return_without_a_number_that_is_asked_again_does_not_go_back_once_more() -> None:
    async def scene(cluster: Cluster) -> None:
        for image in ("i:1", "i:2", "i:3"):
            await cluster.stub.Apply(request(*shop(image)))
        first = await back(cluster)
        assert (first.before, first.after) == (3, 2)
        again = await back(cluster)
        assert (again.before, again.after, list(again.services), again.revision) == (4, 4, [], first.revision)
        assert (await back(cluster, to=1)).before == 4  # with a number it is meant

    with_cluster(scene)


def test_an_app_that_never_was_otherwise_has_nowhere_to_return_to() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("web")))
        assert await refused(back(cluster), IMPOSSIBLE) == "shop has no revision before 1 with other replicas; there is 1"
        unknown = await refused(back(cluster, to=7), grpc.StatusCode.NOT_FOUND)
        assert unknown == "shop has no revision 7; there is 1"
        for number in range(2, 13):
            await cluster.stub.Apply(request(spec("web", f"i:{number}")))
        many = await refused(back(cluster, to=99), grpc.StatusCode.NOT_FOUND)
        assert many == "shop has no revision 99; there is 12, 11, 10, 9, 8, 7, 6, 5, 4, 3 and 2 older ones"
        senseless = await refused(back(cluster, to=-1), grpc.StatusCode.INVALID_ARGUMENT)
        assert senseless == "to: -1 is no revision; they are numbered from 1, and 0 is the one before"

    with_cluster(scene)


def test_services_that_came_since_stay_and_those_that_are_gone_stay_gone_and_both_are_named() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("web"), spec("old")))
        await cluster.stub.Apply(request(spec("web", "i:2"), spec("new"), prune=True))
        answer = await back(cluster, to=1)
        assert [(s.service, s.after) for s in answer.services] == [("web", 1)]
        assert (list(answer.left), list(answer.gone)) == (["new"], ["old"])
        assert service(cluster, "new").rollout is None
        assert (await revisions(cluster))[0].services == {"web": 1, "new": 1}

    with_cluster(scene)


def test_a_service_that_went_and_came_anew_is_not_taken_for_the_one_of_that_name_then() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("web"), spec("db", "db:1")))
        await cluster.stub.Apply(request(spec("web", "i:2"), prune=True))
        await forget(cluster, "db")
        await cluster.stub.Apply(request(spec("web", "i:2"), spec("db", "other:1")))
        await cluster.stub.Apply(request(spec("web", "i:2"), spec("db", "other:2")))
        answer = await back(cluster, to=1)
        assert [(s.service, s.after) for s in answer.services] == [("web", 1)]
        assert list(answer.gone) == ["db"]
        assert service(cluster, "db").revision == 2

    with_cluster(scene)


def test_what_is_in_the_way_of_one_service_is_in_the_way_of_the_app() -> None:
    async def scene(cluster: Cluster) -> None:
        def with_port(port: int) -> t.ServiceSpec:
            web = spec("web")
            web.ports.append(t.Port(target=80, published=port))
            return web

        await cluster.stub.Apply(request(with_port(8080), spec("db")))
        await cluster.stub.Apply(request(with_port(9090), spec("db", "i:2")))
        await cluster.stub.Apply(request(with_port(8080), app="blog"))
        seen = cluster.state.revision
        assert await refused(back(cluster), IMPOSSIBLE) == (
            "shop/db can't return to revision 1, shop/web can't return to revision 1 as things are:\n"
            "services.web.ports[0].published: port 8080/tcp is taken by blog/web (ports[0]); publish another one"
        )
        assert cluster.state.revision == seen

    with_cluster(scene)


def test_two_returns_at_once_end_where_one_of_them_wants() -> None:
    async def scene(cluster: Cluster) -> None:
        for image in ("i:1", "i:2", "i:3"):
            await cluster.stub.Apply(request(*shop(image)))
        answers = await asyncio.gather(back(cluster, to=1), back(cluster, to=2))
        assert {answer.after for answer in answers} == {1, 2}
        assert len({service(cluster, name).revision for name in ("web", "api", "db")}) == 1
        assert (await revisions(cluster))[0].number == 5

    with_cluster(scene)


async def forget(cluster: Cluster, *names: str) -> None:
    """What the rest of the manager does once the replicas of services that are removed are gone."""
    actor = Actor(cluster.store, cluster.state, cluster.api.clock)
    for name in names:
        assert await actor.act([ForgetService(service=service(cluster, name), why="it was removed")])


@pytest.mark.parametrize("emptied", [False, True])
def test_nothing_of_a_removed_app_is_left_in_the_store(emptied: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("keep"), app="other"))
        kept = set((await cluster.store.snapshot()).entries)
        for image in ("i:1", "i:2", "i:3"):
            await cluster.stub.Apply(request(*shop(image)))
        await cluster.stub.Rollback(c.RollbackRequest(app="shop", to=1))
        left = set((await cluster.store.snapshot()).entries) - kept
        assert {key.partition("/")[0] for key in left} == {"apps", "app-revisions", "services", "revisions", "rollouts"}
        if emptied:  # its services are gone before it is removed
            for name in ("web", "api", "db"):
                removed = t.AppSpec(name="shop", services=[spec("last")])
                await cluster.stub.Apply(c.ApplyRequest(app=removed, prune=True))
                await forget(cluster, name)
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        await forget(cluster, *(["last"] if emptied else ["web", "api", "db"]))
        assert set((await cluster.store.snapshot()).entries) == kept

    with_cluster(scene)


def test_an_app_that_comes_again_begins_at_revision_1() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(spec("web")))
        await cluster.stub.Apply(request(spec("web", "i:2")))
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        await forget(cluster, "web")
        assert (await cluster.stub.Apply(request(spec("web"), if_revision=0))).app_revision == 1

    with_cluster(scene)
