"""Rollouts at the command line: roll-backs, restarts, what becomes of each, how a wait for one ends."""

# ruff: noqa: ARG001 (fixtures lay out the cluster)
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runner import Rookery
from fake_control import FakeControl, serving
from rookery import model
from rookery.client import Client, RolloutAction

pytestmark = pytest.mark.usefixtures("home")

COMPOSE = """\
name: shop
services:
  web:
    image: web:2
    deploy: {replicas: 2}
  api:
    image: api:1
"""
WEB = model.ServiceSpec(
    name="web",
    container=model.ContainerSpec(image="web:1"),
    mode=model.Replicated(replicas=2),
    strategy=model.Canary(steps=(25, 100)),
)
SHOP = model.AppSpec(name="shop", services=(WEB, model.ServiceSpec(name="api", container=model.ContainerSpec(image="api:1"))))


@pytest.fixture
def shop() -> Iterator[FakeControl]:
    fake = FakeControl()
    fake.add_node("n1")
    fake.add_app(SHOP)
    with serving(fake):
        yield fake


@pytest.fixture
def rookery(shop: FakeControl) -> Rookery:
    return Rookery(shop)


def deploy_image(shop: FakeControl, image: str) -> None:
    """Another image of shop/web, without waiting."""
    web = replace(WEB, container=replace(WEB.container, image=image, environment={"PASSWORD": f"hunter-{image}"}))
    with Client(shop.address, actor="bob@box") as client:
        client.apply(replace(SHOP, services=(web, SHOP.services[1])))


def at_revision_3(shop: FakeControl) -> None:
    """shop/web after two more deploys, all of them done."""
    for image in ("web:2", "web:3"):
        deploy_image(shop, image)
        settled(shop)


def settled(shop: FakeControl) -> None:
    deadline = time.monotonic() + 60
    with Client(shop.address) as client:
        while not client.get_app("shop").converged:
            assert time.monotonic() < deadline


def meanwhile(shop: FakeControl, action: RolloutAction) -> threading.Thread:
    """Does it as somebody else, as soon as a step of shop/web's canary is in force."""

    def act() -> None:
        with Client(shop.address, actor="bob@box") as client:
            while not ((found := client.get_rollout("shop", "web").rollout) and found.share):
                time.sleep(0.01)
            client.update_rollout("shop", "web", action)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


# ---- going back


def test_rollback_waits_until_it_is_back(rookery: Rookery, shop: FakeControl) -> None:
    at_revision_3(shop)
    text = rookery("rollback", "shop/web").stdout
    assert text.startswith("shop/web: revision 3 -> 2\n")
    assert "shop/web is at revision 2 after" in text
    answer = rookery.json("rollback", "shop/web", "--to", "1")
    assert {key: answer[key] for key in ("service", "before", "after", "outcome")} == {
        "service": "shop/web",
        "before": 2,
        "after": 1,
        "outcome": "converged",
    }
    assert "is at revision 1 already: nothing changed" in rookery("rollback", "shop/web", "--to", "1").stdout
    assert rookery("rollback", "shop/web", "--to", "3", "--detach").stdout == "shop/web: revision 1 -> 3\n"
    assert [(r.to, bool(r.actor)) for r in shop.requests("Rollback")] == [(0, True), (1, True), (1, True), (3, True)]


def test_a_rollback_that_fails_or_takes_long_says_so(rookery: Rookery, shop: FakeControl) -> None:
    at_revision_3(shop)
    shop.rollouts.pauses["shop/web"] = "the rollout of revision 2 is paused: it crashed"
    failed = rookery("rollback", "shop/web", status=1)
    assert "the rollout of revision 2 is paused: it crashed" in failed.stdout
    assert "shop/web is not back. Next: rookery rollout status shop/web" in failed.stderr
    assert rookery.json("rollback", "shop/web", "--to", "1", status=1)["outcome"] == "failed"
    shop.rollouts.pauses.clear()
    shop.stalled = True
    late = rookery("rollback", "shop/web", "--to", "3", "--timeout", "0.2", status=3)
    assert "not back after 0 s; it goes on. Next: rookery explain shop/web" in late.stderr


