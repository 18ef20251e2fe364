"""The manager's metrics, from its records and its proxies' figures."""

from rookery.metrics import Family, Histogram
from rookery.model import (
    AutoscaleStatus,
    MemberState,
    Pool,
    PoolMember,
    PoolSpec,
    ProviderKind,
    RevisionTraffic,
    ScaleDecision,
    ScaleFigure,
    ScaleMetric,
    Service,
    ServiceStatus,
    ServiceTraffic,
    TrafficFigures,
)
from rookery_manager.metrics import service_families, traffic_families
from rookery_manager.scaling_metrics import autoscale_families, pool_families


def named(families: list[Family]) -> dict[str, dict[tuple[str, ...], float | Histogram]]:
    return {family.name: dict(family.samples) for family in families}


def test_services_show_how_many_replicas_they_have_and_want() -> None:
    status = ServiceStatus(service=Service(app="shop", name="web", revision=3), wanted=4, running=3, ready=2)
    found = named(service_families([status]))
    assert found["rookery_service_replicas_wanted"] == {("shop", "web"): 4.0}
    assert found["rookery_service_replicas_ready"] == {("shop", "web"): 2.0}
    assert found["rookery_service_converged"] == {("shop", "web"): 0.0}


def test_traffic_is_shown_by_revision_and_class() -> None:
    figures = TrafficFigures(
        requests=7, responses_2xx=5, responses_5xx=2, latency_counts=(4, 3), latency_sum_s=1.5, errors_connect=1, in_flight=2
    )
    other = TrafficFigures(requests=1)  # of TCP: no answers, no latencies
    traffic = ServiceTraffic(
        app="shop", service="web", total=TrafficFigures(requests=8, refused=3, in_flight=2),
        revisions=(RevisionTraffic(revision=2, figures=figures), RevisionTraffic(revision=1, figures=other)),
    )  # fmt: skip
    found = named(traffic_families([traffic], (0.1,)))
    assert found["rookery_service_requests"] == {("shop", "web", "2"): 7, ("shop", "web", "1"): 1}
    assert found["rookery_service_responses"]["shop", "web", "2", "5xx"] == 2
    assert found["rookery_service_refused"] == {("shop", "web"): 3}
    assert found["rookery_service_in_flight"] == {("shop", "web"): 2}
    assert found["rookery_service_latency_seconds"] == {("shop", "web", "2"): Histogram((0.1,), (4, 3), 1.5)}


def test_scaled_services_show_what_is_asked_of_them_and_what_is_not_known() -> None:
    figures = (
        ScaleFigure(metric=ScaleMetric.CONCURRENCY, value=68.0, target=10.0, wants=7),
        ScaleFigure(metric=ScaleMetric.CPU, target=60.0, missing="no replica is ready"),
    )
    latest = ScaleDecision(before=3, after=7, figures=figures)
    status = AutoscaleStatus(app="shop", service="web", minimum=1, maximum=9, replicas=7, ready=3, held=2, latest=latest)
    not_looked_at = AutoscaleStatus(app="shop", service="api", minimum=0, maximum=2)
    found = named(autoscale_families([status, not_looked_at]))
    assert found["rookery_autoscale_wanted"] == {("shop", "web"): 7, ("shop", "api"): 0}
    assert found["rookery_autoscale_ready"]["shop", "web"] == 3
    assert found["rookery_autoscale_held"]["shop", "web"] == 2
    assert (found["rookery_autoscale_min"]["shop", "web"], found["rookery_autoscale_max"]["shop", "web"]) == (1, 9)
    assert found["rookery_autoscale_known"] == {("shop", "web", "concurrency"): 1, ("shop", "web", "cpu"): 0}
    assert found["rookery_autoscale_target"] == {("shop", "web", "concurrency"): 10, ("shop", "web", "cpu"): 60}
    assert found["rookery_autoscale_actual"] == {("shop", "web", "concurrency"): 68}
    assert found["rookery_autoscale_calls_for"] == {("shop", "web", "concurrency"): 7}


def test_pools_show_their_nodes_by_state_and_their_failures() -> None:
    members = (PoolMember(name="a-1", state=MemberState.JOINED), PoolMember(name="a-2"), PoolMember(name="a-3"))
    spec = PoolSpec(provider=ProviderKind.COMMAND, min=1, max=5)
    found = named(pool_families([Pool(name="a", spec=spec, members=members, failures=2, trouble="no such region")]))
    assert {labels[1]: n for labels, n in found["rookery_pool_nodes"].items() if n} == {"creating": 2, "joined": 1}
    assert len(found["rookery_pool_nodes"]) == len(MemberState)
    assert (found["rookery_pool_min"], found["rookery_pool_max"]) == ({("a",): 1}, {("a",): 5})
    assert (found["rookery_pool_failures"], found["rookery_pool_in_trouble"]) == ({("a",): 2}, {("a",): 1})
