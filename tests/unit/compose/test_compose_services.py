"""What the keys of a service become in the model."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rookery.compose import load
from rookery.compose.loader import Loaded
from rookery.model import (
    Argv,
    BindMount,
    CommandProbe,
    ContainerSpec,
    Dependency,
    DependencyCondition,
    FileKind,
    FileMount,
    Global,
    GlobalJob,
    HttpProbe,
    HttpRoute,
    ImageProbe,
    NetworkAttachment,
    NoProbe,
    OnDisconnect,
    Port,
    PortMode,
    PortProtocol,
    ProbeTiming,
    PullPolicy,
    Replicated,
    ReplicatedJob,
    Resources,
    RestartCondition,
    RestartPolicy,
    RuntimeKind,
    ServiceSpec,
    TcpProbe,
    TmpfsMount,
    UpdateConfig,
    UpdateOrder,
    VolumeMount,
)

Load = Callable[..., Loaded]
Service = Callable[..., ServiceSpec]

UDP, HOST = PortProtocol.UDP, PortMode.HOST


def test_a_service_that_says_only_its_image(service: Service) -> None:
    default = NetworkAttachment(network="shop_default", aliases=("web",))
    assert service("") == ServiceSpec(
        name="web",
        container=ContainerSpec(image="i", networks=(default,)),
        rollback=UpdateConfig(failure_action=service("").rollback.failure_action),
    )
    assert service("").rollback.failure_action == "pause"


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("80", [Port(target=80)]),
        ("'80'", [Port(target=80)]),
        ("8080:80", [Port(target=80, published=8080)]),
        ("22:22", [Port(target=22, published=22)]),
        ("'53:53/udp'", [Port(target=53, published=53, protocol=UDP)]),
        ("'80-81'", [Port(target=80), Port(target=81)]),
        ("'90-91:80-81'", [Port(target=80, published=90), Port(target=81, published=91)]),
        ("'0.0.0.0:8080:80'", [Port(target=80, published=8080)]),
        ("'[::]:8080:80'", [Port(target=80, published=8080)]),
        ("'0.0.0.0::80'", [Port(target=80)]),
        ("{target: 80}", [Port(target=80)]),
        ("{target: '80', published: '8080', protocol: tcp, mode: ingress}", [Port(target=80, published=8080)]),
        (
            "{target: 80, published: 8080, mode: host, host_ip: 127.0.0.1}",
            [Port(target=80, published=8080, mode=HOST, host_ip="127.0.0.1")],
        ),
        ("{target: 80, app_protocol: http}", [Port(target=80, app_protocol="http")]),
        ("{target: 80, app_protocol: mysql}", [Port(target=80, app_protocol="tcp")]),
    ],
)
def test_ports(service: Service, written: str, ports: list[Port]) -> None:
    assert list(service(f"ports: [{written}]").ports) == ports


def test_expose(service: Service) -> None:
    assert service("expose: [80, '90-92', 100/tcp]").expose == (80, 90, 91, 92, 100)


@pytest.mark.parametrize(
    ("written", "mount"),
    [
        ("/anonymous", VolumeMount(volume="", target="/anonymous")),
        ("data:/d", VolumeMount(volume="shop_data", target="/d")),
        ("data:/d:ro,nocopy", VolumeMount(volume="shop_data", target="/d", read_only=True, no_copy=True)),
        ("named:/d", VolumeMount(volume="exactly", target="/d", driver="nfs", driver_opts={"o": "1"}, labels={"a": "b"})),
        ("outside:/d", VolumeMount(volume="outside", target="/d", external=True)),
        ("old:/d", VolumeMount(volume="older", target="/d", external=True)),
        ("/a:/b", BindMount(source="/a", target="/b")),
        ("/a/../c:/b:ro,rslave", BindMount(source="/c", target="/b", read_only=True, propagation="rslave")),
        (
            "{type: volume, source: data, target: /d, volume: {subpath: x}}",
            VolumeMount(volume="shop_data", target="/d", subpath="x"),
        ),
        ("{type: volume, target: /d}", VolumeMount(volume="", target="/d")),
        (
            "{type: bind, source: /a, target: /b, bind: {create_host_path: false}}",
            BindMount(source="/a", target="/b", create_host_path=False),
        ),
        ("{type: tmpfs, target: /t, tmpfs: {size: 1gb, mode: 0700}}", TmpfsMount(target="/t", size_bytes=1024**3, mode=0o700)),
    ],
)
def test_volumes(service: Service, written: str, mount: object) -> None:
    rest = """
