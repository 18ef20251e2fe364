"""Every fault is found, at once, with its path."""

import dataclasses
import hashlib
import math

import pytest
from rookery.model import (
    AppSpec,
    Argv,
    BalanceMethod,
    Balancing,
    BindMount,
    CommandProbe,
    ContainerSpec,
    Dependency,
    Device,
    FileContent,
    FileKind,
    FileMount,
    HeaderField,
    HttpProbe,
    HttpRoute,
    HttpRules,
    Placement,
    Port,
    PortMode,
    ProbeTiming,
    Redirect,
    Replicated,
    Resources,
    RestartPolicy,
    RuntimeKind,
    ServiceSpec,
    TmpfsMount,
    Ulimit,
    UpdateConfig,
)
from rookery_manager.planners.ports import foreign_clashes
from rookery_manager.planners.validate import app_faults, find_cycle

BOX = ContainerSpec(image="web:1")
DIGEST = hashlib.sha256(b"x").hexdigest()


def faults(
    *services: ServiceSpec, name: str = "shop", files: tuple[FileContent, ...] = (), others: tuple[str, ...] = ()
) -> list[str]:
    spec = AppSpec(name=name, services=services, files=files)
    return list(app_faults(spec, others=others, stored=()))


def web(**fields: object) -> ServiceSpec:
    return ServiceSpec(**{"name": "web", "container": BOX, **fields})  # type: ignore[arg-type]


def box(**fields: object) -> ServiceSpec:
    return web(container=dataclasses.replace(BOX, **fields))  # type: ignore[arg-type]


def test_a_good_spec_has_none() -> None:
    mount = FileMount(kind=FileKind.SECRET, name="pw", target="/run/secrets/pw", digest=DIGEST)
    content = FileContent(kind=FileKind.SECRET, name="pw", content=b"x", digest=DIGEST)
    good = web(
        container=ContainerSpec(
            image="registry.example:5000/a/web@sha256:0", files=(mount,), mounts=(TmpfsMount(target="/tmp"),)
        ),
        placement=Placement(constraints=("node.labels.zone == a",), preferences=("node.labels.zone",)),
        ports=(Port(target=80, published=8080), Port(target=53, published=8080, mode=PortMode.HOST)),
        routes=(HttpRoute(target=80, host="*.shop.example", path="/api"),),
        depends_on=(Dependency(service="db"), Dependency(service="gone", required=False)),
    )
    assert faults(good, files=(content,), others=("db",)) == []
    assert (
        faults(ServiceSpec(name="p", runtime=RuntimeKind.PROCESS, container=ContainerSpec(command=Argv(args=("sleep", "1")))))
        == []
    )


