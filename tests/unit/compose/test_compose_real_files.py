"""Compose files as people have them load, say what they should, and mean the same after `rookery config`."""

from pathlib import Path

import pytest
from rookery.compose import dump, load
from rookery.compose.loader import Loaded
from rookery.model import (
    BindMount,
    CommandProbe,
    Dependency,
    DependencyCondition,
    Device,
    FailureAction,
    FileKind,
    FileMount,
    Global,
    GlobalJob,
    HttpProbe,
    HttpRoute,
    LogConfig,
    OnDisconnect,
    Placement,
    Port,
    PortMode,
    ProbeTiming,
    Replicated,
    ReplicatedJob,
    Resources,
    RestartCondition,
    RestartPolicy,
    ServiceSpec,
    TmpfsMount,
    Ulimit,
    UpdateConfig,
    UpdateOrder,
    VolumeMount,
)

FILES = Path(__file__).parent / "files"
ENV = {"API_KEY": "k", "DOMAIN": "example.org", "FROM_SHELL": "yes"}


def of(name: str) -> Loaded:
    return load([FILES / name], app="shop", env=ENV)


def spec(loaded: Loaded, name: str) -> ServiceSpec:
    return next(service for service in loaded.app.services if service.name == name)


@pytest.mark.parametrize("name", sorted(path.name for path in FILES.glob("*.yml")))
def test_the_resolved_document_is_the_same_app(name: str, tmp_path: Path) -> None:
    first = of(name)
    resolved = tmp_path / "resolved.yml"
    resolved.write_text(dump(first.resolved))
    assert load([resolved], app="shop", env=ENV).app == first.app


def test_voting() -> None:
    loaded = of("voting.yml")
    assert [service.name for service in loaded.app.services] == ["vote", "result", "worker", "redis", "db"]
    assert [warning.path for warning in loaded.warnings] == [
        "services.vote.build",
        "services.redis.volumes[0].source",
        "services.db.volumes[1].source",
    ]
    vote = spec(loaded, "vote")
    assert vote.probe == CommandProbe(
        args=("curl", "-f", "http://localhost"), timing=ProbeTiming(interval_s=15.0, retries=3, start_period_s=10.0)
    )
    assert vote.depends_on == (Dependency(service="redis", condition=DependencyCondition.SERVICE_HEALTHY),)
    assert [network.network for network in vote.container.networks] == ["shop_front-tier", "shop_back-tier"]
    result = spec(loaded, "result").container
    assert result.entrypoint is not None
    assert result.entrypoint.args == ("nodemon", "--inspect=0.0.0.0", "server.js")
    assert spec(loaded, "redis").probe == CommandProbe(args=("/bin/sh", "-c", "/healthchecks/redis.sh"))


def test_voting_with_its_profile() -> None:
    loaded = load([FILES / "voting.yml"], app="shop", env=ENV, profiles=["seed"])
    assert spec(loaded, "seed").restart.condition is RestartCondition.NONE


def test_wordpress() -> None:
    loaded = of("wordpress.yml")
    assert [warning.path for warning in loaded.warnings] == ["version", "services.wordpress.container_name"]
    db, wordpress = loaded.app.services
    assert db.container.command is not None
    assert db.container.command.args == ("--default-authentication-plugin=mysql_native_password",)
    assert db.container.environment["MYSQL_DATABASE"] == "wordpress"
    assert db.expose == (3306, 33060)
    assert db.container.networks[0].aliases == ("db", "mysql")
    assert wordpress.container.networks[0].aliases == ("wordpress", "wp")
    assert wordpress.depends_on == (Dependency(service="db"),)
    assert wordpress.ports == (Port(target=80, published=80),)


def test_labels_and_fragments() -> None:
    loaded = of("labels.yml")
    assert loaded.warnings == ()
    traefik, whoami = spec(loaded, "traefik"), spec(loaded, "whoami")
    assert traefik.mode == Global()
    assert traefik.ports[0] == Port(target=80, published=80, mode=PortMode.HOST)
    assert traefik.update.order is UpdateOrder.STOP_FIRST
    assert traefik.container.mounts == (
        BindMount(source="/var/run/docker.sock", target="/var/run/docker.sock", read_only=True),
        VolumeMount(
            volume="shop_letsencrypt",
            target="/letsencrypt",
            driver="local",
            driver_opts={"type": "nfs", "o": "addr=10.40.0.199,nolock,soft,rw", "device": ":/docker/le"},
        ),
    )
    assert traefik.container.networks[0].network == "proxy"
    assert traefik.container.networks[0].external
    assert whoami.container.labels["traefik.http.routers.whoami.rule"] == "Host(`example.org`)"
    assert whoami.mode == Replicated(replicas=2)
    assert whoami.limits == Resources(cpus=0.5, memory_bytes=64 * 1024**2, pids=100)
    container = whoami.container
    assert container.logging == LogConfig(driver="json-file", options={"max-size": "10m", "max-file": "3"})
    assert container.mounts == (TmpfsMount(target="/tmp"), TmpfsMount(target="/run", size_bytes=16 * 1024**2, mode=0o1777))
    assert container.ulimits == (Ulimit(name="nofile", soft=20000, hard=40000), Ulimit(name="nproc", soft=65535, hard=65535))
    assert container.sysctls == {"net.core.somaxconn": "1024"}
    assert container.extra_hosts == ("host.docker.internal:host-gateway", "db:10.0.0.5")
    assert container.dns == ("9.9.9.9",)
    assert (container.init, container.read_only, container.user) == (True, True, "1000:1000")
    assert (container.stop_signal, container.stop_grace_period_s) == ("SIGQUIT", 90.0)
    assert container.security_opt == ("no-new-privileges=true",)