volumes:
  data:
  named: {name: exactly, driver: nfs, driver_opts: {o: 1}, labels: [a=b]}
  outside: {external: true}
  old: {external: {name: older}}
"""
    assert service(
        f"volumes: [{written!r}]" if not written.startswith("{") else f"volumes: [{written}]", rest
    ).container.mounts == (mount,)


def test_networks(service: Service) -> None:
    rest = """
networks:
  default: {driver: bridge, labels: {a: b}}
  front: {internal: true, driver: macvlan, driver_opts: {parent: eth0}}
  outside: {external: true, name: corp}
  plain:
"""
    assert service("networks: [old]", "networks: {old: {external: true}}\n").container.networks[0].network == "old"
    keys = "networks: {default: , front: {aliases: [www]}, outside: {ipv4_address: 10.0.0.9, ipv6_address: 'fd00::9'}, plain: {}}"
    assert service(keys, rest).container.networks == (
        NetworkAttachment(network="shop_default", aliases=("web",), labels={"a": "b"}),
        NetworkAttachment(
            network="shop_front", aliases=("web", "www"), driver="macvlan", driver_opts={"parent": "eth0"}, internal=True
        ),
        NetworkAttachment(network="corp", aliases=("web",), external=True, ipv4_address="10.0.0.9", ipv6_address="fd00::9"),
        NetworkAttachment(network="shop_plain", aliases=("web",)),
    )
    assert service("", rest).container.networks == (
        NetworkAttachment(network="shop_default", aliases=("web",), labels={"a": "b"}),
    )


@pytest.mark.parametrize(
    ("mode", "expected", "networks"), [("host", "host", 0), ("none", "none", 0), ("bridge", "", 1), ("default", "", 1)]
)
def test_network_modes(service: Service, mode: str, expected: str, networks: int) -> None:
    container = service(f"network_mode: {mode}").container
    assert (container.network_mode, len(container.networks)) == (expected, networks)


@pytest.mark.parametrize(
    ("keys", "probe"),
    [
        ("", ImageProbe()),
        ("healthcheck: {}", ImageProbe()),
        ("healthcheck: {interval: 10s, retries: 5}", ImageProbe(timing=ProbeTiming(interval_s=10.0, retries=5))),
        ("healthcheck: {disable: true}", NoProbe()),
        ("healthcheck: {disable: true, test: [CMD, a]}", NoProbe()),
        ("healthcheck: {test: [NONE]}", NoProbe()),
        ("healthcheck: {test: [CMD, a, 'b c']}", CommandProbe(args=("a", "b c"))),
        ("healthcheck: {test: [CMD-SHELL, 'a || b']}", CommandProbe(args=("/bin/sh", "-c", "a || b"))),
        ("healthcheck: {test: a || b}", CommandProbe(args=("/bin/sh", "-c", "a || b"))),
        (
            "healthcheck: {test: [CMD, a], interval: 1m30s, timeout: 1.5s, retries: 1, start_period: 1h, start_interval: 250ms}",
            CommandProbe(
                args=("a",),
                timing=ProbeTiming(interval_s=90.0, timeout_s=1.5, retries=1, start_period_s=3600.0, start_interval_s=0.25),
            ),
        ),
        ("healthcheck: {test: [CMD, a], interval: 0s}", CommandProbe(args=("a",))),
        (
            "healthcheck: {test: [CMD, a], interval: 500ms}",
            CommandProbe(args=("a",), timing=ProbeTiming(interval_s=0.5, start_interval_s=0.5)),
        ),
        ("ports: [8080]\nx-rookery: {health: {http: {}}}", HttpProbe(port=8080)),
        (
            "x-rookery: {health: {http: {port: 1, path: /h, status: 204}}}",
            HttpProbe(port=1, path="/h", status_min=204, status_max=204),
        ),
        (
            "x-rookery: {health: {http: {port: 1, status: 200-204}, retries: 2}}",
            HttpProbe(port=1, status_min=200, status_max=204, timing=ProbeTiming(retries=2)),
        ),
        ("healthcheck: {test: a}\nx-rookery: {health: {tcp: {port: 1}}}", TcpProbe(port=1)),
        ("expose: [1]\nx-rookery: {health: {tcp: {}}}", TcpProbe(port=1)),
    ],
)
def test_probes(service: Service, keys: str, probe: object) -> None:
    assert service(keys).probe == probe


@pytest.mark.parametrize(
    ("keys", "mode"),
    [
        ("", Replicated(replicas=1)),
        ("scale: 0", Replicated(replicas=0)),
        ("scale: 3", Replicated(replicas=3)),
        ("scale: 3\ndeploy: {replicas: 3}", Replicated(replicas=3)),
        ("deploy: {mode: replicated, replicas: '4'}", Replicated(replicas=4)),
        ("deploy: {mode: global}", Global()),
        ("deploy: {mode: replicated-job, replicas: 2}", ReplicatedJob(replicas=2)),
        ("deploy: {mode: global-job}", GlobalJob()),
    ],
)
def test_modes(service: Service, keys: str, mode: object) -> None:
    assert service(keys).mode == mode


@pytest.mark.parametrize(
    ("keys", "policy"),
    [
        ("", RestartPolicy()),
        ("restart: always", RestartPolicy()),
        ("restart: unless-stopped", RestartPolicy()),
        ("restart: no", RestartPolicy(condition=RestartCondition.NONE)),
        ("restart: 'no'", RestartPolicy(condition=RestartCondition.NONE)),
        ("restart: on-failure", RestartPolicy(condition=RestartCondition.ON_FAILURE)),
        ("restart: on-failure:4", RestartPolicy(condition=RestartCondition.ON_FAILURE, max_attempts=4)),
        ("restart: always\ndeploy: {restart_policy: {condition: none}}", RestartPolicy(condition=RestartCondition.NONE)),
        ("deploy: {restart_policy: {delay: 0s, max_attempts: 2, window: 1m}}", RestartPolicy(delay_s=0.0, max_attempts=2)),
        ("deploy: {mode: global-job}", RestartPolicy(condition=RestartCondition.ON_FAILURE)),
    ],
)
def test_restarts(service: Service, keys: str, policy: RestartPolicy) -> None:
    assert service(keys).restart == policy


@pytest.mark.parametrize(
    ("keys", "reserved", "limits"),
    [
        ("cpus: 1.5\nmem_limit: 1.5g\npids_limit: -1", Resources(), Resources(cpus=1.5, memory_bytes=3 * 1024**3 // 2, pids=-1)),
        ("cpu_count: 2\nmem_reservation: 10kb", Resources(memory_bytes=10240), Resources(cpus=2.0)),
        ("cpu_quota: 50000", Resources(), Resources(cpus=0.5)),
        ("cpu_quota: 50000\ncpu_period: 25000", Resources(), Resources(cpus=2.0)),
        (
            "mem_limit: 1048576\ndeploy: {resources: {limits: {memory: 1m, pids: 7}}}",
            Resources(),
            Resources(memory_bytes=1024**2, pids=7),
        ),
        ("deploy: {resources: {reservations: {cpus: 0.25, memory: 512b}}}", Resources(cpus=0.25, memory_bytes=512), Resources()),
    ],
)
def test_resources(service: Service, keys: str, reserved: Resources, limits: Resources) -> None:
    spec = service(keys)
    assert (spec.reservations, spec.limits) == (reserved, limits)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("command: echo 'a b' $$HOME", Argv(args=("echo", "a b", "$HOME"))),
        ("command: [echo, 'a b', 3]", Argv(args=("echo", "a b", "3"))),
        ("command: []", Argv()),
        ("command: ''", Argv()),
        ("command:", None),
        ("user: u", None),
    ],
)
def test_commands(service: Service, keys: str, expected: Argv | None) -> None:
    assert service(keys).container.command == expected


def test_what_the_engine_is_told(service: Service) -> None:
    keys = """
