"""Backup: what comes is the store, and its size and digest say so."""

import hashlib
from pathlib import Path

import grpc
import pytest
from api_cluster import Cluster, node, with_cluster
from rookery.v1 import control_pb2 as c
from rookery_manager.restoring import examine


async def received(cluster: Cluster) -> list[c.BackupChunk]:
    return [chunk async for chunk in cluster.stub.Backup(c.BackupRequest())]


def test_a_backup_is_the_store(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.add_nodes(2_000)
        first, *parts, last = await received(cluster)
        content = b"".join(part.data for part in parts)
        assert (first.size_bytes, last.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert len(content) > 256 << 10  # several pieces
        (tmp_path / "backup.db").write_bytes(content)
        assert examine(tmp_path / "backup.db").counts == {"nodes": 2_000}
        await cluster.write(node(2_001), why="joined")
        assert not list((tmp_path / "snapshots").iterdir())

    with_cluster(scene, data=tmp_path)


def test_a_place_that_cannot_be_written_is_named() -> None:
    async def scene(cluster: Cluster) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await received(cluster)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the store: /nowhere/snapshots: No such file or directory"

    with_cluster(scene)
