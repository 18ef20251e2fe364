"""What of a spec needs a permission, and what a policy gives."""

from typing import Any

import pytest
from rookery.model import (
    PERMISSIONS,
    BindMount,
    ContainerSpec,
    Device,
    Grant,
    NetworkAttachment,
    Person,
    Policy,
    PolicyRule,
    Role,
    RuntimeKind,
    ServiceSpec,
    TmpfsMount,
    VolumeMount,
)
from rookery.model.policy import DEFAULT_RULES
from rookery_manager.planners.rights import lacking, needed

BOB = Person(name="bob", role=Role.DEPLOYER)


def needs(*, others: tuple[str, ...] = (), **container: Any) -> list[str]:
    spec = ServiceSpec(name="web", container=ContainerSpec(image="i", **container))
    return [str(need) for need in needed("shop", spec, others)]


def test_an_ordinary_container_needs_nothing() -> None:
    assert not needs(
        cap_add=("CHOWN", "cap_net_bind_service"),
        cap_drop=("ALL",),
        security_opt=("no-new-privileges:false", "seccomp=builtin"),
        ipc="private",
        network_mode="none",
        networks=(NetworkAttachment(network="shop_default", driver="bridge"),),
        mounts=(
            TmpfsMount(target="/t"),
            VolumeMount(volume="shop_data", target="/d"),
            VolumeMount(volume="", target="/e"),
            VolumeMount(volume="shop_nfs", target="/f", driver_opts={"type": "nfs", "o": "addr=10.0.0.9", "device": ":/export"}),
        ),
    )


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"privileged": True}, ["privileged: needs the permission privileged"]),
        ({"network_mode": "host"}, ["network_mode: network needs the permission host-namespaces"]),
        ({"pid": "host"}, ["pid: pid needs the permission host-namespaces"]),
        ({"pid": "container:x"}, ["pid: pid needs the permission host-namespaces"]),
        ({"ipc": "host"}, ["ipc: ipc needs the permission host-namespaces"]),
        ({"userns_mode": "host"}, ["userns_mode: userns needs the permission host-namespaces"]),
        ({"cgroup_parent": "/"}, ["cgroup_parent: cgroup needs the permission host-namespaces"]),
        (
            {"devices": (Device(source="/dev/../dev/kmem", target="/dev/kmem"),)},
            ["devices: /dev/kmem needs the permission devices"],
        ),
        ({"cap_add": ("net_raw",)}, ["cap_add: NET_RAW needs the permission capabilities"]),
        ({"cap_add": ("ALL", "CAP_CHOWN")}, ["cap_add: ALL needs the permission capabilities"]),
        (
            {"security_opt": ("seccomp:unconfined",)},
            ["security_opt: seccomp=unconfined needs the permission security-options"],
        ),
        (
            {"networks": (NetworkAttachment(network="shop_lan", driver="macvlan", driver_opts={"parent": "eth0"}),)},
            [
                "networks: driver macvlan needs the permission shared-networks",
                "networks: option parent needs the permission shared-networks",
            ],
        ),
        (
            {"networks": (NetworkAttachment(network="shop_default", external=True),)},
            ["networks: shop_default needs the permission shared-networks"],
        ),
        (
            {"networks": (NetworkAttachment(network="blog_default"),)},
            ["networks: blog_default needs the permission shared-networks"],
        ),
        (
            {"mounts": (VolumeMount(volume="blog_data", target="/d"),)},
            ["volumes: blog_data needs the permission shared-volumes"],
        ),
        (
            {"mounts": (VolumeMount(volume="shop_d", target="/d", driver="rexray"),)},
            ["volumes: driver rexray needs the permission bind-mounts"],
        ),
    ],
)
def test_what_reaches_further_needs_a_permission(container: dict[str, Any], expected: list[str]) -> None:
    assert needs(**container) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/srv/shop", ["bind-mounts"]),
        ("/srv/../etc", ["bind-mounts"]),
        ("/var/run/docker.sock", ["bind-mounts", "engine-socket"]),
        ("//var/run", ["bind-mounts", "engine-socket"]),
        ("/", ["bind-mounts", "engine-socket"]),
        ("/var/lib/docker/volumes/blog_data/_data", ["bind-mounts", "engine-socket"]),
        ("/var/lib/rookery/agent", ["bind-mounts", "engine-socket"]),
    ],
)
def test_paths_of_the_node(source: str, expected: list[str]) -> None:
    disguised = {"type": "none", "o": "bind", "device": source}
    for mount in (BindMount(source=source, target="/x"), VolumeMount(volume="shop_v", target="/x", driver_opts=disguised)):
        spec = ServiceSpec(name="web", container=ContainerSpec(mounts=(mount,)))
        assert [need.permission for need in needed("shop", spec)] == expected
    overlay = VolumeMount(volume="shop_v", target="/x", driver_opts={"type": "overlay", "device": "overlay", "o": "lowerdir=/"})
    assert needs(mounts=(overlay,)) == ["volumes: overlay needs the permission bind-mounts"]