@pytest.mark.parametrize(
    ("service", "path"),
    [
        (web(name="Web"), "services[0].name"),
        (web(name=""), "services[0].name"),
        (web(name="a/b"), "services[0].name"),
        (web(name="x" * 64), "services[0].name"),
        (web(container=ContainerSpec()), "services.web.container.image"),
        (box(image="a b"), "services.web.container.image"),
        (web(runtime=RuntimeKind.PROCESS), "services.web.container.command"),
        (web(mode=Replicated(replicas=-1)), "services.web.mode.replicas"),
        (web(mode=Replicated(replicas=10_001)), "services.web.mode.replicas"),
        (web(ports=(Port(target=0),)), "services.web.ports[0].target"),
        (web(ports=(Port(target=80), Port(target=80, published=65536))), "services.web.ports[1].published"),
        (web(ports=(Port(target=80, published=-1),)), "services.web.ports[0].published"),
        (web(ports=(Port(target=1, published=80), Port(target=2, published=80))), "services.web.ports[1].published"),
        (web(ports=(Port(target=80, app_protocol="gopher"),)), "services.web.ports[0].app_protocol"),
        (web(expose=(70_000,)), "services.web.expose[0]"),
        (web(routes=(HttpRoute(target=80, path="api"),)), "services.web.routes[0].path"),
        (web(routes=(HttpRoute(target=80, host="a b"),)), "services.web.routes[0].host"),
        (web(routes=(HttpRoute(target=80, host="a.example.org", acme=True),)), "services.web.routes[0].acme"),
        (web(routes=(HttpRoute(target=80, host="*.example.org", tls=True, acme=True),)), "services.web.routes[0].acme"),
        (web(routes=(HttpRoute(target=80, tls=True, acme=True),)), "services.web.routes[0].acme"),
        (web(placement=Placement(constraints=("node.role",))), "services.web.placement.constraints[0]"),
        (web(placement=Placement(preferences=("zone",))), "services.web.placement.preferences[0]"),
        (web(depends_on=(Dependency(service="db"),)), "services.web.depends_on[0]"),
        (web(depends_on=(Dependency(service="web"),)), "services.web.depends_on"),
        (web(drain_timeout_s=-1.0), "services.web.drain_timeout_s"),
        (web(drain_timeout_s=math.nan), "services.web.drain_timeout_s"),
        (web(restart=RestartPolicy(delay_s=math.inf)), "services.web.restart.delay_s"),
        (web(restart=RestartPolicy(window_s=1e300)), "services.web.restart.window_s"),
        (web(update=UpdateConfig(max_failure_ratio=1.5)), "services.web.update.max_failure_ratio"),
        (web(update=UpdateConfig(parallelism=-1)), "services.web.update.parallelism"),
        (web(limits=Resources(cpus=-0.5)), "services.web.limits.cpus"),
        (web(limits=Resources(memory_bytes=1), reservations=Resources(memory_bytes=2)), "services.web.reservations.memory_bytes"),
        (web(probe=HttpProbe(port=0)), "services.web.probe.port"),
        (web(probe=HttpProbe(port=80, status_min=300, status_max=200)), "services.web.probe.status_min"),
        (web(probe=CommandProbe(args=())), "services.web.probe.args"),
        (web(probe=HttpProbe(port=80, timing=ProbeTiming(interval_s=0.0))), "services.web.probe.timing.interval_s"),
        (web(probe=HttpProbe(port=80, timing=ProbeTiming(retries=0))), "services.web.probe.timing.retries"),
        (box(environment={"A=B": "1"}), "services.web.container.environment"),
        (box(environment={"A": "a\0b"}), "services.web.container.environment.A"),
        (box(user="x" * 200_000), "services.web.container.user"),
        (box(mounts=(BindMount(source="data", target="/data"),)), "services.web.container.mounts[0].source"),
        (box(mounts=(TmpfsMount(target="tmp"),)), "services.web.container.mounts[0].target"),
        (box(mounts=(TmpfsMount(target="/a"), TmpfsMount(target="/a"))), "services.web.container.mounts[1].target"),
        (box(network_mode="service:db"), "services.web.container.network_mode"),
        (box(stop_signal="rm -rf"), "services.web.container.stop_signal"),
        (box(stop_grace_period_s=-1.0), "services.web.container.stop_grace_period_s"),
        (box(working_dir="app"), "services.web.container.working_dir"),
        (
            box(devices=(Device(source="/dev/a", target="/dev/a", permissions="x"),)),
            "services.web.container.devices[0].permissions",
        ),
        (box(ulimits=(Ulimit(name="nofile", soft=9, hard=1),)), "services.web.container.ulimits[0]"),
        (box(extra_hosts=("db",)), "services.web.container.extra_hosts[0]"),
        (box(oom_score_adj=2000), "services.web.container.oom_score_adj"),
        (
            box(files=(FileMount(kind=FileKind.SECRET, name="pw", target="/pw", digest=DIGEST),)),
            "services.web.container.files[0]",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_is_named_by_its_path(service: ServiceSpec, path: str) -> None:
    assert [fault.partition(": ")[0] for fault in faults(service)] == [path]


def test_all_faults_at_once() -> None:
    found = faults(web(container=ContainerSpec(), ports=(Port(target=0),)), web(), name="")
    assert [fault.partition(": ")[0] for fault in found] == [
        "name",
        "services.web",
        "services.web.container.image",
        "services.web.ports[0].target",
    ]


@pytest.mark.parametrize(
    ("content", "digest", "name", "path"),
    [
        (b"y", DIGEST, "pw", "files[0].digest"),
        (b"x", "", "pw", "files[0].digest"),
        (b"x" * 1_100_000, DIGEST, "pw", "files[0].content"),
        (b"x", DIGEST, "../pw", "files[0].name"),
    ],
)
def test_contents_are_what_they_say(content: bytes, digest: str, name: str, path: str) -> None:
    file = FileContent(kind=FileKind.SECRET, name=name, content=content, digest=digest)
    assert [fault.partition(": ")[0] for fault in faults(files=(file,))] == [path]


def test_a_circle_of_dependencies_is_shown_whole() -> None:
    a, b = (web(name=name, depends_on=(Dependency(service=other),)) for name, other in (("a", "b"), ("b", "a")))
    assert faults(a, b) == ["services.a.depends_on: goes round in a circle: a -> b -> a"]


def test_long_chains_are_no_circle() -> None:
    chain = {str(n): [str(n + 1)] for n in range(2_000)} | {"2000": []}
    assert find_cycle(chain) == []
    assert find_cycle({**chain, "2000": ["1990"]})[0] == "1990"


@pytest.mark.parametrize(
    ("mine", "theirs", "clash"),
    [
        (web(ports=(Port(target=1, published=80),)), web(ports=(Port(target=2, published=80),)), True),
        (
            web(ports=(Port(target=1, published=80, app_protocol="http"),)),
            web(routes=(HttpRoute(target=1, host="a.example"),)),
            False,
        ),
        (web(ports=(Port(target=1, published=80),)), web(routes=(HttpRoute(target=1, host="a.example"),)), True),
        (web(routes=(HttpRoute(target=1, host="A.example"),)), web(routes=(HttpRoute(target=1, host="a.example"),)), True),
        (web(routes=(HttpRoute(target=1, path="/a"),)), web(routes=(HttpRoute(target=1, path="/b"),)), False),
        (web(ports=(Port(target=1, published=80, mode=PortMode.HOST),)), web(ports=(Port(target=1, published=80),)), False),
        (web(ports=(Port(target=1),)), web(ports=(Port(target=1),)), False),
    ],
)
def test_ports_of_other_apps(mine: ServiceSpec, theirs: ServiceSpec, clash: bool) -> None:
    found = list(foreign_clashes(AppSpec(name="new", services=(mine,)), [("shop/web", theirs)]))
    assert bool(found) is clash
    assert all("is taken by shop/web" in fault for fault in found)


RULED = [
    HttpRoute(target=80, rules=HttpRules(methods=("GET",))),
    HttpRoute(target=80, rules=HttpRules(methods=("POST",))),
    HttpRoute(target=80, rules=HttpRules(headers=(HeaderField(name="X-A", value="a"),))),
]


def test_routes_that_ask_for_different_requests_share_a_host_and_path() -> None:
    assert faults(web(routes=tuple(RULED)), web(name="b", routes=(HttpRoute(target=80),))) == []
    same = HttpRoute(target=80, rules=HttpRules(methods=("GET", "PUT")))
    assert faults(web(routes=tuple(RULED)), web(name="b", routes=(same,))) == [
        "services.b.routes[0].published: port 80/tcp for / with GET,PUT is taken by services.web.routes[0].published already"
    ]
    other = AppSpec(name="new", services=(web(name="b", routes=(same,)),))
    assert list(foreign_clashes(other, [("shop/web", web(routes=tuple(RULED)))])) == [
        "services.b.routes[0].published: port 80/tcp for / with GET,PUT is taken by shop/web (routes[0]); publish another one"
    ]


def test_rules_are_checked_with_their_place() -> None:
    route = HttpRoute(target=80, path="/a", strip_path=True, rules=HttpRules(rewrite="/b", allow_from=("x",)))
    assert faults(web(routes=(route,))) == [
        "services.web.routes[0].rules.allow_from: 'x' is no network such as 10.0.0.0/8, and no address",
        "services.web.routes[0].rules.rewrite: it and strip_path both say what becomes of the path; leave one of them out",
    ]
    away = HttpRoute(target=0, rules=HttpRules(redirect=Redirect(scheme="https")))
    assert faults(web(routes=(away,))) == []
    assert faults(web(routes=(dataclasses.replace(away, target=80),))) == [
        "services.web.routes[0].target: has no meaning where requests are redirected: they reach no replica"
    ]


@pytest.mark.parametrize(
    ("balancing", "fault"),
    [
        (Balancing(hash_header="X"), "hash_header: has no meaning for the method two-choices; use hash"),
        (Balancing(method=BalanceMethod.HASH, hash_header="a b"), "hash_header: 'a b' is no name of a header"),
        (Balancing(method=BalanceMethod.HASH, hash_header="a", hash_cookie="b"), "hash_cookie: it and hash_header both say"),
        (Balancing(weight="node.role"), "weight: node.role: nodes have no roles"),
        (Balancing(prefer="zone"), "prefer: zone: no property of a node"),
        (Balancing(slow_start_s=4000.0), "slow_start_s: 4000 s are too many"),
        (Balancing(max_in_flight=-1), "max_in_flight: -1 is negative"),
        (Balancing(queue_s=1.0, queue_most=1), "queue_most: has no meaning without max_in_flight"),
        (Balancing(max_in_flight=1, queue_most=1), "queue_s: 0 is not more than 0 and at most 3600"),
    ],
)
def test_balancing_that_can_not_be_is_named(balancing: Balancing, fault: str) -> None:
    (found,) = faults(web(balancing=balancing))
    assert found.startswith(f"services.web.balancing.{fault}")


def test_balancing_that_can_be_is_taken() -> None:
    everything = Balancing(
        method=BalanceMethod.HASH, hash_cookie="user", weight="node.labels.power", prefer="node.hostname", slow_start_s=30.0,
        max_in_flight=100, queue_s=5.0, queue_most=1000,
    )  # fmt: skip
    assert faults(web(balancing=everything)) == []


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"ports": (Port(target=80, published=80),)}, ""),
        ({"ports": (Port(target=80, published=80, app_protocol="http"),)}, "is for TCP"),
        ({"routes": (HttpRoute(target=80),)}, "is for TCP"),
        ({"ports": (Port(target=80, published=80, mode=PortMode.HOST),)}, "no connection passes the proxies"),
    ],
)
def test_a_proxy_header_is_for_tcp_through_the_proxies(fields: dict[str, object], fault: str) -> None:
    found = faults(web(proxy_protocol=2, **fields))
    assert [f"services.web.proxy_protocol: {fault}" in text for text in found] == ([True] if fault else [])


