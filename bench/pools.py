"""How long the manager's loop is held up by one plan of a big pool with --spare 1: python bench/pools.py

Each node has ten replicas of services drawn at random, which reserve `fill` of it together; some nodes are empty.
"""

import random
import time

from rookery.model import (
    POOL_LABEL,
    ContainerSpec,
    MemberState,
    Node,
    NodeId,
    NodeInfo,
    Pool,
    PoolMember,
    PoolSpec,
    ProviderKind,
    ReplicaId,
    Resources,
    RuntimeKind,
    ServiceKey,
    ServiceSpec,
)
from rookery_manager.planners.pool import plan_pool
from rookery_manager.planners.pool_room import Load, PoolView
from rookery_manager.scheduler import NodeView, Request, charge

CPUS, PER_NODE = 4.0, 10


def pool(nodes: int, services: int, *, fill: float, empty: int) -> PoolView:
    rng = random.Random(1)
    share = Resources(cpus=CPUS * fill / PER_NODE)
    specs = [ServiceSpec(name=f"s{i}", container=ContainerSpec(image="i"), reservations=share) for i in range(services)]
    views, loads = {}, {}
    for number in range(nodes):
        name = f"p-{number}"
        info = NodeInfo(
            hostname=name, capacity=Resources(cpus=CPUS), runtimes=(RuntimeKind.DOCKER,), labels={POOL_LABEL: "p"}
        )  # fmt: skip
        view = NodeView(node=Node(id=NodeId(name), info=info))
        residents = []
        for slot in range(number * PER_NODE, (number + 1) * PER_NODE if number >= empty else number * PER_NODE):
            spec = rng.choice(specs)
            request = Request(replica_id=ReplicaId(f"r{slot}"), key=ServiceKey(f"shop/{spec.name}"), slot=slot + 1, spec=spec)
            view = charge(view, request)
            residents.append(request)
        views[NodeId(name)] = view
        loads[NodeId(name)] = Load(residents=tuple(residents), left=len(residents))
    members = tuple(PoolMember(name=name, state=MemberState.JOINED) for name in views)
    spec_of_pool = PoolSpec(provider=ProviderKind.COMMAND, min=1, max=2 * nodes, spare=1)
    return PoolView(pool=Pool(name="p", spec=spec_of_pool, members=members, seen=info), nodes=views, loads=loads)


def main() -> None:
    for nodes, services, fill, empty in (
        (200, 1, 0.9, 2), (200, 20, 0.5, 0), (200, 20, 0.9, 2), (200, 20, 1.0, 1), (200, 20, 1.0, 0), (1000, 100, 0.9, 2),
    ):  # fmt: skip
        view = pool(nodes, services, fill=fill, empty=empty)
        took = []
        for _ in range(3):
            began = time.perf_counter()
            plan_pool(view, 1000.0)
            took.append(time.perf_counter() - began)
        told = f"{nodes:5} nodes ({empty} empty), {services:3} services, {100 * fill:3.0f} % reserved"
        print(f"{told}: {1000 * min(took):.0f} ms")


if __name__ == "__main__":
    main()
