"""Every command against a real server: what a person reads, what a script reads, exit statuses, errors."""

# ruff: noqa: ARG001 (fixtures lay out the cluster)
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from cli_runner import Rookery
from click.testing import CliRunner
from fake_control import T0, FakeControl, serving
from ports import free_port
from rookery import model
from rookery.cli.main import cli
from rookery.client import LogLine

pytestmark = pytest.mark.usefixtures("home")

COMPOSE = """\
name: shop
services:
  web:
    image: web:1
    deploy: {replicas: 3}
    ports: ["8080:80"]
  api:
    image: api:1
"""
SHOP = model.AppSpec(
    name="shop",
    services=(
        model.ServiceSpec(
            name="web",
            container=model.ContainerSpec(image="web:1"),
            mode=model.Replicated(replicas=3),
            ports=(model.Port(target=80, published=8080),),
        ),
        model.ServiceSpec(name="api", container=model.ContainerSpec(image="api:1")),
    ),
)


@pytest.fixture
def control() -> Iterator[FakeControl]:
    fake = FakeControl()
    fake.add_node("n1", labels={"disk": "ssd"})
    fake.add_node("n2")
    with serving(fake):
        yield fake


@pytest.fixture
def rookery(control: FakeControl) -> Rookery:
    return Rookery(control)


@pytest.fixture
def shop(control: FakeControl) -> FakeControl:
    control.add_app(SHOP)
    return control