def test_a_stack_for_swarm() -> None:
    loaded = of("stack.yml")
    assert [warning.path for warning in loaded.warnings] == [
        "version",
        "services.web.deploy.update_config.order",
        "networks.default.attachable",
        "networks.default.driver",
    ]
    web = spec(loaded, "web")
    assert web.mode == Replicated(replicas=6)
    assert web.update == UpdateConfig(parallelism=2, delay_s=10.0, monitor_s=20.0, max_failure_ratio=0.1)
    assert web.rollback == UpdateConfig(parallelism=0, order=UpdateOrder.STOP_FIRST, failure_action=FailureAction.PAUSE)
    assert web.restart == RestartPolicy(condition=RestartCondition.ON_FAILURE, delay_s=5.0, max_attempts=3, window_s=120.0)
    assert web.placement == Placement(
        constraints=("node.platform.os == linux", "node.labels.zone != c"),
        preferences=("node.labels.zone",),
        max_replicas_per_node=2,
    )
    assert web.limits == Resources(cpus=0.5, memory_bytes=50 * 1024**2, pids=64)
    assert web.reservations == Resources(cpus=0.25, memory_bytes=20 * 1024**2)
    assert web.labels == {"tier": "front"}
    assert web.ports == (Port(target=8080, published=8080, app_protocol="http"),)
    assert web.routes == (HttpRoute(target=8080, host="shop.example"),)
    assert web.probe == HttpProbe(port=8080, path="/healthz", timing=ProbeTiming(interval_s=2.0))
    assert (web.drain_timeout_s, web.on_disconnect, web.on_disconnect_after_s) == (45.0, OnDisconnect.STOP, 30.0)
    assert not web.rebalance
    assert web.container.environment == {"DB_PASSWORD_FILE": "/run/secrets/db_password", "FROM_SHELL": "yes"}
    files = {file.name: file for file in loaded.app.files}
    assert [(file.kind, file.name) for file in loaded.app.files] == [
        (FileKind.CONFIG, "motd"),
        (FileKind.CONFIG, "nginx"),
        (FileKind.SECRET, "api_key"),
        (FileKind.SECRET, "db_password"),
    ]
    assert files["motd"].content == b"welcome to shop"
    assert files["api_key"].content == b"k"
    assert web.container.files == (
        FileMount(
            kind=FileKind.SECRET, name="db_password", target="/run/secrets/db_password", digest=files["db_password"].digest
        ),
        FileMount(kind=FileKind.SECRET, name="api_key", target="/run/secrets/key", mode=0o400, digest=files["api_key"].digest),
        FileMount(
            kind=FileKind.CONFIG,
            name="nginx",
            target="/etc/nginx/nginx.conf",
            uid="101",
            mode=0o440,
            digest=files["nginx"].digest,
        ),
        FileMount(kind=FileKind.CONFIG, name="motd", target="/motd", digest=files["motd"].digest),
    )
    assert spec(loaded, "migrate").mode == ReplicatedJob(replicas=1)
    assert spec(loaded, "migrate").restart.condition is RestartCondition.ON_FAILURE
    assert spec(loaded, "cleanup").mode == GlobalJob()
    db = spec(loaded, "db").container
    assert db.shm_size_bytes == 256 * 1024**2
    assert db.networks[0].aliases == ("db", "database")
    assert db.networks[0].driver == ""
    assert db.mounts == (
        VolumeMount(volume="shop_data", target="/var/lib/postgresql/data", no_copy=True, labels={"backup": "yes"}),
        TmpfsMount(target="/scratch", size_bytes=64 * 1024**2, mode=0o1777),
        BindMount(source="/etc/localtime", target="/etc/localtime", read_only=True, propagation="rslave", create_host_path=False),
    )
    agent = spec(loaded, "agent").container
    assert (agent.network_mode, agent.networks, agent.pid, agent.privileged) == ("host", (), "host", True)
    assert agent.devices == (
        Device(source="/dev/fuse", target="/dev/fuse"),
        Device(source="/dev/sda", target="/dev/xvda", permissions="r"),
    )