domainname: example.org
hostname: h
cap_add: [NET_ADMIN]
dns_opt: [ndots:1]
dns_search: example.org
group_add: [docker, 999]
ipc: shareable
pid: private
userns_mode: host
platform: linux/arm64
pull_policy: if_not_present
privileged: "true"
oom_score_adj: -500
cgroup_parent: /c
shm_size: 64000
stdin_open: yes
tty: on
stop_signal: sigint
extra_hosts: {db: 10.0.0.1, many: [10.0.0.2, 10.0.0.3], six: "[::1]"}
sysctls: [net.ipv4.ip_forward=1]
security_opt: [label:disable]
logging: {driver: none}
"""
    container = service(keys).container
    assert container.dns_opt == ("ndots:1",)
    assert container.dns_search == ("example.org",)
    assert container.group_add == ("docker", "999")
    assert (container.ipc, container.pid, container.userns_mode) == ("shareable", "", "host")
    assert (container.platform, container.pull_policy) == ("linux/arm64", PullPolicy.MISSING)
    assert (container.privileged, container.stdin_open, container.tty) == (True, True, True)
    assert (container.oom_score_adj, container.cgroup_parent, container.shm_size_bytes) == (-500, "/c", 64000)
    assert container.stop_signal == "SIGINT"
    assert container.extra_hosts == ("db:10.0.0.1", "many:10.0.0.2", "many:10.0.0.3", "six:::1")
    assert container.sysctls == {"net.ipv4.ip_forward": "1"}
    assert container.security_opt == ("label=disable",)


def test_a_seccomp_profile_is_sent_by_content(service: Service, directory: object) -> None:  # noqa: ARG001 (written there)
    with open("profile.json", "w") as file:
        file.write('{"defaultAction": "SCMP_ACT_ALLOW"}\n')
    options = service("security_opt: ['seccomp:profile.json', 'seccomp=unconfined']").container.security_opt
    assert options == ('seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "seccomp=unconfined")


def test_labels_of_the_container_and_of_the_service(service: Service, directory: object) -> None:  # noqa: ARG001 (written there)
    with open("a.labels", "w") as file:
        file.write("a=file\nb=file\n")
    spec = service("labels: [a=1, c]\nlabel_file: a.labels\ndeploy: {labels: {d: 2}}")
    assert (spec.container.labels, spec.labels) == ({"a": "1", "b": "file", "c": ""}, {"d": "2"})


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        ("ports: ['80:80']", UpdateOrder.START_FIRST),
        ("ports: [{target: 80, published: 80, mode: host}]", UpdateOrder.STOP_FIRST),
        ("ports: [{target: 80, mode: host}]", UpdateOrder.START_FIRST),
        ("deploy: {update_config: {order: stop-first}}", UpdateOrder.STOP_FIRST),
    ],
)
def test_the_order_of_updates(service: Service, keys: str, order: UpdateOrder) -> None:
    assert service(keys).update.order is order


def test_http_routes(service: Service) -> None:
    keys = """
