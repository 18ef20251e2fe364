"""The sentences and the choices of the scheduler, case by case."""

import dataclasses
from typing import Any

import pytest
from rookery.model import (
    Availability,
    ContainerSpec,
    Desired,
    Node,
    NodeCondition,
    NodeId,
    NodeInfo,
    NodeState,
    Placement,
    Port,
    PortMode,
    Replica,
    ReplicaId,
    ReplicaState,
    Resources,
    RuntimeKind,
    ServiceKey,
    ServiceSpec,
)
from rookery_manager.scheduler import NodeView, Placed, Refused, Request, charge, eligible, explain, parse_constraint, place, view

GIB = 1 << 30
WEB = ServiceKey("shop/web")
PORT_80 = Port(target=80, published=80, mode=PortMode.HOST)


def node(name: str, **labels: str) -> Node:
    capacity = Resources(cpus=4, memory_bytes=8 * GIB)
    info = NodeInfo(hostname=name, arch="amd64", capacity=capacity, runtimes=(RuntimeKind.DOCKER,), labels=labels)
    return Node(id=NodeId(f"id-{name}"), info=info)


def views(*nodes: Node | NodeView) -> dict[NodeId, NodeView]:
    made = [n if isinstance(n, NodeView) else NodeView(node=n) for n in nodes]
    return {v.node.id: v for v in made}


def spec(**fields: object) -> ServiceSpec:
    return dataclasses.replace(ServiceSpec(name="web"), **fields)  # type: ignore[arg-type]


def request(slot: int = 1, *, pinned: str = "", **fields: object) -> Request:
    node_id = NodeId(f"id-{pinned}") if pinned else None
    return Request(replica_id=ReplicaId(f"r{slot}"), key=WEB, slot=slot, spec=spec(**fields), pinned=node_id)


def one(asked: Request, nodes: dict[NodeId, NodeView]) -> str:
    """The node's name, or the refusal."""
    (answer,) = place([asked], nodes)
    return nodes[answer.node_id].node.name if isinstance(answer, Placed) else answer.why


def replica(number: int, state: ReplicaState = ReplicaState.RUNNING, **fields: object) -> Replica:
    made = Replica(id=ReplicaId(f"r{number}"), app="shop", service="web", slot=number, revision=1, state=state, ready=True)
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


