"""Random tables, requests and ends of requests: whatever happens, the balance holds to the table in force."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from proxy_rig import endpoint, route
from rookery.model import RouteTable
from rookery_proxy.balance import Balance, LiveEndpoint
from rookery_proxy.table import build

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


class Balancing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.balance = Balance()
        self.version = 0
        self.tables: dict[str, list[str]] = {}
        self.in_flight: list[LiveEndpoint] = []
        self.idle: list[tuple[LiveEndpoint, Idle]] = []
        self.now = 0.0

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
        numbers = iter([first, second])
        live.random = lambda: next(numbers)
        chosen = live.choose(self.now)
        names = self.tables[service]
        assert (chosen is None) == (not names)
        if chosen is not None:
            assert chosen.replica_id in names
            chosen.in_flight += 1
            self.in_flight.append(chosen)

    @rule(n=st.integers(0, 20), failed=st.booleans(), delay_s=st.floats(0, 3))
    def end(self, n: int, failed: bool, delay_s: float) -> None:
        self.now += delay_s
        if not self.in_flight:
            return
        done = self.in_flight.pop(n % len(self.in_flight))
        done.in_flight -= 1
        live = self.balance.routes.get(done.route_id)
        if failed and live is not None and not done.gone:
            live.connect_failed(done, self.now)
        elif not done.gone:
            connection = Idle()
            done.idle.append(connection)
            self.idle.append((done, connection))

    @rule()
    def report(self) -> None:
        told = {(s.route_id, s.replica_id): s.in_flight for s in self.balance.endpoint_stats()}
        for busy in self.in_flight:
            assert told[busy.route_id, busy.replica_id] >= 1

    @invariant()
    def what_left_has_no_idle_connection(self) -> None:
        for owner, connection in self.idle:
            assert connection.closed == (connection not in owner.idle)
            assert not (owner.gone and owner.idle)

    @invariant()
    def the_table_is_what_is_served(self) -> None:
        served = {r.route.service: sorted(e.replica_id for e in r.endpoints) for r in self.balance.routes.values()}
        assert served == {service: sorted(names) for service, names in self.tables.items()}


TestBalancing = Balancing.TestCase
TestBalancing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