expose: [3000]
x-rookery:
  http:
    - {host: Shop.Example, path: /api, strip_path: true}
    - {host: '*.example.org', port: 81, published: 8443}
"""
    assert service(keys).routes == (
        HttpRoute(target=3000, host="shop.example", path="/api", strip_path=True),
        HttpRoute(target=81, host="*.example.org", published=8443),
    )
    assert service("x-rookery: {http: {port: 80, path: /}}").routes == (HttpRoute(target=80),)


def test_the_rest_of_x_rookery(service: Service) -> None:
    spec = service("x-rookery: {drain_timeout: 1m, on_disconnect: stop, rebalance: off}")
    assert (spec.drain_timeout_s, spec.on_disconnect, spec.on_disconnect_after_s, spec.rebalance) == (
        60.0,
        OnDisconnect.STOP,
        0.0,
        False,
    )
    spec = service("x-rookery: {on_disconnect: {action: keep}, rebalance: on, runtime: docker}")
    assert (spec.on_disconnect, spec.rebalance, spec.runtime) == (OnDisconnect.KEEP, True, RuntimeKind.DOCKER)


def test_a_process_needs_no_image(loaded: Load) -> None:
    text = (
        "services:\n  web:\n    command: ./serve\n    working_dir: /srv\n    volumes: [/x]\n    x-rookery: {runtime: process}\n"
    )
    found = loaded(text)
    (spec,) = found.app.services
    assert (spec.runtime, spec.container.image, spec.container.networks) == (RuntimeKind.PROCESS, "", ())
    assert [str(warning) for warning in found.warnings] == [
        "compose.yml:5: services.web.volumes: has no effect: a process of `runtime: process` has no container"
    ]


def test_a_service_that_another_waits_for_is_a_job(loaded: Load) -> None:
    text = """