REFUSALS: dict[str, tuple[list[Node | NodeView], dict[str, Any], str]] = {
    "no nodes": ([], {}, "no node fits: the cluster has no nodes"),
    "drained": ([dataclasses.replace(node("n1"), availability=Availability.DRAINED)], {}, "no node fits: 1 is drained"),
    "down": ([dataclasses.replace(node("n1"), state=NodeState.DOWN)], {}, "no node fits: 1 is down"),
    "left": ([dataclasses.replace(node("n1"), state=NodeState.LEFT)], {}, "no node fits: 1 left"),
    "runtime": ([node("n1"), node("n2")], {"runtime": RuntimeKind.PROCESS}, "no node fits: 2 have no process runtime"),
    "platform": (
        [node("n1")],
        {"container": ContainerSpec(image="i", platform="linux/arm64/v8")},
        "no node fits: 1 is not linux/arm64/v8",
    ),
    "constraint": (
        [node("n1", zone="a"), node("n2")],
        {"placement": Placement(constraints=("node.labels.zone==b",))},
        "no node fits: 2 do not meet node.labels.zone == b",
    ),
    "unknown attribute": (
        [node("n1")],
        {"placement": Placement(constraints=("node.colour == red",))},
        "no node fits: 1 does not meet a constraint that can't be met: node.colour: no property of a node; known are node.id, "
        "node.hostname, node.platform.os, node.platform.arch, node.labels.NAME, engine.labels.NAME",
    ),
    "memory": (
        [NodeView(node=node("n1"), reserved=Resources(memory_bytes=7 * GIB)), node("n2")],
        {"reservations": Resources(memory_bytes=9 * GIB)},
        "no node fits: 2 have too little memory (largest free 8 GiB of 9 GiB asked)",
    ),
    "cpu": (
        [NodeView(node=node("n1"), reserved=Resources(cpus=3.7))],
        {"reservations": Resources(cpus=0.5)},
        "no node fits: 1 has too little CPU (most free 0.3 of 0.5 asked)",
    ),
    "host port": (
        [NodeView(node=node("n1"), host_ports=frozenset({(80, "tcp", "10.0.0.1")}))],
        {"ports": (PORT_80,)},
        "no node fits: 1 has host port 80/tcp taken",
    ),
    "full": (
        [NodeView(node=node("n1"), replicas={WEB: 2})],
        {"placement": Placement(max_replicas_per_node=2)},
        "no node fits: 1 has max_replicas_per_node (2) replicas already",
    ),
    "engine away": (
        [dataclasses.replace(node("n1"), conditions=(NodeCondition(name="engine-away", why="no answer"),))],
        {},
        "no node fits: 1 has no engine now",
    ),
    "disk full": (
        [dataclasses.replace(node("n1"), conditions=(NodeCondition(name="disk-full", why="3 MB of 9000 MB are left"),))],
        {},
        "no node fits: 1 has a full disk",
    ),
    "several": (
        [
            NodeView(node=node("n1"), reserved=Resources(memory_bytes=int(6.8 * GIB))),
            NodeView(node=node("n2"), reserved=Resources(memory_bytes=7 * GIB)),
            dataclasses.replace(node("n3"), availability=Availability.DRAINED),
        ],
        {"reservations": Resources(memory_bytes=4 * GIB)},
        "no node fits: 2 have too little memory (largest free 1.2 GiB of 4 GiB asked), 1 is drained",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_counts_the_nodes_by_reason(case: str) -> None:
    nodes, fields, why = REFUSALS[case]
    assert place([request(**fields)], views(*nodes)) == (Refused(replica_id=ReplicaId("r1"), why=why),)


def test_explain_says_why_of_each_node_that_does_not_fit() -> None:
    nodes = views(
        node("n1", zone="a"),
        node("n2", zone="b"),
        dataclasses.replace(node("n3", zone="b"), state=NodeState.DOWN, why="silent for 3.1 s"),
        NodeView(node=node("n4", zone="b"), reserved=Resources(memory_bytes=7 * GIB)),
    )
    asked = request(reservations=Resources(memory_bytes=4 * GIB), placement=Placement(constraints=("node.labels.zone == b",)))
    verdicts = explain(asked, nodes)
    assert [(v.node_name, v.fits, v.chosen, v.why) for v in verdicts] == [
        ("n2", True, True, "n2 has 0 replicas of shop/web and 0 in all"),
        ("n1", False, False, "its node.labels.zone is a, not b"),
        ("n3", False, False, "it is down: silent for 3.1 s"),
        ("n4", False, False, "too little memory: 1 GiB free of 4 GiB asked"),
    ]
    assert [(score.name, score.value) for score in verdicts[0].scores] == [
        ("recent failures", 0),
        ("replicas of the service", 0),
        ("reserved share", 0.5),
        ("replicas", 0),
    ]


def test_a_capacity_that_is_not_known_bounds_nothing() -> None:
    unmeasured = dataclasses.replace(node("n1"), info=dataclasses.replace(node("n1").info, capacity=Resources()))
    assert one(request(reservations=Resources(cpus=64, memory_bytes=64 * GIB)), views(unmeasured)) == "n1"


def test_spread_goes_before_the_number_of_replicas_on_a_node() -> None:
    nodes = views(node("a1", zone="a"), node("a2", zone="a"), node("b1", zone="b"))
    spread = Placement(preferences=("node.labels.zone",))
    placed = place([request(slot, placement=spread) for slot in range(1, 7)], nodes)
    assert [nodes[a.node_id].node.name for a in placed if isinstance(a, Placed)] == ["a1", "b1", "a2", "b1", "a1", "b1"]
    assert placed[5].why == "b1 has 2 replicas of shop/web and 2 in all, node.labels.zone=b has 2"


def test_spread_is_hierarchical_and_leaves_out_nodes_that_take_nothing() -> None:
    gone = dataclasses.replace(node("a9", zone="a", rack="1"), availability=Availability.DRAINED)
    nodes = views(
        NodeView(node=gone, replicas={WEB: 5}, replica_count=5),
        *(node(f"{zone}{rack}", zone=zone, rack=rack) for zone in "ab" for rack in "12"),
    )
    spread = Placement(preferences=("node.labels.zone", "node.labels.rack"))
    placed = place([request(slot, placement=spread) for slot in range(1, 6)], nodes)
    assert [nodes[a.node_id].node.name for a in placed if isinstance(a, Placed)] == ["a1", "b1", "a2", "b2", "a1"]


def test_a_node_where_the_service_failed_lately_comes_last() -> None:
    failing = view(node("n1"), [replica(1, ReplicaState.FAILED)], {})
    full = NodeView(node=node("n2"), replicas={WEB: 3}, replica_count=3)
    assert one(request(), views(failing, full)) == "n2"
    assert one(request(), views(failing)) == "n1"


def test_a_replica_that_replaces_another_goes_where_that_one_is() -> None:
    nodes = views(*(view(node(f"n{i}"), [replica(i)], {}) for i in (1, 2, 3)))
    assert [one(request(slot), nodes) for slot in (3, 1, 2)] == ["n3", "n1", "n2"]
    assert one(request(4), nodes) == "n1"


def test_a_bigger_node_is_filled_to_the_same_share() -> None:
    big = dataclasses.replace(node("big"), info=dataclasses.replace(node("big").info, capacity=Resources(cpus=12)))
    nodes = views(big, NodeView(node=node("small")))
    requests = [
        dataclasses.replace(request(slot, reservations=Resources(cpus=1)), key=ServiceKey(f"shop/s{slot}"))
        for slot in range(1, 9)
    ]
    placed = [nodes[a.node_id].node.name for a in place(requests, nodes) if isinstance(a, Placed)]
    assert (placed.count("big"), placed.count("small")) == (6, 2)


def test_ten_tenths_of_a_core_fit_into_one() -> None:
    small = dataclasses.replace(node("n1"), info=dataclasses.replace(node("n1").info, capacity=Resources(cpus=1)))
    answers = place([request(slot, reservations=Resources(cpus=0.1)) for slot in range(1, 12)], views(small))
    assert [isinstance(answer, Placed) for answer in answers] == [True] * 10 + [False]


def test_host_ports_are_taken_within_a_batch() -> None:
    answers = place([request(slot, ports=(PORT_80,)) for slot in (1, 2, 3)], views(node("n1"), node("n2")))
    assert [isinstance(answer, Placed) for answer in answers] == [True, True, False]


def test_a_pinned_replica_goes_to_its_node_or_nowhere() -> None:
    nodes = views(node("n1"), dataclasses.replace(node("n2"), availability=Availability.DRAINED))
    assert one(request(0, pinned="n1"), nodes) == "n1"
    assert one(request(0, pinned="n2"), nodes) == "its node can't take it: it is drained"
    assert one(request(0, pinned="n3"), nodes) == "its node is gone"


def test_excluded_nodes_are_not_used() -> None:
    asked = dataclasses.replace(request(), exclude=frozenset({NodeId("id-n1")}))
    assert one(asked, views(node("n1"), node("n2"))) == "n2"
    assert one(asked, views(node("n1"))) == "no node fits: 1 is not to be used for it"


def test_eligible_leaves_out_what_passes() -> None:
    away = dataclasses.replace(node("n1"), conditions=(NodeCondition(name="engine-away", why="no answer"),))
    assert eligible(spec(), NodeView(node=away)) is None
    assert eligible(spec(), NodeView(node=dataclasses.replace(away, state=NodeState.DOWN))) == "it is down"


def test_a_view_counts_what_is_to_stay_and_reserves_for_what_is_there() -> None:
    wanted = spec(reservations=Resources(cpus=0.5, memory_bytes=GIB), ports=(PORT_80,))
    replicas = [
        replica(1),
        replica(2, ReplicaState.DRAINING),
        replica(3, desired=Desired.STOP),
        replica(4, ReplicaState.STOPPED),
        replica(5, ReplicaState.FAILED),
        replica(6, ready=False, restarts=3),
    ]
    seen = view(node("n1"), replicas, {r.id: wanted for r in replicas})
    assert seen.reserved == Resources(cpus=2.0, memory_bytes=4 * GIB)
    assert (seen.replicas, seen.replica_count, seen.recent_failures) == ({WEB: 2}, 2, {WEB: 2})
    assert seen.slots == {WEB: frozenset({1, 6})}
    assert seen.host_ports == {(80, "tcp", "")}


def test_charging_a_view_is_viewing_with_one_more() -> None:
    wanted = spec(reservations=Resources(cpus=0.1, memory_bytes=1), ports=(PORT_80,))
    charged = view(node("n1"), [], {})
    replicas = [replica(i) for i in range(1, 30)]
    for r in replicas:
        charged = charge(charged, Request(replica_id=r.id, key=r.key, slot=r.slot, spec=wanted))
    assert charged == view(node("n1"), replicas, {r.id: wanted for r in replicas})


MET = {
    "node.labels.zone == a": True,
    "node.labels.zone==A": True,
    "node.labels.zone != b": True,
    "node.labels.none != b": True,
    "node.labels.none == b": False,
    "node.hostname == n1": True,
    "node.id != id-n1": False,
    "node.platform.os == linux": True,
    "node.platform.arch == x86_64": True,
    "engine.labels.zone == a": True,
    "node.labels.a b == x": None,
    "node.labels.zone = a": None,
    "node.labels.zone ==": None,
    "node.labels. == a": None,
    "node.role == manager": None,
    "": None,
}


@pytest.mark.parametrize("text", MET)
def test_constraints(text: str) -> None:
    met = MET[text]
    if met is None:
        with pytest.raises(ValueError, match=r"constraint|roles|property"):
            parse_constraint(text)
    else:
        assert (parse_constraint(text).refusal(node("n1", zone="a")) == "") is met


def test_the_operators_label_goes_over_the_agents() -> None:
    labelled = dataclasses.replace(node("n1", zone="a"), labels={"zone": "b"})
    assert not parse_constraint("node.labels.zone == b").refusal(labelled)
    assert not parse_constraint("engine.labels.zone == a").refusal(labelled)