def test_a_name_that_may_be_of_two_apps_is_the_others() -> None:
    mount = VolumeMount(volume="shop_web_data", target="/d")
    assert not needs(mounts=(mount,))
    assert needs(mounts=(mount,), others=("shop_web",)) == ["volumes: shop_web_data needs the permission shared-volumes"]


def test_a_process_is_not_kept_from_anything() -> None:
    spec = ServiceSpec(name="web", runtime=RuntimeKind.PROCESS)
    assert [need.permission for need in needed("shop", spec)] == ["processes"]


EVERYTHING = ServiceSpec(
    name="web",
    container=ContainerSpec(
        privileged=True,
        pid="host",
        devices=(Device(source="/dev/dri/card0", target="/dev/dri/card0"),),
        cap_add=("SYS_ADMIN",),
        security_opt=("apparmor=unconfined",),
        mounts=(BindMount(source="/run/docker.sock", target="/s"), VolumeMount(volume="v", target="/v")),
        networks=(NetworkAttachment(network="n"),),
    ),
)


@pytest.mark.parametrize(("role", "lacks"), [(Role.DEPLOYER, 9), (Role.OPERATOR, 0), (Role.ADMIN, 0)])
def test_by_default_operators_and_admins_may_all(role: Role, lacks: int) -> None:
    policy = Policy(rules=DEFAULT_RULES)
    found = lacking(policy, Person(name="x", role=role), "shop", needed("shop", EVERYTHING))
    assert len(found) == lacks
    if lacks:
        assert {need.permission for need in found} == PERMISSIONS.keys() - {"processes"}


@pytest.mark.parametrize(
    ("grant", "left"),
    [
        (Grant(permission="bind-mounts"), []),
        (Grant(permission="bind-mounts", values=("/srv",)), []),
        (Grant(permission="bind-mounts", values=("/srv/shop/data",)), []),
        (Grant(permission="bind-mounts", values=("/srv/shop:ro",)), ["/srv/shop/data"]),
        (Grant(permission="bind-mounts", values=("/srv/sho",)), ["/srv/shop/data", "/srv/shop/conf"]),
        (Grant(permission="devices"), ["/srv/shop/data", "/srv/shop/conf"]),
    ],
)
def test_paths_that_are_given(grant: Grant, left: list[str]) -> None:
    mounts = (BindMount(source="/srv/shop/data", target="/a"), BindMount(source="/srv/shop/conf", target="/b", read_only=True))
    spec = ServiceSpec(name="web", container=ContainerSpec(mounts=mounts))
    policy = Policy(rules=(PolicyRule(may=(grant,)),))
    wanted = [need.value for need in lacking(policy, BOB, "shop", needed("shop", spec))]
    assert wanted == (left if grant.values != ("/srv/shop/data",) else ["/srv/shop/conf"])


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        (PolicyRule(role=Role.DEPLOYER), True),
        (PolicyRule(role=Role.VIEWER), True),
        (PolicyRule(role=Role.OPERATOR), False),
        (PolicyRule(people=("bob",)), True),
        (PolicyRule(people=("ana",)), False),
        (PolicyRule(apps=("shop", "blog")), True),
        (PolicyRule(apps=("blog",)), False),
        (PolicyRule(role=Role.DEPLOYER, people=("bob",), apps=("blog",)), False),
    ],
)
def test_whom_a_rule_is_for(rule: PolicyRule, given: bool) -> None:
    policy = Policy(
        rules=(PolicyRule(role=rule.role, people=rule.people, apps=rule.apps, may=(Grant(permission="privileged"),)),)
    )
    spec = ServiceSpec(name="web", container=ContainerSpec(privileged=True))
    assert (not lacking(policy, BOB, "shop", needed("shop", spec))) is given