services:
  web: {image: i, depends_on: {migrate: {condition: service_completed_successfully, restart: true, required: true}}}
  migrate: {image: i}
  other: {image: i, depends_on: {once: {condition: service_completed_successfully}}}
  once: {image: i, restart: on-failure}
"""
    specs = {spec.name: spec for spec in loaded(text).app.services}
    assert specs["web"].depends_on == (
        Dependency(service="migrate", condition=DependencyCondition.SERVICE_COMPLETED_SUCCESSFULLY, restart=True),
    )
    assert (specs["migrate"].mode, specs["migrate"].restart.condition) == (ReplicatedJob(replicas=1), RestartCondition.ON_FAILURE)
    assert specs["once"].mode == Replicated(replicas=1)


def test_http_services_share_a_port_by_host_and_path(loaded: Load) -> None:
    text = """
services:
  a: {image: i, ports: [{target: 80, published: 80, app_protocol: http}]}
  b: {image: i, x-rookery: {http: {port: 80, host: b.example}}}
  c: {image: i, x-rookery: {http: {port: 80, path: /c}}}
  d: {image: i, ports: ['80:80/udp', {target: 80, published: 80, mode: host}]}
  e: {image: i, ports: [{target: 80, published: 80, mode: host}]}
"""
    assert len(loaded(text).app.services) == 5


def test_content_used_twice_is_sent_once(loaded: Load) -> None:
    text = "services: {a: {image: i, configs: [c]}, b: {image: i, configs: [c]}}\nconfigs: {c: {content: x}, unused: {file: no}}"
    found = loaded(text)
    assert [file.name for file in found.app.files] == ["c"]
    assert {spec.container.files[0].digest for spec in found.app.services} == {found.app.files[0].digest}


def test_what_is_external_is_named_and_not_read(loaded: Load) -> None:
    text = """
services: {a: {image: i, secrets: [one, {source: two, target: t, mode: 0400}], configs: [three]}}
secrets: {one: {external: true}, two: {external: {name: own}}}
configs: {three: {external: true, name: other}}
"""
    found = loaded(text)
    assert found.app.files == ()
    assert found.app.services[0].container.files == (
        FileMount(kind=FileKind.SECRET, name="one", target="/run/secrets/one", source="one"),
        FileMount(kind=FileKind.SECRET, name="two", target="/run/secrets/t", mode=0o400, source="own"),
        FileMount(kind=FileKind.CONFIG, name="three", target="/three", source="other"),
    )


def test_a_name_counts_with_external_only(loaded: Load) -> None:
    found = loaded("services: {a: {image: i, configs: [c]}}\nconfigs: {c: {content: x, name: n}}")
    assert ["has no effect without `external: true`" in str(warning) for warning in found.warnings] == [True]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"services:\n  web: {image: i, volumes: ['./a:/a']}\n")))
    found = load([Path("-")], env={})
    assert found.app.services[0].container.mounts == (BindMount(source=str(tmp_path / "a"), target="/a"),)
    assert found.warnings[0].file == "standard input"


def test_who_may_reach_what_it_publishes(service: Service) -> None:
    assert service("ports: ['80:80']\nx-rookery: {allow: ['*', blog, blog/web, blog]}").allow == ("*", "blog", "blog/web")
    assert service("ports: ['80:80']\nx-rookery: {allow: blog}").allow == ("blog",)