def test_what_an_app_had_then_and_has_no_more_is_named(rookery: Rookery, shop: FakeControl) -> None:
    at_revision_3(shop)
    first = shop.app_revisions["shop"]
    shop.app_revisions["shop"] = [replace(r, services={**r.services, "db": 1}) if r.number == 1 else r for r in first]
    result = rookery("rollback", "shop", "--to", "1")
    assert result.stderr == "warning: shop/db was there then, is gone, and does not come back; deploy it\n"


def test_a_whole_app_goes_back(rookery: Rookery, shop: FakeControl) -> None:
    at_revision_3(shop)
    shop.services["shop/cache"] = model.Service(app="shop", name="cache", revision=1)
    shop.specs["shop/cache"] = model.ServiceSpec(name="cache")
    result = rookery("rollback", "shop", "--to", "1")
    assert result.stdout.startswith("shop/web: revision 3 -> 1\n")
    assert "shop is as at revision 1 after" in result.stdout
    assert result.stderr == "warning: shop/cache was not there then and stays\n"
    assert [(r.service, r.to) for r in shop.requests("Rollback")] == [("", 1)]
    answer = rookery.json("rollback", "shop", "--to", "2")
    assert (answer["app"], answer["services"]) == ("shop", [{"service": "web", "before": 1, "after": 2}])
    assert answer["left"] == ["cache"]
    assert "is at revision 5 already: nothing changed" in rookery("rollback", "shop", "--to", "5").stdout
    assert "no revision 99" in rookery("rollback", "shop", "--to", "99", status=1).stderr


def test_undo_is_a_rollback_to_what_was_before(rookery: Rookery, shop: FakeControl) -> None:
    at_revision_3(shop)
    assert rookery("rollout", "undo", "shop/web").stdout.startswith("shop/web: revision 3 -> 2\n")
    assert shop.requests("Rollback")[-1].to == 0
    assert rookery.json("rollout", "undo", "shop/web", "--detach")["outcome"] == "started"


@pytest.mark.parametrize("command", [("rollback",), ("history",), ("rollout", "status"), ("rollout", "pause"), ("restart",)])
def test_a_service_that_there_is_not_is_said_to_be_none(rookery: Rookery, command: tuple[str, ...]) -> None:
    assert "no service shop/wbe; did you mean shop/web?" in rookery(*command, "shop/wbe", status=1).stderr
    assert "expected APP" in rookery(*command, "shop/web/x", status=2).stderr


def test_an_app_has_no_one_rollout(rookery: Rookery) -> None:
    for command in ("status", "pause", "resume", "abort", "undo"):
        assert "expected APP/SERVICE, as in shop/web, got 'shop'" in rookery("rollout", command, "shop", status=2).stderr
    assert "--to" in rookery("rollback", "shop/web", "--to", "0", status=2).stderr


# ---- restarting


def test_restart_replaces_every_replica(rookery: Rookery, shop: FakeControl) -> None:
    old = set(shop.replicas)
    result = rookery("restart", "shop/web")
    assert result.stdout.startswith("shop/web: restarting\n")
    assert "shop/web: restarted after" in result.stdout
    assert {r.service for r in shop.replicas.values() if r.id in old} == {"api"}
    assert rookery("restart", "shop", "shop/web", "--detach").stdout == "shop/web: restarting\nshop/api: restarting\n"
    assert [r.service for r in shop.requests("Restart")] == ["web", ""]
    answer = rookery.json("restart", "shop/api", "shop/web")
    assert (answer["services"], answer["outcome"]) == (["shop/api", "shop/web"], "converged")
    assert "no app shpo; did you mean shop?" in rookery("restart", "shop/web", "shpo", status=1).stderr
    assert len(shop.requests("Restart")) == 4


def test_a_restart_that_fails_or_takes_long_says_so(rookery: Rookery, shop: FakeControl) -> None:
    shop.fails["api"] = "exited with status 1"
    failed = rookery("restart", "shop/api", status=1)
    assert "shop/api.1 failed: exited with status 1" in failed.stdout
    assert "shop/api: not restarted. Next: rookery logs shop/api --tail 20" in failed.stderr
    shop.stalled = True
    late = rookery("restart", "shop/web", "--timeout", "0.2", status=3).stderr
    assert "shop/web: not restarted after 0 s; it goes on. Next: rookery explain shop/web" in late


# ---- what became of them