def test_http2_is_a_port_of_its_own_and_passes_calls_on_as_they_are() -> None:
    call = HttpRoute(target=80, host="a.example", http2=True)
    assert faults(web(routes=(call, dataclasses.replace(call, rules=HttpRules(methods=("POST",)))))) == []
    rewritten = dataclasses.replace(call, rules=HttpRules(rewrite="/x"))
    (fault,) = faults(web(routes=(rewritten,)))
    assert fault.startswith("services.web.routes[0].http2: calls are passed on as they are")
    (mixed,) = faults(web(routes=(call,)), web(name="b", routes=(HttpRoute(target=80, host="b.example"),)))
    assert "port 80 is wanted without HTTP/2 here, and is taken with it by services.web.routes[0].published" in mixed
    grpc = Port(target=80, published=80, app_protocol="http2")
    assert faults(web(ports=(grpc,)), web(name="b", routes=(call,))) == []
    assert len(faults(web(ports=(grpc,)), web(name="b", ports=(dataclasses.replace(grpc, app_protocol="http"),)))) == 1


def test_a_port_is_with_tls_or_without() -> None:
    plain = HttpRoute(target=80, host="a.example", published=443)
    secure = HttpRoute(target=80, host="b.example", published=443, tls=True)
    assert faults(web(routes=(plain,)), web(name="b", routes=(secure,))) == [
        "services.b.routes[0].published: port 443 is wanted with TLS here, and is taken without it by "
        "services.web.routes[0].published already"
    ]
    other = AppSpec(name="new", services=(web(name="b", routes=(plain,)),))
    assert list(foreign_clashes(other, [("shop/web", web(routes=(secure,)))])) == [
        "services.b.routes[0].published: port 443 is wanted without TLS here, and is taken with it by shop/web (routes[0]); "
        "publish another one"
    ]
