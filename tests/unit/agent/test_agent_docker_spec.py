"""Every field of a ContainerSpec has its place in the engine's create call; inspect gives an instance back."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rookery.model import (
    Argv,
    Assignment,
    BindMount,
    CommandProbe,
    ContainerSpec,
    Device,
    Endpoint,
    FileKind,
    FileMount,
    HttpProbe,
    HttpRoute,
    ImageProbe,
    LogConfig,
    NetworkAttachment,
    NodeId,
    NoProbe,
    Port,
    PortMode,
    PortProtocol,
    PullPolicy,
    ReplicaId,
    Resources,
    ServiceSpec,
    TmpfsMount,
    Ulimit,
    VolumeMount,
)
from rookery_agent.runtime.docker_spec import create_body, instance, instant, networks
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.protocol import InstanceState, RuntimeFailure

PLACE = Place(node_id=NodeId("n1"), hostname="host1", address="10.0.0.1")
INSIDE = Place(node_id=NodeId("n1"), hostname="host1", address="10.0.0.1", network="demo")
DEFAULT = NetworkAttachment(network="shop_default", aliases=("web",))


def assigned(container: ContainerSpec | None = None, **spec: Any) -> Assignment:
    made = ServiceSpec(name="web", container=container or ContainerSpec(image="web:1"), **spec)
    return Assignment(replica_id=ReplicaId("0123456789ab"), app="shop", service="web", slot=3, revision=2, spec=made)


def at(body: Any, path: str) -> Any:
    """The value under `HostConfig.Memory`; None where there is none."""
    for key in path.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return body


FIELDS: dict[str, list[tuple[Any, str, Any]]] = {
    "image": [("web:2", "Image", "web:2")],
    "entrypoint": [
        (Argv(args=("/init", "-x")), "Entrypoint", ["/init", "-x"]),
        (Argv(), "Entrypoint", [""]),
        (None, "Entrypoint", None),
    ],
    "command": [(Argv(args=("run",)), "Cmd", ["run"]), (Argv(), "Cmd", []), (None, "Cmd", None)],
    "working_dir": [("/srv", "WorkingDir", "/srv")],
    "user": [("10:20", "User", "10:20")],
    "hostname": [("h", "Hostname", "h")],
    "domainname": [("d", "Domainname", "d")],
    "cap_add": [(("NET_ADMIN",), "HostConfig.CapAdd", ["NET_ADMIN"])],
    "cap_drop": [
        (("ALL",), "HostConfig.CapDrop", ["ALL"]),
        (("CHOWN", "cap_net_raw"), "HostConfig.CapDrop", ["CHOWN", "cap_net_raw", "AUDIT_WRITE", "MKNOD", "SETFCAP"]),
    ],
    "devices": [
        (
            (Device(source="/dev/a", target="/dev/b", permissions="r"),),
            "HostConfig.Devices",
            [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}],
        )
    ],
    "ulimits": [((Ulimit(name="nofile", soft=1, hard=2),), "HostConfig.Ulimits", [{"Name": "nofile", "Soft": 1, "Hard": 2}])],
    "sysctls": [({"net.core.somaxconn": "1"}, "HostConfig.Sysctls", {"net.core.somaxconn": "1"})],
    "extra_hosts": [(("db:10.0.0.9",), "HostConfig.ExtraHosts", ["db:10.0.0.9"])],
    "dns": [(("1.1.1.1",), "HostConfig.Dns", ["1.1.1.1"])],
    "dns_search": [(("lan",), "HostConfig.DnsSearch", ["lan"])],
    "dns_opt": [(("ndots:2",), "HostConfig.DnsOptions", ["ndots:2"])],
    "logging": [
        (
            LogConfig(driver="local", options={"max-size": "1m"}),
            "HostConfig.LogConfig",
            {"Type": "local", "Config": {"max-size": "1m"}},
        ),
        (None, "HostConfig.LogConfig", None),
    ],
    "init": [(True, "HostConfig.Init", True)],
    "stop_signal": [("SIGINT", "StopSignal", "SIGINT"), ("", "StopSignal", None)],
    "stop_grace_period_s": [(2.6, "StopTimeout", 3)],
    "read_only": [(True, "HostConfig.ReadonlyRootfs", True)],
    "shm_size_bytes": [(1024, "HostConfig.ShmSize", 1024), (0, "HostConfig.ShmSize", None)],
    "privileged": [(True, "HostConfig.Privileged", True)],
    "security_opt": [
        (("no-new-privileges",), "HostConfig.SecurityOpt", ["no-new-privileges"]),
        (("apparmor=strict",), "HostConfig.SecurityOpt", ["apparmor=strict", "no-new-privileges"]),
        (("no-new-privileges:false",), "HostConfig.SecurityOpt", ["no-new-privileges:false"]),
    ],
    "tty": [(True, "Tty", True)],
    "stdin_open": [(True, "OpenStdin", True)],
    "group_add": [(("wheel",), "HostConfig.GroupAdd", ["wheel"])],
    "ipc": [("host", "HostConfig.IpcMode", "host")],
    "pid": [("host", "HostConfig.PidMode", "host")],
    "userns_mode": [("host", "HostConfig.UsernsMode", "host")],
    "network_mode": [("host", "HostConfig.NetworkMode", "host"), ("none", "HostConfig.NetworkMode", "none")],
    "networks": [((DEFAULT,), "HostConfig.NetworkMode", "shop_default")],
    "oom_score_adj": [(300, "HostConfig.OomScoreAdj", 300)],
    "cgroup_parent": [("/h1", "HostConfig.CgroupParent", "/h1")],
    "mounts": [
        ((BindMount(source="/a", target="/b"),), "HostConfig.Binds", ["/a:/b:rw"]),
        ((BindMount(source="/a", target="/b", read_only=True, propagation="rslave"),), "HostConfig.Binds", ["/a:/b:ro,rslave"]),
        (
            (BindMount(source="/a", target="/b", create_host_path=False, propagation="shared"),),
            "HostConfig.Mounts",
            [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": False, "BindOptions": {"Propagation": "shared"}}],
        ),
        (
            (BindMount(source="/a:b", target="/b"),),
            "HostConfig.Mounts",
            [{"Type": "bind", "Source": "/a:b", "Target": "/b", "ReadOnly": False}],
        ),
        (
            (
                VolumeMount(
                    volume="shop_data", target="/d", read_only=True, driver="local", driver_opts={"o": "x"}, labels={"k": "v"}
                ),
            ),
            "HostConfig.Mounts",
            [
                {
                    "Type": "volume",
                    "Source": "shop_data",
                    "Target": "/d",
                    "ReadOnly": True,
                    "VolumeOptions": {
                        "Labels": {"k": "v"},
                        "NoCopy": False,
                        "DriverConfig": {"Name": "local", "Options": {"o": "x"}},
                    },
                }
            ],
        ),
        (
            (VolumeMount(volume="", target="/d", no_copy=True),),
            "HostConfig.Mounts",
            [
                {
                    "Type": "volume",
                    "Source": "",
                    "Target": "/d",
                    "ReadOnly": False,
                    "VolumeOptions": {"Labels": {}, "NoCopy": True},
                }
            ],
        ),
        (
            (TmpfsMount(target="/t", size_bytes=64, mode=0o700),),
            "HostConfig.Mounts",
            [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 64, "Mode": 0o700}}],
        ),
    ],
}
# These have tests of their own below, or are for the calls around the creation.
ELSEWHERE = {"environment", "labels", "files", "platform", "pull_policy"}


def test_no_field_is_forgotten() -> None:
    assert {field.name for field in fields(ContainerSpec)} == FIELDS.keys() | ELSEWHERE
    assert PullPolicy.MISSING  # `pull_policy` and `platform` go into the pull and the query of the create call


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"), [(name, *case) for name, cases in FIELDS.items() for case in cases]
)
def test_a_field_has_its_place(name: str, value: Any, path: str, expected: Any) -> None:
    body = create_body(assigned(ContainerSpec(**{"image": "web:1", name: value})), PLACE)
    assert at(body, path) == expected


def test_the_environment_tells_a_replica_who_it_is() -> None:
    body = create_body(assigned(ContainerSpec(environment={"A": "1=2", "ROOKERY_NODE": "mine"})), PLACE)
    assert body["Env"] == [
        "ROOKERY_APP=shop",
        "ROOKERY_SERVICE=web",
        "ROOKERY_SLOT=3",
        "ROOKERY_NODE=mine",
        "ROOKERY_REPLICA=0123456789ab",
        "A=1=2",
    ]


def test_ownership_can_not_be_overwritten_by_labels() -> None:
    body = create_body(assigned(ContainerSpec(labels={"k": "v", "rookery.node": "another"}), expose=(80,)), PLACE)
    assert body["Labels"] == {
        "k": "v",
        "rookery.node": "n1",
        "rookery.replica": "0123456789ab",
        "rookery.app": "shop",
        "rookery.service": "web",
        "rookery.slot": "3",
        "rookery.revision": "2",
        "rookery.ports": "80/tcp",
    }


def test_an_empty_command_needs_the_images_entrypoint_said_anew() -> None:
    body = create_body(assigned(ContainerSpec(command=Argv())), PLACE, image_entrypoint=("/init",))
    assert (body["Entrypoint"], body["Cmd"]) == (["/init"], [])


@pytest.mark.parametrize(
    ("probe", "check"), [(ImageProbe(), None), (NoProbe(), ["NONE"]), (CommandProbe(args=("true",)), ["NONE"])]
)
def test_the_engine_checks_health_only_by_the_images_own_probe(probe: Any, check: Any) -> None:
    assert at(create_body(assigned(probe=probe), PLACE), "Healthcheck.Test") == check


def test_limits_and_reservations() -> None:
    spec = {
        "limits": Resources(cpus=0.5, memory_bytes=100, pids=7),
        "reservations": Resources(cpus=0.1, memory_bytes=50),
    }
    host = create_body(assigned(**spec), PLACE)["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"], host["MemoryReservation"]) == (500_000_000, 100, 7, 50)
    assert not {"NanoCpus", "Memory", "MemoryReservation"} & create_body(assigned(), PLACE)["HostConfig"].keys()


def test_what_a_container_is_denied_unless_it_asks() -> None:
    def host(limits: Resources = Resources(), **container: Any) -> Any:  # noqa: B008 (a value)
        return create_body(assigned(ContainerSpec(**container), limits=limits), PLACE)["HostConfig"]

    plain = host()
    assert plain["CapDrop"] == ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP"]
    assert plain["SecurityOpt"] == ["no-new-privileges"]
    assert plain["PidsLimit"] == 4096
    assert "PidsLimit" not in host(Resources(pids=-1))
    assert host(cap_add=("CAP_NET_RAW", "mknod"))["CapDrop"] == ["AUDIT_WRITE", "SETFCAP"]
    assert host(cap_add=("ALL",))["CapDrop"] == []
    privileged = host(privileged=True)
    assert (privileged["CapDrop"], privileged["SecurityOpt"]) == ([], [])


def test_ports_are_published_on_the_nodes_address() -> None:
    ports = (
        Port(target=80),
        Port(target=53, protocol=PortProtocol.UDP),
        Port(target=22, published=2222, mode=PortMode.HOST, host_ip="127.0.0.1"),
    )
    a = assigned(ports=ports, routes=(HttpRoute(target=8080),), probe=HttpProbe(port=9000))
    body = create_body(a, PLACE)
    free = [{"HostIp": "10.0.0.1", "HostPort": ""}]
    assert body["HostConfig"]["PortBindings"] == {
        "80/tcp": free,
        "53/udp": free,
        "8080/tcp": free,
        "9000/tcp": free,
        "22/tcp": [{"HostIp": "127.0.0.1", "HostPort": "2222"}],
    }
    assert body["ExposedPorts"].keys() == body["HostConfig"]["PortBindings"].keys()


def test_on_a_named_network_only_host_ports_are_published() -> None:
    ports = (Port(target=80), Port(target=22, published=2222, mode=PortMode.HOST))
    a = assigned(ContainerSpec(networks=(DEFAULT,)), ports=ports)
    assert create_body(a, INSIDE)["HostConfig"]["PortBindings"].keys() == {"22/tcp"}
    assert networks(a, INSIDE) == ("shop_default", "demo")


def test_the_first_network_is_joined_at_creation() -> None:
    fixed = NetworkAttachment(network="shop_back", aliases=("web", "w"), ipv4_address="10.9.0.2")
    body = create_body(assigned(ContainerSpec(networks=(fixed, DEFAULT))), PLACE)
    assert body["NetworkingConfig"] == {
        "EndpointsConfig": {"shop_back": {"Aliases": ["web", "w"], "IPAMConfig": {"IPv4Address": "10.9.0.2"}}}
    }


def test_no_networks_in_host_mode() -> None:
    body = create_body(assigned(ContainerSpec(network_mode="host", networks=(DEFAULT,)), expose=(80,)), INSIDE)
    assert "NetworkingConfig" not in body
    assert body["HostConfig"]["PortBindings"] == {}


def test_a_subpath_is_refused() -> None:
    with pytest.raises(RuntimeFailure, match="subpath"):
        create_body(assigned(ContainerSpec(mounts=(VolumeMount(volume="v", target="/d", subpath="x"),))), PLACE)


SECRET = FileMount(kind=FileKind.SECRET, name="key", target="/run/secrets/key")


@pytest.mark.parametrize("container", [ContainerSpec(files=(SECRET,)), ContainerSpec(files=(SECRET,), read_only=True)])
def test_files_are_mounted_read_only_from_where_they_lie(container: ContainerSpec) -> None:
    body = create_body(assigned(container), PLACE, files={SECRET: Path("/run/rookery/n1/r1/run/secrets/key")})
    (mounted,) = body["HostConfig"]["Mounts"]
    assert mounted == {
        "Type": "bind",
        "Source": "/run/rookery/n1/r1/run/secrets/key",
        "Target": "/run/secrets/key",
        "ReadOnly": True,
    }


def inspected(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    labels = {"rookery.node": "n1", "rookery.replica": "r1", "rookery.ports": "80/tcp,53/udp"}
    return {
        "Id": "c1",
        "Config": {"Labels": labels},
        "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-02T03:04:05.5Z", **state},
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Ports": {}, "Networks": {}},
        **more,
    }


def test_endpoints_of_published_ports() -> None:
    ports = {"80/tcp": [{"HostIp": "10.0.0.1", "HostPort": "32768"}], "53/udp": None}
    made = instance(inspected({}, NetworkSettings={"Ports": ports, "Networks": {}}), PLACE)
    assert made is not None
    assert made.endpoints == (Endpoint(replica_id=ReplicaId("r1"), address="10.0.0.1", port=32768, target=80),)
    assert made.started_at == 1767323045.5


def test_endpoints_on_a_named_network() -> None:
    made = instance(inspected({}, NetworkSettings={"Ports": {}, "Networks": {"demo": {"IPAddress": "172.20.0.5"}}}), INSIDE)
    assert made is not None
    assert [(e.address, e.port, e.target, e.protocol) for e in made.endpoints] == [
        ("172.20.0.5", 80, 80, "tcp"),
        ("172.20.0.5", 53, 53, "udp"),
    ]


def test_endpoints_on_the_hosts_network() -> None:
    made = instance(inspected({}, HostConfig={"NetworkMode": "host"}), PLACE)
    assert made is not None
    assert [(e.address, e.port) for e in made.endpoints] == [("10.0.0.1", 80), ("10.0.0.1", 53)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, InstanceState.RUNNING),
        ({"Paused": True, "Status": "paused"}, InstanceState.RUNNING),
        ({"Status": "created", "Running": False}, InstanceState.CREATED),
        ({"Status": "exited", "Running": False, "ExitCode": 3}, InstanceState.EXITED),
        ({"Status": "dead", "Running": False}, InstanceState.EXITED),
    ],
)
def test_states(state: dict[str, Any], expected: InstanceState) -> None:
    made = instance(inspected(state), PLACE)
    assert made is not None
    assert made.state is expected
    assert made.exit_code == state.get("ExitCode")


def test_strangers_are_nobody() -> None:
    other = Place(node_id=NodeId("n2"), hostname="h", address="10.0.0.2")
    assert instance(inspected({}), other) is None
    assert instance(inspected({}, Config={"Labels": None}), PLACE) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0.0), ("0001-01-01T00:00:00Z", 0.0), ("1970-01-01T00:00:01Z", 1.0), ("1970-01-01T00:00:01.250000001Z", 1.250000001)],
)
def test_instants(text: str, expected: float) -> None:
    assert instant(text) == pytest.approx(expected)