def columns(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# ---- listings


@pytest.mark.parametrize("command", ["apps", "services", "ps"])
def test_an_empty_listing_says_what_to_do(rookery: Rookery, command: str) -> None:
    result = rookery(command)
    assert result.stdout == ""
    assert "rookery deploy -f compose.yml" in result.stderr
    assert rookery.json(command) == []


def test_without_nodes_it_says_how_to_start_one(rookery: Rookery, control: FakeControl) -> None:
    control.nodes.clear()
    assert f"rookery-agent --manager {control.address}" in rookery("nodes").stderr
    assert "rookery-proxy --manager" in rookery("proxies").stderr
    assert "No routes" in rookery("routes").stderr


def test_apps(rookery: Rookery, shop: FakeControl) -> None:
    title, row = columns(rookery("apps").stdout)
    assert title == ["APP", "SERVICES", "READY", "STATE", "CREATED"]
    assert row[:4] == ["shop", "2", "4/4", "converged"]
    assert rookery.json("apps")[0]["app"]["name"] == "shop"


def test_services(rookery: Rookery, shop: FakeControl) -> None:
    title, web, api = columns(rookery("services", "shop").stdout)
    assert title == ["SERVICE", "MODE", "READY", "REVISION", "IMAGE", "PORTS"]
    assert web == ["shop/web", "replicated", "3/3", "1", "web:1", "8080->80/tcp"]
    assert api[0] == "shop/api"
    assert [s["service"]["key"] for s in rookery.json("services")] == ["shop/web", "shop/api"]


def test_ps(rookery: Rookery, shop: FakeControl) -> None:
    lines = columns(rookery("ps").stdout)
    assert lines[0] == ["REPLICA", "ID", "STATE", "READY", "NODE", "REV", "SINCE", "IMAGE"]
    assert [line[0] for line in lines[1:]] == ["shop/api.1", "shop/web.1", "shop/web.2", "shop/web.3"]
    assert lines[2][2:5] == ["running", "yes", "n1"]
    assert len(rookery("ps", "shop/web", "--node", "n2").stdout.splitlines()) == 2
    assert rookery.json("ps", "shop/api")[0]["replica"]["name"] == "shop/api.1"
    assert rookery.json("ps", "--all")
    assert rookery.control.requests("ListReplicas")[-1].ended


def test_nodes(rookery: Rookery, shop: FakeControl) -> None:
    title, n1, _ = columns(rookery("nodes").stdout)
    assert title[:5] == ["NODE", "ID", "STATE", "AVAILABILITY", "ADDRESS"]
    assert n1[:5] == ["n1", "n1-0000-", "ready", "active", "127.0.0.1"]
    assert rookery.json("nodes")[0]["node"]["labels"] == {"disk": "ssd"}


def test_proxies_and_routes(rookery: Rookery, shop: FakeControl) -> None:
    shop.proxies = (
        model.Proxy(
            info=model.ProxyInfo(id="p1", hostname="edge", address="127.0.0.1"),
            connected=True,
            acked_version=7,
            listener_errors=(model.ListenerError(port=80, why="in use"),),
        ),
    )
    end = model.Endpoint(replica_id=model.ReplicaId("r1"), address="10.0.0.1", port=4000, target=80)
    route = model.Route(id=model.RouteId("a"), app="shop", service="web", port=8080, endpoints=(end,))
    bare = model.Route(id=model.RouteId("b"), app="shop", service="api", port=9090, why_empty="no replica is ready")
    shop.routes = model.RouteTable(version=7, routes=(route, bare))
    away = model.HttpRules(redirect=model.Redirect(scheme="https"), methods=("GET",))
    redirecting = model.Route(id=model.RouteId("c"), app="shop", service="away", port=80, path="/x", rules=away, tls=True)
    shop.routes = replace(shop.routes, routes=(*shop.routes.routes, redirecting))
    line = next(line for line in rookery("routes", "shop").stdout.splitlines() if "shop/away" in line)
    assert "over TLS" in line
    assert "/x [GET]" in line
    assert "none: it redirects" in line
    shop.routes = model.RouteTable(version=7, routes=(route, bare))
    assert "edge" in rookery("proxies").stdout
    assert "port 80: in use" in rookery("proxies").stdout
    assert rookery.json("proxies")[0]["acked_version"] == 7
    text = rookery("routes", "shop").stdout
    assert "1: 10.0.0.1:4000" in text
    assert "no replica is ready" in text
    assert [r["port"] for r in rookery.json("routes")["routes"]] == [8080, 9090]
    assert "did you mean shop?" in rookery("routes", "shpo", status=1).stderr


@pytest.mark.parametrize("args", [["ps", "shop/wbe"], ["inspect", "shop/wbe"], ["logs", "shop/wbe"], ["explain", "shop/wbe"]])
def test_an_unknown_service_is_named_with_the_one_that_is_near(rookery: Rookery, shop: FakeControl, args: list[str]) -> None:
    assert rookery(*args, status=1).stderr == "error: no service shop/wbe; did you mean shop/web?\n"


def test_a_service_without_its_app_is_understood(rookery: Rookery, shop: FakeControl) -> None:
    assert "no app or replica web; did you mean shop/web?" in rookery("logs", "web", status=1).stderr


# ---- looking closer


def test_inspect_tells_things_apart_by_name(rookery: Rookery, shop: FakeControl) -> None:
    assert rookery.json("inspect", "shop")["app"]["name"] == "shop"
    assert rookery.json("inspect", "shop/web")["spec"]["mode"] == {"kind": "replicated", "replicas": 3}
    replica = rookery.json("inspect", "shop/web.2")["replica"]
    assert rookery.json("inspect", replica["id"][:12])["replica"] == replica
    assert rookery.json("inspect", "n1")["node"]["name"] == "n1"
    text = rookery("inspect", "shop/web").stdout
    assert "image: web:1" in text
    assert "stop_grace_period_s: 10 s" in text
    assert "did you mean" in rookery("inspect", "n11", status=1).stderr


def test_explain(rookery: Rookery, shop: FakeControl) -> None:
    shop.add_event("replica", "shop/web.2", "placed on n1")
    text = rookery("explain", "shop/web.2").stdout
    assert "OF THIS SERVICE" in text
    assert text.index("n1   ") < text.index("n2   ")
    assert "it is drained" in text
    assert "placed on n1" in text
    assert rookery.control.requests("Explain")[0].replica == "shop/web.2"
    assert rookery.json("explain", "shop/web")["nodes"][0]["why"] == "it is drained"
    assert "name one of its services: shop/web, shop/api" in rookery("explain", "shop", status=2).stderr


def test_logs_are_in_order_of_time_with_aligned_names(rookery: Rookery, shop: FakeControl) -> None:
    lines = [("shop/web.1", 3.0, "third"), ("shop/web.10", 1.0, "first"), ("shop/web.10", 2.0, "second")]
    shop.log = [LogLine(replica_id=name, replica=name, node_name="n1", at=at, text=text) for name, at, text in lines]
    text = rookery("logs", "shop/web", "--tail", "5", "--since", "10m").stdout
    assert text.splitlines() == ["web.10@n1 | first", "web.10@n1 | second", "web.1@n1  | third"]
    request = shop.requests("Logs")[0]
    assert (request.app, request.service, request.replica, request.tail) == ("shop", "web", "", 5)
    assert request.since_at > T0
    assert rookery("logs", "shop/web.1", "-f").stdout.splitlines()[0] == "third"
    assert rookery("logs", "shop", "-t").stdout.startswith("shop/web.10@n1 | 1970-01-01T00:00:01.000000Z first")
    out = rookery("logs", "shop", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in out] == ["first", "second", "third"]


def test_a_log_that_cannot_be_read_is_said_and_fails(rookery: Rookery, shop: FakeControl) -> None:
    shop.log_errors = {"shop/web.1": "its node is down"}
    assert "the log of shop/web.1 on n2 can't be read: its node is down" in rookery("logs", "shop", status=1).stderr


def test_bad_log_options(rookery: Rookery, shop: FakeControl) -> None:
    assert "--since: expected a span" in rookery("logs", "shop", "--since", "yesterday", status=2).stderr
    assert "--tail: expected a number" in rookery("logs", "shop", "--tail", "x", status=2).stderr


def test_events(rookery: Rookery, control: FakeControl) -> None:
    control.add_event("app", "shop", "deployed", actor="ann@box")
    control.add_event("replica", "shop/web.1", "placed\x1b[31m on n1")
    text = rookery("events").stdout
    assert "shop: deployed (ann@box)" in text
    assert "\x1b" not in text
    assert [e["why"] for e in rookery.json("events", "shop/web.1")] == ["placed\x1b[31m on n1"]
    assert rookery.json("events", "--limit", "1")[0]["subject"] == "shop/web.1"


# ---- changing


def test_scale_waits_until_it_is_so(rookery: Rookery, shop: FakeControl) -> None:
    text = rookery("scale", "shop/web=5", "shop/api=0").stdout
    assert text.startswith("shop/web: 3 -> 5\nshop/api: 1 -> 0\n")
    assert "shop/web  5/5 ready" in text
    assert rookery.json("scale", "shop/web=1")["outcome"] == "converged"
    shop.stalled = True
    assert "Not there after 0.2 s" in rookery("scale", "shop/web=9", "--timeout", "0.2", status=3).stderr
    assert rookery("scale", "shop/web=1", "--detach").stdout == "shop/web: 9 -> 1\n"


@pytest.mark.parametrize("wish", ["shop=3", "shop/web", "shop/web=x", "shop/web=-1", "=3", "shop/web=99999999"])
def test_a_scale_that_makes_no_sense_changes_nothing(rookery: Rookery, shop: FakeControl, wish: str) -> None:
    assert "expected" in rookery("scale", "shop/api=2", "--", wish, status=2).stderr
    assert not shop.requests("Scale")


def test_rm_waits_until_it_is_gone(rookery: Rookery, shop: FakeControl) -> None:
    assert rookery("rm", "shop").stdout.endswith("shop  removed\n")
    assert not shop.apps
    assert "no app shop" in rookery("rm", "shop", status=1).stderr
    shop.add_app(SHOP)
    assert rookery.json("rm", "shop") == {"apps": ["shop"], "outcome": "removed"}
    assert "is not an app" in rookery("rm", "shop/web", status=2).stderr


def test_rm_times_out(rookery: Rookery, shop: FakeControl) -> None:
    shop.stalled = True
    assert "Not gone after 0.1 s" in rookery("rm", "shop", "--timeout", "0.1", status=3).stderr


def test_node(rookery: Rookery, shop: FakeControl) -> None:
    assert rookery("node", "drain", "n1").stdout.endswith("n1  drained\n")
    assert rookery("node", "activate", "n1").stdout == "n1 is active\n"
    assert rookery("node", "label", "n1", "zone=a", "disk-").stdout == "n1: zone=a\n"
    assert rookery("node", "label", "n2").stdout == "n2: no labels\n"
    assert "hostname: n1" in rookery("node", "inspect", "n1").stdout
    assert rookery.json("node", "inspect", "n1")["node"]["labels"] == {"zone": "a"}
    assert "expected KEY=VALUE" in rookery("node", "label", "n1", "x", status=2).stderr
    assert "n2 is up" in rookery("node", "rm", "n2", status=1).stderr
    assert rookery("node", "rm", "n2", "--force").stdout == "removed n2\n"
    assert "did you mean n1?" in rookery("node", "drain", "n1x", status=1).stderr


def test_drain_that_cannot_end_times_out(rookery: Rookery, shop: FakeControl) -> None:
    shop.stalled = True
    assert "Not empty after 0.1 s" in rookery("node", "drain", "n1", "--timeout", "0.1", status=3).stderr


# ---- deploying


def test_deploy_waits_until_all_is_ready(rookery: Rookery, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE)
    result = rookery("deploy", "--monitor", "0.1")
    assert result.stdout.startswith("+ shop/web  created, 3 replicas\n+ shop/api  created, 1 replica\n")
    assert "shop/web  3/3 ready\n" in result.stdout
    assert "\nshop is ready after " in result.stdout
    assert "shop/web answers on port 8080 of every proxy" in result.stdout
    again = rookery("deploy", "-f", "compose.yml").stdout
    assert "shop was ready already: nothing changed" in again


def test_deploy_in_json(rookery: Rookery, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE)
    answer = rookery.json("deploy", "--monitor", "0")
    assert answer["outcome"] == "converged"
    assert [change["kind"] for change in answer["changes"]] == ["create", "create"]
    assert answer["status"]["converged"] is True
    assert rookery.json("deploy", "--detach", "--app", "other")["outcome"] == "started"


def test_a_deploy_that_fails_says_why_and_what_next(rookery: Rookery, control: FakeControl, home: Path) -> None:
    control.fails["api"] = "exited with status 1"
    control.log = [LogLine(replica_id="a", replica="shop/api.1", node_name="n1", at=1.0, text="no database")]
    (home / "compose.yml").write_text(COMPOSE)
    result = rookery("deploy", status=1)
    assert "shop/api.1 failed: exited with status 1" in result.stdout
    assert "  shop/api.1 | no database\n" in result.stdout
    assert control.requests("Logs")[0].replica == next(r.id for r in control.replicas.values() if r.service == "api")
    assert "Next: rookery logs shop/api --tail 20; rookery explain shop/api" in result.stderr


def test_what_ends_right_after_its_start_has_not_worked(rookery: Rookery, control: FakeControl, home: Path) -> None:
    control.dies_after_looks["api"] = 4
    (home / "compose.yml").write_text(COMPOSE)
    result = rookery("deploy", "--monitor", "20", status=1)
    assert "shop/api  1/1 ready" in result.stdout
    assert "shop/api.1 failed: exited with status 1" in result.stdout


def test_a_deploy_that_takes_too_long(rookery: Rookery, control: FakeControl, home: Path) -> None:
    control.stalled = True
    (home / "compose.yml").write_text(COMPOSE)
    result = rookery("deploy", "--timeout", "0.2", status=3)
    assert "shop/web  0/3 ready  (pulling the image)" in result.stdout
    assert "Next: rookery explain shop/web" in result.stderr
    assert rookery("deploy", "--detach").stdout.endswith("Look with: rookery ps shop\n")


def test_services_that_the_file_no_longer_names_are_named(rookery: Rookery, shop: FakeControl, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE.replace("  api:\n    image: api:1\n", ""))
    assert "shop/api is not in the compose file and goes on; --prune removes it" in rookery("deploy").stderr
    rookery("deploy", "--prune", "--detach")
    assert shop.requests("Apply")[-1].prune


def test_plan_changes_nothing(rookery: Rookery, shop: FakeControl, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE.replace("web:1", "web:2") + "  db: {image: 'db:1'}\n")
    text = rookery("plan").stdout
    assert "~ shop/web  updated to revision 2" in text
    assert "container.image: web:1 -> web:2\n    3 replaced (rolling, 1 at a time)\n    pulls web:2 on n1, n2\n" in text
    assert "+ shop/db  created, 1 replica" in text
    assert "shop/db.1    n1    fewest replicas" in text
    assert text.endswith("Nothing was done. Do it with: rookery deploy --if-revision 1\n")
    assert (
        "Do it with: rookery deploy -f compose.yml --app store --prune --if-revision 0"
        in rookery("plan", "-f", "compose.yml", "--app", "store", "--prune").stdout
    )
    assert not shop.requests("Apply")
    assert rookery.json("plan")["placements"][0]["node_name"] == "n1"


def test_a_plan_says_in_which_order(rookery: Rookery, control: FakeControl, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE + "    depends_on: [web]\n")
    text = rookery("plan").stdout
    assert "    wave 1: 3 created\n    pulls web:1 on n1, n2\n" in text
    assert "    wave 2, after web: 1 created\n" in text
    assert rookery.json("plan")["services"][1]["after"] == ["web"]


def test_a_deploy_of_what_was_planned_changes_nothing_that_others_did_meanwhile(rookery: Rookery, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE)
    assert rookery.json("deploy", "--detach", "--if-revision", "0")["app_revision"] == 1
    refused = rookery("deploy", "--if-revision", "0", status=1).stderr
    assert refused.startswith("error: shop is at revision 1 by now")
    assert refused.endswith("Nothing was done. Next: rookery plan\n")
    assert "--if-revision" in rookery("deploy", "--if-revision", "-1", status=2).stderr
    rookery("deploy", "--if-revision", "1", "--detach")
    rookery("deploy", "--detach")
    requests = rookery.control.requests("Apply")
    assert [r.if_revision if r.HasField("if_revision") else None for r in requests] == [0, 0, 1, None]


@pytest.mark.parametrize("command", ["deploy", "plan", "config"])
def test_every_error_of_a_compose_file_has_its_line(rookery: Rookery, home: Path, command: str) -> None:
    (home / "compose.yml").write_text("services:\n  web:\n    imge: a\n    deploy:\n      replicas: three\n")
    errors = rookery(command, status=2).stderr.splitlines()
    assert len(errors) >= 2
    assert all(line.startswith("error: compose.yml:") for line in errors)
    assert any(":5: services.web.deploy.replicas:" in line for line in errors)


def test_without_a_compose_file(rookery: Rookery) -> None:
    assert "no compose file in" in rookery("deploy", status=2).stderr
    assert "does not exist" in rookery("deploy", "-f", "nope.yml", status=2).stderr


def test_config(rookery: Rookery, home: Path) -> None:
    (home / "compose.yml").write_text(COMPOSE.replace("web:1", "${IMAGE:-web:9}"))
    assert "image: web:9" in rookery("config").stdout
    assert rookery.json("config")["services"]["web"]["image"] == "web:9"
    assert rookery("config", "--services").stdout == "web\napi\n"
    assert rookery("config", "-q").stdout == ""
    assert "web:9" in rookery("config", "-f", "-", stdin=(home / "compose.yml").read_text()).stdout


# ---- the rest


def test_version(rookery: Rookery, control: FakeControl) -> None:
    assert f"manager  0.0.9 at {control.address}, 2 of 2 nodes ready" in rookery("version").stdout
    assert rookery.json("version")["cluster"]["manager_version"] == "0.0.9"


def test_a_manager_that_is_away(home: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    (home / "compose.yml").write_text(COMPOSE)
    for args in (["ps"], ["deploy"], ["logs", "shop"], ["events", "-f"], ["scale", "a/b=1"], ["rm", "a"], ["node", "drain", "a"]):
        result = CliRunner().invoke(cli, ["--manager", address, *args])
        assert result.exit_code == 4
        assert result.stderr.splitlines()[-1].startswith(f"error: no manager answers at {address} (connection refused).")
        assert len(result.output.splitlines()) == 1
    version = CliRunner().invoke(cli, ["version", "--manager", address])
    assert version.exit_code == 0
    assert "manager  no manager answers" in version.stdout


def test_a_mistake_of_the_manager_is_no_traceback(rookery: Rookery, control: FakeControl) -> None:
    control.refuses["ListApps"] = (grpc.StatusCode.INTERNAL, "boom")
    assert "the manager failed in ListApps: boom; see its log" in rookery("apps", status=1).stderr


@pytest.mark.parametrize("args", [["frob"], ["ps", "--frob"], ["scale"], ["node"], ["completion", "tcsh"], ["ps", "a/b/c"]])
def test_wrong_use_is_status_2(rookery: Rookery, args: list[str]) -> None:
    rookery(*args, status=2)
    assert "did you mean deploy?" in rookery("deplyo", status=2).stderr


def test_context_is_saved_and_used(control: FakeControl, home: Path) -> None:
    def run(*args: str, status: int = 0, **env: str) -> str:
        result = CliRunner().invoke(cli, args, env=env)
        assert result.exit_code == status, result.output
        return result.output

    assert run("context", "show").startswith("127.0.0.1:7070 (from: default)")
    assert "in use from now on" in run("context", "save", "here", control.address)
    assert "n1" in run("nodes")
    run("context", "save", "prod", "10.0.0.1", "--no-use")
    shown = json.loads(run("context", "show", "--json"))
    assert shown["contexts"] == {"here": control.address, "prod": "10.0.0.1:7070"}
    assert (shown["address"], shown["from"]) == (control.address, "context here")
    assert run("context", "show", ROOKERY_MANAGER="prod").startswith("10.0.0.1:7070 (from: ROOKERY_MANAGER)")
    assert "n1" in run("--manager", "here", "nodes", ROOKERY_MANAGER="127.0.0.1:1")
    assert "did you mean prod?" in run("context", "use", "prodd", status=2)
    run("context", "use", "default")
    assert json.loads(run("context", "show", "--json"))["from"] == "default"
    run("context", "rm", "prod")
    assert "expected a port" in run("context", "save", "x", "a:b", status=2)
    assert "--manager: expected a port" in run("--manager", "a:b", "ps", status=2)
    (home / "config" / "rookery" / "config.json").write_text("{")
    assert "config.json: not JSON" in run("ps", status=1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(rookery: Rookery, shell: str) -> None:
    assert "_ROOKERY_COMPLETE" in rookery("completion", shell).stdout


def test_names_complete(shop: FakeControl) -> None:
    env = {
        "_ROOKERY_COMPLETE": "bash_complete",
        "COMP_WORDS": "rookery ps shop/",
        "COMP_CWORD": "2",
        "ROOKERY_MANAGER": shop.address,
    }
    out = CliRunner().invoke(cli, [], env=env, prog_name="rookery").output
    assert out.split() == ["plain,shop/web", "plain,shop/api"]


def test_colours_are_for_terminals_only(rookery: Rookery, shop: FakeControl) -> None:
    assert "\x1b[" not in rookery("ps").output
    colourful = CliRunner().invoke(cli, ["--manager", shop.address, "ps"], color=True)
    assert "\x1b[32m" in colourful.output
    plain = CliRunner().invoke(cli, ["--manager", shop.address, "--no-color", "ps"], color=True)
    assert "\x1b[" not in plain.output
    assert "\x1b[" not in CliRunner().invoke(cli, ["--manager", shop.address, "ps"], color=True, env={"NO_COLOR": "1"}).output
