"""Placements per second of one batch: python bench/scheduler.py

Every service has 100 replicas with reservations, a third of them spread over zones; the nodes are in three zones.
"""

import time

from rookery.model import Node, NodeId, NodeInfo, Placement, ReplicaId, Resources, RuntimeKind, ServiceKey, ServiceSpec
from rookery_manager.scheduler import NodeView, Placed, Request, place

GIB = 1 << 30


def nodes(count: int) -> dict[NodeId, NodeView]:
    made = {}
    for i in range(count):
        capacity = Resources(cpus=16, memory_bytes=64 * GIB)
        labels = {"zone": "abc"[i % 3]}
        info = NodeInfo(hostname=f"n{i}", arch="amd64", capacity=capacity, runtimes=(RuntimeKind.DOCKER,), labels=labels)
        made[NodeId(f"id{i}")] = NodeView(node=Node(id=NodeId(f"id{i}"), info=info))
    return made


def requests(count: int) -> list[Request]:
    specs = []
    for i in range(count // 100):
        preferences = ("node.labels.zone",) if i % 3 == 0 else ()
        placement = Placement(constraints=("node.platform.os == linux",), preferences=preferences)
        specs.append(ServiceSpec(name=f"s{i}", reservations=Resources(cpus=0.1, memory_bytes=GIB // 4), placement=placement))
    return [
        Request(replica_id=ReplicaId(f"{spec.name}.{slot}"), key=ServiceKey(f"app/{spec.name}"), slot=slot, spec=spec)
        for slot in range(1, 101)
        for spec in specs
    ]


def main() -> None:
    for replicas, machines in ((1_000, 300), (10_000, 5_000)):
        views, batch = nodes(machines), requests(replicas)
        started = time.perf_counter()
        answers = place(batch, views)
        took_s = time.perf_counter() - started
        placed = sum(isinstance(answer, Placed) for answer in answers)
        print(f"{replicas} replicas on {machines} nodes: {took_s:.2f} s, {placed / took_s:,.0f} placed a second")
    print("Kubernetes' scheduler: 680-810 pods a second are the gates of its own scalability tests (its documentation's figure)")


if __name__ == "__main__":
    main()
