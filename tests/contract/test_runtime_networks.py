"""Agents that share an engine may make a network twice; one is left, and replicas can join it."""

import asyncio
import secrets
from typing import Any

import pytest
from rookery.model import Assignment, ContainerSpec, NetworkAttachment, NodeId, ReplicaId, ServiceSpec
from rookery_agent.runtime.docker_engine import Engine
from rookery_agent.runtime.docker_provision import Networks
from rookery_agent.runtime.docker_spec import NETWORK
from rookery_agent.runtime.place import Place


@pytest.mark.docker
def test_a_network_that_was_made_twice_is_settled(docker_client: Any) -> None:
    client = docker_client.api
    name = f"rookery-test-{secrets.token_hex(4)}_default"
    made = [client.create_network(name, driver="bridge", labels={NETWORK: "test"}, check_duplicate=False)["Id"] for _ in range(2)]

    box = ContainerSpec(image="none", networks=(NetworkAttachment(network=name),))
    spec = ServiceSpec(name="web", container=box)
    assignment = Assignment(replica_id=ReplicaId("r1"), app="test", service="web", slot=1, revision=1, spec=spec)

    async def settle() -> None:
        engine = Engine("")
        try:
            place = Place(node_id=NodeId("n1"), hostname="n1", address="127.0.0.1")
            await Networks(engine, place).ensure(assignment)
        finally:
            engine.close()

    try:
        asyncio.run(settle())
        left = [network["Id"] for network in client.networks(names=[name]) if network["Name"] == name]
        assert left == made[:1]
    finally:
        for network in client.networks(names=[name]):
            client.remove_network(network["Id"])
