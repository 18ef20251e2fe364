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
        for spec in specs
        for slot in range(1, 101)
    ]


def main() -> None:
    for replicas, machines in ((1_000, 300), (10_000, 5_000)):
        views = nodes(machines)
        batch = requests(replicas)
        for order, ordered in (("service by service", batch), ("all services in turn", sorted(batch, key=lambda r: r.slot))):
            started, started_cpu = time.perf_counter(), time.process_time()
            answers = place(ordered, views)
            took_s, took_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
            placed = sum(isinstance(answer, Placed) for answer in answers)
            rate = f"{placed / took_s:,.0f} placed a second ({placed / took_cpu_s:,.0f} a second of CPU)"
            print(f"{replicas} replicas on {machines} nodes, {order}: {took_s:.2f} s, {rate}")
    print("Kubernetes' scheduler: 680-810 pods a second are the gates of its own scalability tests (its documentation's figure)")


if __name__ == "__main__":
    main()
