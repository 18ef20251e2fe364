"""What holds of every cluster and every batch: no filter is violated, the spread is even, the answers agree with each other."""

import dataclasses
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rookery.model import (
    Availability,
    ContainerSpec,
    Node,
    NodeId,
    NodeInfo,
    NodeState,
    Placement,
    Port,
    PortMode,
    ReplicaId,
    Resources,
    RuntimeKind,
    ServiceKey,
    ServiceSpec,
)
from rookery_manager.scheduler import NodeView, Placed, Refused, Request, charge, eligible, explain, parse_constraint, place
from rookery_manager.scheduler.usage import micro_cpus

GIB = 1 << 30
BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
KEYS = [ServiceKey("shop/web"), ServiceKey("shop/api"), ServiceKey("blog/db")]


@st.composite
def nodes(draw: st.DrawFn, least: int = 0) -> dict[NodeId, NodeView]:
    views = {}
    for i in range(draw(st.integers(least, 7))):
        labels = draw(
            st.fixed_dictionaries({}, optional={"zone": st.sampled_from("abc"), "disk": st.sampled_from(["ssd", "hdd"])})
        )
        info = NodeInfo(
            hostname=f"n{i}",
            arch=draw(st.sampled_from(["amd64", "x86_64", "arm64"])),
            capacity=Resources(cpus=draw(st.sampled_from([0.0, 1.0, 2.0, 8.0])), memory_bytes=draw(st.integers(0, 8)) * GIB),
            runtimes=draw(st.sampled_from([(RuntimeKind.DOCKER,), (RuntimeKind.DOCKER, RuntimeKind.PROCESS)])),
            labels=labels,
        )
        node = Node(
            id=NodeId(f"id{i}"),
            info=info,
            state=draw(st.sampled_from([NodeState.READY] * 5 + [NodeState.DOWN])),
            availability=draw(st.sampled_from([Availability.ACTIVE] * 5 + [Availability.DRAINED])),
        )
        counts = draw(st.dictionaries(st.sampled_from(KEYS), st.integers(1, 3), max_size=2))
        slots = {key: frozenset(range(10 * i + 1, 10 * i + 1 + count)) for key, count in counts.items()}
        views[node.id] = NodeView(
            node=node,
            replicas=counts,
            slots=slots,
            replica_count=sum(counts.values()),
            recent_failures=draw(st.dictionaries(st.sampled_from(KEYS), st.integers(1, 2), max_size=1)),
        )
    return views


@st.composite
def specs(draw: st.DrawFn) -> ServiceSpec:
    constraints = ["node.labels.zone == a", "node.labels.zone != b", "node.labels.disk == ssd", "node.platform.arch == x86_64"]
    port = Port(target=80, published=draw(st.sampled_from([80, 81])), mode=PortMode.HOST)
    return ServiceSpec(
        name="any",
        container=ContainerSpec(image="i", platform=draw(st.sampled_from(["", "", "", "linux/arm64"]))),
        reservations=Resources(cpus=draw(st.sampled_from([0.0, 0.1, 0.5, 3.0])), memory_bytes=draw(st.integers(0, 3)) * GIB // 2),
        placement=Placement(
            constraints=tuple(draw(st.sets(st.sampled_from(constraints), max_size=1))),
            preferences=tuple(draw(st.lists(st.sampled_from(["node.labels.zone", "node.labels.disk"]), max_size=2, unique=True))),
            max_replicas_per_node=draw(st.sampled_from([0, 0, 1, 2])),
        ),
        ports=(port,) if draw(st.integers(0, 4)) == 0 else (),
        runtime=draw(st.sampled_from([RuntimeKind.DOCKER, RuntimeKind.DOCKER, RuntimeKind.PROCESS])),
    )


@st.composite
def batches(draw: st.DrawFn, most: int = 25) -> list[Request]:
    kinds = draw(st.lists(st.tuples(st.sampled_from(KEYS), specs()), min_size=1, max_size=4))
    picks = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=most))
    slots: Counter[ServiceKey] = Counter()
    requests = []
    for number, pick in enumerate(picks):
        key, spec = kinds[pick]
        slots[key] += draw(st.integers(1, 4))
        pinned = draw(st.sampled_from([None] * 9 + [NodeId("id1")]))
        exclude = frozenset(draw(st.sets(st.just(NodeId("id0")), max_size=draw(st.sampled_from([0, 0, 0, 1])))))
        replica_id = ReplicaId(f"r{number}")
        requests.append(Request(replica_id=replica_id, key=key, slot=slots[key], spec=spec, pinned=pinned, exclude=exclude))
    return requests


