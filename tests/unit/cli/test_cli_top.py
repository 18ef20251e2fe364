"""`rookery top services`: rates from two looks at what the proxies counted."""

from collections.abc import Iterator

import pytest
from cli_runner import Rookery
from fake_control import FakeControl, serving
from rookery import model
from rookery.cli.traffic_text import rates
from rookery.model import ReplicaTraffic, RevisionTraffic, ServiceTraffic, TrafficFigures, TrafficReport

pytestmark = pytest.mark.usefixtures("home")
BOUNDS = (0.01, 0.1, 1.0)


@pytest.fixture
def control() -> Iterator[FakeControl]:
    fake = FakeControl()
    fake.add_app(model.AppSpec(name="shop", services=(model.ServiceSpec(name="web"), model.ServiceSpec(name="api"))))
    with serving(fake):
        yield fake


@pytest.fixture
def rookery(control: FakeControl) -> Rookery:
    return Rookery(control)


def figures(requests: int, *, failed: int = 0, **counts: int) -> TrafficFigures:
    ok = requests - failed
    return TrafficFigures(
        requests=requests, responses_2xx=ok, responses_5xx=failed, latency_counts=(ok, failed, 0, 0), **counts
    )  # fmt: skip


def report(at: float, web: TrafficFigures, *, revisions: tuple[RevisionTraffic, ...] = ()) -> TrafficReport:
    replica = ReplicaTraffic(replica_id=model.ReplicaId("r1"), name="shop/web.1", revision=2, node_name="n1", figures=web)
    traffic = ServiceTraffic(app="shop", service="web", total=web, revisions=revisions, replicas=(replica,))
    return TrafficReport(at=at, latency_bounds_s=BOUNDS, proxies=1, services=(traffic, ServiceTraffic(app="shop", service="api")))


def test_rates_are_what_grew_between_two_reports() -> None:
    web, api = rates(report(100.0, figures(1000)), report(102.0, figures(1100, failed=10, bytes_out=4096, in_flight=3)))
    assert (web.name, web.requests, web.in_flight, web.errors, web.responses_5xx) == ("shop/web", 50.0, 3, 0.1, 5.0)
    assert web.bytes_out == 2048
    assert web.p50_s == pytest.approx(0.0056, abs=1e-4)
    assert web.p99_s == pytest.approx(0.091, abs=1e-3)
    assert (api.requests, api.p50_s, api.errors) == (0.0, None, 0.0)


def test_a_manager_that_was_started_again_in_between_makes_no_negative_rates() -> None:
    (web, _) = rates(report(100.0, figures(1000, failed=50, bytes_in=7)), report(102.0, figures(3)))
    assert (web.requests, web.errors, web.bytes_in, web.p99_s) == (0.0, 0.0, 0.0, None)


def test_revisions_have_a_line_each_while_several_serve() -> None:
    def two(old: int, new: int) -> TrafficReport:
        revisions = (
            RevisionTraffic(revision=2, figures=figures(new)),
            RevisionTraffic(revision=1, figures=figures(old)),
        )
        return report(float(old), figures(old + new), revisions=revisions)

    found = rates(two(10, 0), two(20, 5))
    assert [(r.name, r.level) for r in found[:3]] == [
        ("shop/web", "service"), ("  revision 2", "revision"), ("  revision 1", "revision"),
    ]  # fmt: skip
    still = TrafficReport(at=20.0, latency_bounds_s=BOUNDS, services=two(20, 5).services)
    after = TrafficReport(at=21.0, latency_bounds_s=BOUNDS, services=two(20, 9).services)
    assert [r.level for r in rates(still, after)] == ["service", "service"]


def test_the_command_prints_a_look_where_there_is_no_terminal(rookery: Rookery, control: FakeControl) -> None:
    control.traffic = [report(100.0, figures(1000)), report(101.0, figures(1200, failed=20))]
    text = rookery("top", "services", "shop", "--interval", "1", "--replicas").stdout
    line = next(line for line in text.splitlines() if line.startswith("shop/web"))
    assert line.split()[:2] == ["shop/web", "200"]
    assert "10.0%" in line
    assert "shop/web.1 on n1" in text


def test_the_command_gives_json(rookery: Rookery, control: FakeControl) -> None:
    control.traffic = [report(100.0, figures(1000)), report(101.0, figures(1200))]
    found = rookery.json("top", "services", "--interval", "1")
    assert (found["seconds"], found["proxies"]) == (1.0, 1)
    assert [(s["name"], s["requests"]) for s in found["services"]] == [("shop/web", 200.0), ("shop/api", 0.0)]


def test_no_proxy_and_no_app_are_said(rookery: Rookery) -> None:
    assert "No proxy reports" in rookery("top", "services", "--interval", "1").stderr
    assert "did you mean shop?" in rookery("top", "services", "shpo", status=1).stderr
