"""`rookery autoscale` at the command line."""

import json
from collections.abc import Iterator

import pytest
from cli_runner import Rookery
from fake_control import FakeControl, serving
from rookery import model

pytestmark = pytest.mark.usefixtures("home")

POLICY = model.Autoscale(
    minimum=0,
    maximum=20,
    targets=(
        model.ScaleTarget(metric=model.ScaleMetric.CONCURRENCY, value=10.0),
        model.ScaleTarget(metric=model.ScaleMetric.LATENCY_P95, value=0.2),
    ),
    schedules=(model.ScaleSchedule(cron="0 8 * * *", minimum=3),),
)
SHOP = model.AppSpec(
    name="shop",
    services=(
        model.ServiceSpec(name="web", container=model.ContainerSpec(image="web:1"), autoscale=POLICY),
        model.ServiceSpec(name="api", container=model.ContainerSpec(image="api:1")),
    ),
)
FIGURES = (
    model.ScaleFigure(metric=model.ScaleMetric.CONCURRENCY, value=68.0, target=10.0, wants=7),
    model.ScaleFigure(metric=model.ScaleMetric.LATENCY_P95, target=0.2, missing="no proxy is connected"),
)
WHY = "68 requests in flight, 10 wanted per replica"


@pytest.fixture
def shop() -> Iterator[FakeControl]:
    fake = FakeControl()
    fake.add_app(SHOP)
    fake.decisions = [
        model.ScaleDecision(at=9.0, before=7, after=7, ready=6, why=WHY, figures=FIGURES),
        model.ScaleDecision(at=8.0, before=3, after=7, ready=3, why=WHY, figures=FIGURES),
    ]
    with serving(fake):
        yield fake


@pytest.fixture
def rookery(shop: FakeControl) -> Rookery:
    return Rookery(shop)


def test_show(rookery: Rookery) -> None:
    assert rookery("autoscale", "show", "shop/web").stdout.splitlines() == [
        "shop/web: 1 replica wanted, 1 ready, 0 to 20 allowed",
        "  targets    concurrency 10, latency_p95 200ms",
        "  up         at once",
        "  down       after 1m, 50% per 30s at most",
        "  zero       after 5m without a request; then requests wait up to 1m",
        "  schedule   0 8 * * * UTC: 3 to 20",
        f"  now        {WHY}",
        "",
        "METRIC       NOW  PER REPLICA  WANTS  NOT KNOWN",
        "concurrency   68           10      7",
        "latency_p95    ?        200ms      ?  no proxy is connected",
    ]


def test_explain(rookery: Rookery) -> None:
    lines = rookery("autoscale", "explain", "shop/web").stdout.splitlines()
    assert lines[0] == f"shop/web: 7 replicas, 1 ready: {WHY}"
    assert "3 -> 7" in lines[3]
    assert "concurrency 68, latency_p95 ?" in lines[3]
    assert lines[3].endswith(WHY)


def test_one_that_is_not_scaled(rookery: Rookery) -> None:
    told = "shop/api is not scaled by what is asked of it: its spec has no x-rookery.autoscale"
    assert rookery("autoscale", "show", "shop/api").stdout.strip() == told
    assert rookery("autoscale", "explain", "shop/api", status=1).stderr.strip() == f"error: {told}"
    begun = rookery("autoscale", "set", "shop/api", "--min", "3", status=2)
    assert begun.stderr.strip() == "error: shop/api is not scaled yet: say --max and --target too"


def test_set_changes_what_is_said_and_nothing_else(rookery: Rookery, shop: FakeControl) -> None:
    shown = rookery("autoscale", "set", "shop/web", "--max", "5", "--target", "cpu=60%", "--down-window", "10")
    assert shown.stdout.startswith("shop/web: 1 replica wanted, 1 ready, 0 to 5 allowed, as set by hand until the next deploy\n")
    by_hand = shop.services["shop/web"].by_hand
    assert by_hand is not None
    assert by_hand.policy is not None
    assert by_hand.policy.targets == (model.ScaleTarget(metric=model.ScaleMetric.CPU, value=60.0),)
    assert (by_hand.policy.maximum, by_hand.policy.minimum, by_hand.policy.schedules) == (5, 0, POLICY.schedules)
    assert by_hand.policy.down == model.ScalePace(window_s=10.0, most_percent=50, per_s=30.0)


def test_off_and_on_again(rookery: Rookery) -> None:
    off = rookery("autoscale", "off", "shop/web")
    assert (
        off.stdout.strip()
        == "shop/web is not scaled any more: it stays at 1 replica; 'rookery scale shop/web=N' sets another number"
    )
    assert "autoscaling was switched off" in rookery("autoscale", "show", "shop/web").stdout
    assert rookery("autoscale", "set", "shop/web").stdout.startswith("shop/web: 1 replica wanted, 1 ready, 0 to 20 allowed")


def test_json(rookery: Rookery) -> None:
    found = json.loads(rookery("autoscale", "explain", "shop/web", "--json").stdout)
    assert found["decisions"][0]["figures"][0] == {
        "metric": "concurrency", "value": 68.0, "target": 10.0, "wants": 7, "missing": "",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["rps", "rps=", "rps=0", "rps=-1", "cpu=lots", "latency_p95=5", "qps=4", "=", "rps=nan"])
def test_a_target_that_is_none(rookery: Rookery, text: str) -> None:
    assert rookery("autoscale", "set", "shop/web", "--target", text, status=2).stderr.startswith("error: --target: ")


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300.0), ("1h30m", 5400.0), ("90", 90.0), ("2.5s", 2.5)])
def test_times_are_spans_as_in_a_compose_file_or_seconds(rookery: Rookery, shop: FakeControl, text: str, seconds: float) -> None:
    rookery("autoscale", "set", "shop/web", "--idle", text)
    by_hand = shop.services["shop/web"].by_hand
    assert by_hand is not None
    assert by_hand.policy is not None
    assert by_hand.policy.idle_s == seconds


@pytest.mark.parametrize("text", ["", "5x", "m", "nan", "-5m", "0.5s", "9d", "5m later"])
def test_a_time_that_is_none_is_refused_with_what_it_should_be(rookery: Rookery, text: str) -> None:
    told = rookery("autoscale", "set", "shop/web", "--idle", text, status=2).stderr
    assert "--idle" in told
    assert "expected " in told