@given(nodes(), batches())
@BOUNDED
def test_no_placement_violates_a_filter(views: dict[NodeId, NodeView], batch: list[Request]) -> None:
    for request, answer in zip(batch, place(batch, views), strict=True):
        assert answer.replica_id == request.replica_id
        if isinstance(answer, Refused):
            continue
        view = views[answer.node_id]
        node, spec = view.node, request.spec
        assert node.state is NodeState.READY
        assert node.availability is Availability.ACTIVE
        assert spec.runtime in node.info.runtimes
        assert node.id not in request.exclude
        assert request.pinned in (None, node.id)
        assert spec.container.platform != "linux/arm64" or node.info.arch == "arm64"
        assert all(not parse_constraint(text).refusal(node) for text in spec.placement.constraints)
        most = spec.placement.max_replicas_per_node
        assert not most or view.replicas.get(request.key, 0) < most
        assert not any(port.published == taken for port in spec.ports for taken, _, _ in view.host_ports)
        views[node.id] = view = charge(view, request)
        capacity = node.info.capacity
        asked = spec.reservations
        assert not asked.memory_bytes or not capacity.memory_bytes or view.reserved.memory_bytes <= capacity.memory_bytes
        assert not asked.cpus or not capacity.cpus or micro_cpus(view.reserved.cpus) <= micro_cpus(capacity.cpus)


@given(nodes(), batches())
@BOUNDED
def test_a_batch_gives_what_its_requests_give_one_by_one(views: dict[NodeId, NodeView], batch: list[Request]) -> None:
    answers = place(batch, views)
    for request, answer in zip(batch, answers, strict=True):
        (alone,) = place([request], views)
        match answer:
            case Placed():
                assert answer == alone
                views[answer.node_id] = charge(views[answer.node_id], request)
            case Refused():
                assert isinstance(alone, Refused)


@given(nodes(), batches(most=1))
@BOUNDED
def test_explain_chooses_what_place_chooses_and_sorts_it_first(views: dict[NodeId, NodeView], batch: list[Request]) -> None:
    (answer,) = place(batch, views)
    verdicts = explain(batch[0], views)
    assert {verdict.node_id for verdict in verdicts} == set(views)
    assert all(verdict.why for verdict in verdicts)
    chosen = [verdict for verdict in verdicts if verdict.chosen]
    if isinstance(answer, Placed):
        assert chosen == [verdicts[0]]
        assert (chosen[0].node_id, chosen[0].why, chosen[0].scores) == (answer.node_id, answer.why, answer.scores)
    else:
        assert not chosen
        assert not any(verdict.fits for verdict in verdicts)


@given(nodes(), batches(), st.randoms(use_true_random=False))
@BOUNDED
def test_the_order_of_the_nodes_does_not_matter(views: dict[NodeId, NodeView], batch: list[Request], random: object) -> None:
    shuffled = list(views.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert place(batch, dict(shuffled)) == place(batch, views)


@given(nodes(least=1), batches(most=1), st.integers(0, 6), st.integers(1, 8))
@BOUNDED
def test_more_capacity_never_turns_a_fit_into_a_refusal(
    views: dict[NodeId, NodeView], batch: list[Request], which: int, more: int
) -> None:
    (before,) = place(batch, views)
    node_id = sorted(views)[which % len(views)]
    node = views[node_id].node
    old = node.info.capacity
    capacity = Resources(cpus=old.cpus and old.cpus + more, memory_bytes=old.memory_bytes and old.memory_bytes + more * GIB)
    grown = dataclasses.replace(node, info=dataclasses.replace(node.info, capacity=capacity))
    (after,) = place(batch, {**views, node_id: dataclasses.replace(views[node_id], node=grown)})
    assert isinstance(after, Placed) or isinstance(before, Refused)


@given(st.integers(1, 12), st.lists(st.integers(1, 30), min_size=1, max_size=3), st.randoms(use_true_random=False))
@BOUNDED
def test_replicas_are_even_within_one_on_equal_nodes(n: int, counts: list[int], random: object) -> None:
    views = {}
    for i in range(n):
        info = NodeInfo(
            hostname=f"n{i:02}", runtimes=(RuntimeKind.DOCKER,), capacity=Resources(cpus=1000, memory_bytes=1000 * GIB)
        )
        views[NodeId(f"id{i}")] = NodeView(node=Node(id=NodeId(f"id{i}"), info=info))
    spec = ServiceSpec(name="any", reservations=Resources(cpus=0.1))
    batch = [
        Request(replica_id=ReplicaId(f"{key}{slot}"), key=key, slot=slot, spec=spec)
        for key, count in zip(KEYS, counts, strict=False)
        for slot in range(1, count + 1)
    ]
    random.shuffle(batch)  # type: ignore[attr-defined]
    placed = [(request.key, answer) for request, answer in zip(batch, place(batch, views), strict=True)]
    for service in KEYS[: len(counts)]:
        on = Counter(answer.node_id for key, answer in placed if isinstance(answer, Placed) and key == service)
        assert max(on.values()) - min(on.get(node_id, 0) for node_id in views) <= 1


@given(nodes(), batches(most=1))
@BOUNDED
def test_eligible_refuses_what_place_refuses_but_for_what_passes(views: dict[NodeId, NodeView], batch: list[Request]) -> None:
    request = dataclasses.replace(batch[0], exclude=frozenset(), pinned=None)
    fits = {verdict.node_id: verdict.fits for verdict in explain(request, views)}
    for node_id, view in views.items():
        refusal = eligible(request.spec, view)
        assert not (fits[node_id] and refusal)
        if not fits[node_id] and not request.spec.placement.max_replicas_per_node:
            assert refusal
