"""What holds of every cluster and every batch: no filter is violated, the spread is even, the answers agree with each other."""

import dataclasses
from collections import Counter

from hypothesis import HealthCheck, event, given, settings
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
    Replica,
    ReplicaId,
    ReplicaState,
    Resources,
    RuntimeKind,
    ServiceKey,
    ServiceSpec,
)
from rookery_manager.scheduler import (
    NodeView,
    Placed,
    Refused,
    Request,
    Rooms,
    charge,
    eligible,
    explain,
    parse_constraint,
    place,
    view,
)
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


@given(nodes(), batches(most=12), st.sampled_from([None, NodeId("id0")]))
@BOUNDED
def test_what_surely_fits_is_placed_and_only_nodes_that_fit_matter(
    views: dict[NodeId, NodeView], batch: list[Request], without: NodeId | None
) -> None:
    asked = [dataclasses.replace(request, pinned=None, exclude=frozenset()) for request in batch]
    rooms, rest = Rooms(views.values()), {node_id: v for node_id, v in views.items() if node_id != without}
    answers = place(asked, rest)
    sure = rooms.surely_take(asked, without=without)
    event(f"sure: {sure}")
    if sure:
        assert all(isinstance(answer, Placed) for answer in answers)
    fitting = rooms.fitting(asked)
    fewer = place(asked, {node_id: v for node_id, v in rest.items() if node_id in fitting})
    taken = [answer.node_id if isinstance(answer, Placed) else None for answer in answers]
    assert [answer.node_id if isinstance(answer, Placed) else None for answer in fewer] == taken


def test_equal_replicas_surely_fit_where_the_nodes_have_room_for_each() -> None:
    def node(name: str, taken: float) -> NodeView:
        info = NodeInfo(hostname=name, capacity=Resources(cpus=4.0), runtimes=(RuntimeKind.DOCKER,))
        return NodeView(node=Node(id=NodeId(name), info=info), reserved=Resources(cpus=taken))

    spec = ServiceSpec(name="web", container=ContainerSpec(image="i"), reservations=Resources(cpus=1.0))
    asked = [Request(replica_id=ReplicaId(f"r{n}"), key=KEYS[0], slot=n, spec=spec) for n in range(1, 5)]
    scattered = Rooms([node("a", 3.0), node("b", 2.5), node("c", 2.0)])
    assert scattered.surely_take(asked)
    assert not scattered.surely_take(asked, without=NodeId("a"))
    big = dataclasses.replace(asked[0], spec=dataclasses.replace(spec, reservations=Resources(cpus=2.5)))
    assert not scattered.surely_take([big, *asked[1:]])
    assert Rooms([node("a", 4.0), node("b", 0.0)]).surely_take([big, asked[1]])  # one takes both
    full = Rooms([node("a", 4.0), node("b", 0.0)])
    assert full.fitting(asked) == {NodeId("b")}
    spread = dataclasses.replace(spec, placement=Placement(preferences=("node.labels.zone",)))
    assert full.fitting([dataclasses.replace(asked[0], spec=spread)]) == {NodeId("a"), NodeId("b")}  # what is on a is spread, too


def settle(views: dict[NodeId, NodeView], node_id: NodeId, request: Request) -> None:
    """The replica is on the node, and the one in its slot on another node is not to stay."""
    for home in [v for v in views.values() if v.node.id != node_id and request.slot in v.slots.get(request.key, ())]:
        slots = {**home.slots, request.key: home.slots[request.key] - {request.slot}}
        succeeded = {**home.succeeded, request.key: home.succeeded.get(request.key, 0) + 1}
        count = home.replica_count - 1
        views[home.node.id] = dataclasses.replace(home, slots=slots, succeeded=succeeded, replica_count=count)
    views[node_id] = charge(views[node_id], request)


@given(nodes(), batches())
@BOUNDED
def test_a_batch_gives_what_its_requests_give_one_by_one(views: dict[NodeId, NodeView], batch: list[Request]) -> None:
    answers = place(batch, views)
    for request, answer in zip(batch, answers, strict=True):
        (alone,) = place([request], views)
        match answer:
            case Placed():
                assert answer == alone
                settle(views, answer.node_id, request)
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
    for node_id, seen in views.items():
        refusal = eligible(request.spec, seen)
        assert not (fits[node_id] and refusal)
        if not fits[node_id] and not request.spec.placement.max_replicas_per_node:
            assert refusal


@given(st.integers(1, 6), st.lists(st.integers(0, 5), min_size=1, max_size=20), st.data())
@BOUNDED
def test_an_update_leaves_even_what_was_even_and_makes_even_what_was_not(
    count: int, homes: list[int], data: st.DataObject
) -> None:
    """Whatever the order and the size of its groups, and however long those before live on beside their successors."""
    key, wanted = KEYS[0], ServiceSpec(name="web")
    infos = {NodeId(f"id{i}"): NodeInfo(hostname=f"n{i}", runtimes=(RuntimeKind.DOCKER,)) for i in range(count)}
    nodes = {node_id: Node(id=node_id, info=info) for node_id, info in infos.items()}
    made = enumerate(NodeId(f"id{home % count}") for home in homes)
    replicas = [
        Replica(
            id=ReplicaId(f"a{i}"),
            app="shop",
            service="web",
            slot=i + 1,
            revision=1,
            node_id=home,
            state=ReplicaState.RUNNING,
            created_at=1.0,
        )
        for i, home in made
    ]
    order = data.draw(st.permutations(replicas))
    while order:
        group = order[: data.draw(st.integers(1, len(order)))]
        order = order[len(group) :]
        new = {r.slot for r in replicas if r.created_at == 2.0}
        old = {r.id for r in replicas if r.created_at == 1.0 and r.slot in new}
        views = {n.id: view(n, [r for r in replicas if r.node_id == n.id], {}, succeeded=old) for n in nodes.values()}
        batch = [Request(replica_id=ReplicaId(f"b{r.slot}"), key=key, slot=r.slot, spec=wanted) for r in group]
        for replica, answer in zip(group, place(batch, views), strict=True):
            assert isinstance(answer, Placed)
            replicas.append(dataclasses.replace(replica, id=answer.replica_id, node_id=answer.node_id, created_at=2.0))
    counts = Counter(dict.fromkeys(nodes, 0))
    counts.update(r.node_id for r in replicas if r.created_at == 2.0)
    assert max(counts.values()) - min(counts.values()) <= 1
