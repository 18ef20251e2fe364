"""Metrics of what scales by itself: services by what is asked of them, and pools of nodes."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from rookery.metrics import Family, Kind
from rookery.model import AutoscaleStatus, MemberState, Pool

from rookery_manager.api.autoscale import status_of
from rookery_manager.api.needs import Api

_SERVICE = ("app", "service")
_METRIC = (*_SERVICE, "metric")
_POOL = ("pool",)


def watch_scaling(api: Api) -> Callable[[], Awaitable[Iterable[Family]]]:
    """The source of these metrics, for those services that are scaled now, and all pools."""

    async def take() -> Iterable[Family]:
        found = [status_of(api, service) for service in api.state.services.values() if not service.removing]
        return [
            *autoscale_families([status for status in found if status.policy is not None]),
            *pool_families(list(api.state.pools.values())),
        ]

    return take


def autoscale_families(scaled: Sequence[AutoscaleStatus]) -> list[Family]:
    """How services follow what is asked of them. A figure that is not known is left out, and `known` is 0."""
    services = [((s.app, s.service), s) for s in scaled]
    figures = [((s.app, s.service, str(f.metric)), f) for s in scaled if s.latest for f in s.latest.figures]
    known = [(labels, figure) for labels, figure in figures if not figure.missing]
    return [
        _gauge("rookery_autoscale_min", "The least replicas now.", _SERVICE, {k: s.minimum for k, s in services}),
        _gauge("rookery_autoscale_max", "The most replicas now.", _SERVICE, {k: s.maximum for k, s in services}),
        _gauge("rookery_autoscale_wanted", "Replicas that are wanted.", _SERVICE, {k: s.replicas for k, s in services}),
        _gauge("rookery_autoscale_ready", "Replicas that are ready.", _SERVICE, {k: s.ready for k, s in services}),
        _gauge("rookery_autoscale_held", "Requests that wait for a first replica.", _SERVICE, {k: s.held for k, s in services}),
        _gauge("rookery_autoscale_known", "Whether a metric is known.", _METRIC, {k: not f.missing for k, f in figures}),
        _gauge("rookery_autoscale_target", "What one replica is to have of it.", _METRIC, {k: f.target for k, f in figures}),
        _gauge("rookery_autoscale_actual", "What all replicas have of it together.", _METRIC, {k: f.value for k, f in known}),
        _gauge("rookery_autoscale_calls_for", "Replicas that it calls for by itself.", _METRIC, {k: f.wants for k, f in known}),
    ]


def pool_families(pools: Sequence[Pool]) -> list[Family]:
    """How pools stand; a node that is wanted and not there yet is `creating` or `joining`."""
    states = [((p.name, str(state)), sum(m.state is state for m in p.members)) for p in pools for state in MemberState]
    return [
        _gauge("rookery_pool_min", "The least nodes of a pool.", _POOL, {(p.name,): p.spec.min for p in pools}),
        _gauge("rookery_pool_max", "The most nodes of a pool.", _POOL, {(p.name,): p.spec.max for p in pools}),
        _gauge("rookery_pool_nodes", "Nodes of a pool, by state.", (*_POOL, "state"), dict(states)),
        _gauge("rookery_pool_failures", "Failures in a row to get a node.", _POOL, {(p.name,): p.failures for p in pools}),
        _gauge(
            "rookery_pool_in_trouble", "Whether something is wrong with it.", _POOL, {(p.name,): bool(p.trouble) for p in pools}
        ),
    ]


def _gauge(name: str, help: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Family:
    samples = [(of, float(value)) for of, value in values.items()]
    return Family(name=name, help=help, kind=Kind.GAUGE, labels=labels, samples=samples)
