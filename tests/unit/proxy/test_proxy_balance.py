"""Random tables, requests and ends of requests: whatever happens, the balance holds to the table in force."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from proxy_rig import endpoint, route
from rookery.model import EndpointStats, RouteId, RouteTable
from rookery_proxy.balance import Balance
from rookery_proxy.health import Failure, answered_well
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.resend import free_again
from rookery_proxy.stats import Retained, merge
from rookery_proxy.table import advance, build
from rookery_proxy.tally import Tally

REPLICAS = st.lists(st.sampled_from("abcdef"), max_size=4, unique=True)


class Idle:
    """An idle connection."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.closed = False

    def discard(self) -> None:
        self.closed = True

    def is_stale(self) -> bool:
        return self.closed


@dataclass(slots=True, kw_only=True)
class Request:
    """A request that is with an endpoint, and where it has been before."""

    route: LiveRoute
    endpoint: LiveEndpoint
    tried: list[LiveEndpoint]
    broke: list[LiveEndpoint]


class Balancing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.balance = Balance(clock=lambda: self.now)
        self.version = 0
        self.tables: dict[str, list[str]] = {}
        self.in_flight: list[Request] = []
        self.idle: list[tuple[LiveEndpoint, Idle]] = []
        self.now = 0.0
        self.tally = Tally()
        self.told_routes: set[RouteId] = set()
        self.told: dict[tuple[str, str], EndpointStats] = {}  # by changes alone

    @rule(web=REPLICAS, api=st.none() | REPLICAS)
    def apply(self, web: list[str], api: list[str] | None) -> None:
        self.version += 1
        self.tables = {"web": web} | ({} if api is None else {"api": api})
        routes = [
            route(80 + n, *(endpoint(name, 1000 + ord(name)) for name in names), name=f"shop/{service}")
            for n, (service, names) in enumerate(self.tables.items())
        ]
        self.balance.apply(build(RouteTable(version=self.version, routes=tuple(routes))))

    @rule(service=st.sampled_from(["web", "api"]), first=st.floats(0, 0.999), second=st.floats(0, 0.999))
    def ask(self, service: str, first: float, second: float) -> None:
        live = next((r for r in self.balance.routes.values() if r.route.service == service), None)
        if live is None:
            return
        self.choose(live, first, second, [], [])

    def choose(self, live: LiveRoute, first: float, second: float, tried: list[LiveEndpoint], broke: list[LiveEndpoint]) -> None:
        """An endpoint for a request of that route, which may be gone from the table meanwhile."""
        numbers = iter([first, second])
        live.random = lambda: next(numbers)
        names = self.tables.get(live.route.service, []) if self.balance.routes.get(live.route.id) is live else []
        chosen = live.choose(self.now, tried)
        untried = [name for name in names if not any(e.replica_id == name and not e.gone for e in tried)]
        assert (chosen is None) == (not untried)
        if chosen is not None:
            assert chosen.replica_id in untried
            if chosen.ejections:
                live.begin_trial(chosen, self.now)
            chosen.in_flight += 1
            chosen.requests += 1
            if not live.touched:
                live.touch()
            self.in_flight.append(Request(route=live, endpoint=chosen, tried=tried, broke=broke))
        elif broke:
            freed, again = free_again(tried, broke)
            self.choose(live, first, second, freed, again)

    @rule(
        n=st.integers(0, 20), failure=st.none() | st.sampled_from(Failure), delay_s=st.floats(0, 3), first=st.floats(0, 0.999),
        second=st.floats(0, 0.999),
    )  # fmt: skip
    def end(self, n: int, failure: Failure | None, delay_s: float, first: float, second: float) -> None:
        self.now += delay_s
        if not self.in_flight:
            return
        request = self.in_flight.pop(n % len(self.in_flight))
        done, live = request.endpoint, request.route
        done.in_flight -= 1
        if failure is Failure.REFUSED or failure is Failure.BROKEN:
            live.failed(done, failure, self.now)
            broke = [*request.broke, done] if failure is Failure.BROKEN else request.broke
            self.choose(live, first, second, [*request.tried, done], broke)
            return
        if failure is Failure.GATEWAY:
            live.failed(done, failure, self.now)
        else:
            answered_well(done, self.now)
        if not done.gone:
            connection = Idle()
            done.idle.append(connection)
            self.idle.append((done, connection))

    @rule()
    def report(self) -> None:
        self.tally.take(0, self.balance.changes())
        told = self.tally.changes()
        self.told_routes.update(s.route_id for s in told.routes)
        assert self.told_routes >= self.balance.routes.keys()  # also those that nobody asked
        self.told.update({(s.route_id, s.replica_id): s for s in told.endpoints})
        in_flight = {key: stats.in_flight for key, stats in self.told.items()}
        known = merge(Retained(), [self.balance.figures()]).endpoints
        assert {s for s in self.told.values() if s.in_flight} == {s for s in known if s.in_flight}
        assert all(self.told[s.route_id, s.replica_id] == s for s in known)
        for request in self.in_flight:
            assert in_flight[request.endpoint.route_id, request.endpoint.replica_id] >= 1

    @invariant()
    def what_left_has_no_idle_connection(self) -> None:
        for owner, connection in self.idle:
            assert connection.closed == (connection not in owner.idle)
            assert not (owner.gone and owner.idle)

    @invariant()
    def a_request_is_never_left_to_the_ejected_alone(self) -> None:
        for live in self.balance.routes.values():
            assert not live.endpoints or any(e.ejected_until <= self.now for e in live.endpoints)

    @invariant()
    def the_table_is_what_is_served(self) -> None:
        served = {r.route.service: sorted(e.replica_id for e in r.endpoints) for r in self.balance.routes.values()}
        assert served == {service: sorted(names) for service, names in self.tables.items()}


TestBalancing = Balancing.TestCase
TestBalancing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


CHANGES = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=4), st.lists(st.integers(0, 5), max_size=2)),
    max_size=8,
)


@given(CHANGES)
def test_a_change_that_is_named_leads_to_what_the_whole_table_does(
    changes: list[tuple[list[tuple[int, int]], list[int]]],
) -> None:
    """Only the named routes are looked at; all that is served is the same as if every one had been."""
    balance, table = Balance(), build(RouteTable(version=0))
    balance.apply(table)
    for version, (put, removed) in enumerate(changes, start=1):
        made = {
            n: route(80 + n % 2, *(endpoint(f"r{i}", 1000 + i) for i in range(ends)), name=f"a/s{n}", host=f"h{n}")
            for n, ends in put
        }
        removes = [RouteId(route(80 + n % 2, name=f"a/s{n}", host=f"h{n}").id) for n in removed if n not in made]
        table = advance(table, version - 1, version, made.values(), removes)
        balance.apply(table, {r.id for r in made.values()} | set(removes))
        whole = Balance()
        whole.apply(build(RouteTable(version=version, routes=tuple(table.routes.values()))))
        assert {i: [e.name for e in r.endpoints] for i, r in balance.routes.items()} == {
            i: [e.name for e in r.endpoints] for i, r in whole.routes.items()
        }
        assert balance.listeners.keys() == whole.listeners.keys()
        for route_id, live in balance.routes.items():
            found = balance.listeners[live.route.port].find(live.route.host, "/")
            assert found is live, route_id