def test_history_tells_of_each_revision(rookery: Rookery, shop: FakeControl) -> None:
    at_revision_3(shop)
    rookery("rollback", "shop/web")
    lines = rookery("history", "shop/web").stdout.splitlines()
    assert lines[0].split() == ["REV", "WHEN", "WHO", "CHANGED", "OUTCOME"]
    assert [line.lstrip("* ").split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert lines[1].endswith("image web:2 -> web:3, environment.PASSWORD  rolled out in 7.5 s, left for 2 by hand")
    assert lines[2].startswith("*")
    assert lines[2].endswith("in force, back in 7.5 s (the latest of 2 rollouts)")
    assert "hunter" not in "".join(lines)
    newest, middle, first = rookery.json("history", "shop/web")
    assert (newest["revision"], middle["in_force"], first["actor"]) == (3, True, "ann@box")
    assert newest["fields"][0] == {"path": "container.image", "before": "web:2", "after": "web:3"}
    assert [rollout["number"] for rollout in middle["rollouts"]] == [3, 1]


def test_history_of_an_app(rookery: Rookery, shop: FakeControl) -> None:
    at_revision_3(shop)
    shop.rollouts.fails["shop/web"] = "it crashed"
    deploy_image(shop, "web:4")
    settled(shop)
    result = rookery("history", "shop")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["REV", "WHEN", "WHO", "SERVICES", "WHY"]
    assert lines[1].startswith("*    4")
    assert lines[1].endswith("bob@box  api 1, web 4  deployed")
    assert lines[4].endswith("ann@box  api 1, web 1  deployed")
    assert result.stderr == "shop/web is at revision 3, not 4: revision 4 is rolled back to 3: it crashed\n"
    assert [revision["number"] for revision in rookery.json("history", "shop")] == [4, 3, 2, 1]
    assert "no app shpo; did you mean shop?" in rookery("history", "shpo", status=1).stderr


# ---- under way


def test_rollout_status_shows_the_step_and_both_sides(rookery: Rookery, shop: FakeControl) -> None:
    assert rookery("rollout", "status", "shop/web").stdout.startswith("shop/web has had no rollout")
    shop.rollouts.held["shop/web"] = 25
    deploy_image(shop, "web:2")
    deadline = time.monotonic() + 60
    with Client(shop.address) as client:
        while not shop.services["shop/web"].rollout.share:  # type: ignore[union-attr]
            client.get_app("shop")
            assert time.monotonic() < deadline
    lines = rookery("rollout", "status", "shop/web").stdout.splitlines()
    assert lines[0] == "shop/web: revision 1 -> 2, rolling out"
    assert lines[1].endswith(" by bob@box")
    assert lines[2] == "  strategy  canary: [25], 100 %"
    assert lines[3].startswith("  share     25 % of the requests go to revision 2, since 2023-")
    assert lines[4:] == [
        "  replicas  2 of 2 updated, 2 ready",
        "  waits for 31 of 50 requests in this step",
        "",
        "REVISION  REQUESTS     ERRORS  SLOWER THAN 250 MS",
        "2 (new)         31  0 (0.0 %)           2 (6.5 %)",
        "1 (old)         95  1 (1.1 %)           4 (4.2 %)",
    ]
    found = rookery.json("rollout", "status", "shop/web")
    assert (found["rollout"]["share"], found["steps"], found["new"]["requests"]) == (25, [25, 100], 31)


def test_a_rollout_is_paused_resumed_and_aborted(rookery: Rookery, shop: FakeControl) -> None:
    assert "no rollout of shop/web is under way" in rookery("rollout", "pause", "shop/web", status=1).stderr
    deploy_image(shop, "web:2")
    paused = rookery("rollout", "pause", "shop/web").stdout
    assert paused.startswith("shop/web: the rollout (revision 1 -> 2) is paused; 'rookery rollout resume shop/web' goes on")
    assert rookery.json("rollout", "pause", "shop/web")["rollout"]["state"] == "paused"
    resumed = rookery("rollout", "resume", "shop/web").stdout
    assert resumed.startswith("shop/web: the rollout (revision 1 -> 2) goes on\n")
    assert "canary 25 %: 2/2 ready  (31 of 50 requests in this step)\n" in resumed
    assert "shop/web is done at revision 2 after" in resumed
    assert "no rollout" in rookery("rollout", "abort", "shop/web", status=1).stderr
    deploy_image(shop, "web:3")
    aborted = rookery("rollout", "abort", "shop/web").stdout
    assert aborted.startswith("shop/web: the rollout (revision 2 -> 3) goes back\n")
    assert "shop/web is back at revision 2 after" in aborted
    deploy_image(shop, "web:4")
    assert rookery.json("rollout", "abort", "shop/web", "--detach")["outcome"] == "started"


def test_a_resumed_rollout_that_is_rolled_back_has_failed(rookery: Rookery, shop: FakeControl) -> None:
    shop.rollouts.fails["shop/web"] = "it answered worse"
    deploy_image(shop, "web:2")
    rookery("rollout", "pause", "shop/web")
    failed = rookery("rollout", "resume", "shop/web", status=1)
    assert "shop/web  revision 2 is rolled back to 1: it answered worse\n" in failed.stdout
    assert "shop/web is not done. Next: rookery rollout status shop/web" in failed.stderr


# ---- a deploy that waits for one


def test_a_deploy_shows_the_steps_of_a_canary(rookery: Rookery, shop: FakeControl, home: Path) -> None:
    shop.strategies["web"] = WEB.strategy
    (home / "compose.yml").write_text(COMPOSE)
    out = rookery("deploy", "--monitor", "0").stdout
    assert "shop/web  canary 25 %: 2/2 ready  (31 of 50 requests in this step)\n" in out
    assert "shop/web  canary 100 %: 2/2 ready" in out
    assert "\nshop is ready after " in out


def test_a_canary_that_does_not_get_on_times_out_and_says_where_to_look(rookery: Rookery, shop: FakeControl, home: Path) -> None:
    shop.strategies["web"] = replace(WEB.strategy, interval_s=0.1)  # type: ignore[type-var]
    shop.rollouts.held["shop/web"] = 25
    (home / "compose.yml").write_text(COMPOSE)
    late = rookery("deploy", "--timeout", "0.5", status=3)
    assert "it goes on. Next: rookery rollout status shop/web" in late.stderr
    assert "canary 25 %" in late.stdout


@pytest.mark.parametrize(
    ("action", "why"),
    [(RolloutAction.PAUSE, "the rollout of revision 2 is paused by bob@box"), (RolloutAction.ABORT, "aborted by bob@box")],
)
def test_what_somebody_else_does_to_a_rollout_ends_the_wait_for_it(
    rookery: Rookery, shop: FakeControl, home: Path, action: RolloutAction, why: str
) -> None:
    shop.strategies["web"] = WEB.strategy
    shop.rollouts.held["shop/web"] = 25
    (home / "compose.yml").write_text(COMPOSE)
    somebody = meanwhile(shop, action)
    failed = rookery("deploy", status=1)
    somebody.join(20)
    assert f"shop/web  {why}\n" in failed.stdout
    assert "Next: rookery rollout status shop/web; rookery history shop/web" in failed.stderr


def test_a_deploy_says_which_rollout_it_overtakes(rookery: Rookery, shop: FakeControl, home: Path) -> None:
    shop.rollouts.held["shop/web"] = 25
    deploy_image(shop, "web:3")
    (home / "compose.yml").write_text(COMPOSE)
    assert "shop/web: the rollout of revision 2 is not done; 3 takes its place\n" in rookery("plan").stdout
    shop.rollouts.held.clear()
    assert "shop/web: the rollout of revision 2 was not done; 3 takes its place\n" in rookery("deploy").stdout
    newest, middle, first = rookery.json("history", "shop/web")
    assert newest["outcome"].startswith("in force, rolled out")
    assert (middle["outcome"], first["outcome"]) == ("overtaken by 3", "left")


def test_a_deploy_of_what_is_paused_is_not_waited_for(rookery: Rookery, shop: FakeControl, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE)
    rookery("deploy", "--detach")
    rookery("rollout", "pause", "shop/web")
    failed = rookery("deploy", status=1)
    assert "= shop/web  unchanged" in failed.stdout
    assert "the rollout of revision 2 is paused by " in failed.stdout
    assert "Not there after 0.2 s" in rookery("scale", "shop/web=3", "--timeout", "0.2", status=3).stderr
