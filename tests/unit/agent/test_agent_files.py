"""Where the secrets and configs of replicas lie: in memory, for one reader, whole, and gone with the replica."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rookery.model import (
    Argv,
    Assignment,
    ContainerSpec,
    FileContent,
    FileKind,
    FileMount,
    NodeId,
    ReplicaId,
    ServiceSpec,
)
from rookery_agent.assignments import Copy, Held, complete, load, take_delta, take_set
from rookery_agent.runtime import files
from rookery_agent.runtime.files import ReplicaFiles, in_memory
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.process import ProcessRuntime
from rookery_agent.runtime.protocol import RuntimeFailure

SECRET = FileMount(kind=FileKind.SECRET, name="key", target="/run/secrets/key", mode=0o400, source="pw", version=2)
CONFIG = FileMount(kind=FileKind.CONFIG, name="conf", target="/etc/app.conf", digest="d" * 64)
CONTENTS = (
    FileContent(kind=FileKind.SECRET, name="key", content=b"planted\n", digest=""),
    FileContent(kind=FileKind.CONFIG, name="conf", content=b"level=1\n", digest="d" * 64),
)


def assigned(*mounts: FileMount, contents: tuple[FileContent, ...] = CONTENTS, replica_id: str = "r1") -> Assignment:
    spec = ServiceSpec(name="web", container=ContainerSpec(image="web:1", files=mounts))
    return Assignment(replica_id=ReplicaId(replica_id), app="shop", service="web", slot=1, revision=1, spec=spec, files=contents)


def kept(tmp_path: Path) -> ReplicaFiles:
    return ReplicaFiles(tmp_path / "rookery" / "n1", in_memory=True)


def test_files_lie_at_their_targets_for_their_reader_alone(tmp_path: Path) -> None:
    me = (os.geteuid(), os.getegid())
    placed = kept(tmp_path).put(assigned(SECRET, CONFIG), reader=me)
    folder = tmp_path / "rookery" / "n1" / "r1"
    assert placed == {SECRET: folder / "run/secrets/key", CONFIG: folder / "etc/app.conf"}
    assert placed[SECRET].read_bytes() == b"planted\n"
    assert [path.stat().st_mode & 0o7777 for path in (*placed.values(), folder, folder.parent)] == [0o400, 0o444, 0o700, 0o711]
    assert (placed[SECRET].stat().st_uid, placed[SECRET].stat().st_gid) == me


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_as_the_spec_says(tmp_path: Path) -> None:
    placed = kept(tmp_path).put(assigned(replace(SECRET, uid="103", gid="7"), CONFIG), reader=(5, 6))
    assert [(path.stat().st_uid, path.stat().st_gid) for path in placed.values()] == [(103, 7), (5, 6)]


def test_what_is_there_is_used_by_an_agent_that_has_no_contents_any_more(tmp_path: Path) -> None:
    first = kept(tmp_path).put(assigned(SECRET))
    assert kept(tmp_path).put(assigned(SECRET, contents=())) == first


def test_what_is_not_there_is_named_and_nothing_is_left_half_made(tmp_path: Path) -> None:
    for a, words in (
        (assigned(SECRET, contents=()), "secret key is not here"),
        (assigned(replace(CONFIG, digest="e" * 64)), "not the one that its spec means"),
        (assigned(SECRET, replace(CONFIG, uid="www")), "uid and gid must be numbers"),
        (assigned(SECRET, replace(CONFIG, target="/../etc/passwd")), "no path of a file"),
        (assigned(replace(SECRET, target="/")), "no path of a file"),
    ):
        with pytest.raises(RuntimeFailure, match=words):
            kept(tmp_path).put(a)
        assert not (tmp_path / "rookery" / "n1" / "r1").exists()
    kept(tmp_path).put(assigned(SECRET))


def test_files_go_with_the_replica_and_strays_with_the_next_look(tmp_path: Path) -> None:
    here = kept(tmp_path)
    for replica_id in ("r1", "r2", "r3"):
        here.put(assigned(SECRET, replica_id=replica_id))
    here.drop(ReplicaId("r1"))
    (here.root / ".r4").mkdir()
    here.sweep({ReplicaId("r2")})
    assert [path.name for path in here.root.iterdir()] == ["r2"]
    here.drop(ReplicaId("r2"))
    assert not here.root.exists()
    kept(tmp_path / "nowhere").sweep(())


def test_a_place_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rookery").mkdir()
    (tmp_path / "rookery").chmod(0o777)
    with pytest.raises(RuntimeFailure, match="others can write there"):
        kept(tmp_path).put(assigned(SECRET))


def test_a_tmpfs_is_chosen_and_else_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kinds = {"/": "ext4", str(tmp_path / "mem"): "tmpfs"}
    monkeypatch.setattr(files, "_file_systems", lambda: kinds)
    (tmp_path / "mem").mkdir()
    found = in_memory("n1", wanted=tmp_path / "mem" / "own", fallback=tmp_path / "data")
    assert (found.root, found.in_memory) == (tmp_path / "mem" / "own" / "n1", True)
    assert not caplog.records
    found = in_memory("n1", wanted=tmp_path / "disk", fallback=tmp_path / "data")
    assert (found.root, found.in_memory) == (tmp_path / "disk" / "n1", False)
    found = in_memory("n1", wanted=None, fallback=tmp_path / "data")
    assert (found.root, found.in_memory) == (tmp_path / "data" / "n1", False)
    assert [str(tmp_path / "data") in record.message for record in caplog.records] == [False, True]
    found.put(assigned(SECRET))
    assert "lie on a disk" in caplog.records[-1].message


def test_a_locked_manager_takes_no_contents_away() -> None:
    held = take_set(Held(), 1, (assigned(SECRET, CONFIG),))
    bare = assigned(SECRET, CONFIG, contents=())
    assert complete(take_set(held, 2, (bare,)))
    assert complete(take_delta(held, 1, 2, (bare,), ()))
    other = assigned(replace(SECRET, version=3), CONFIG, contents=())
    assert not complete(take_set(held, 2, (other,))), "those are of another revision"


def test_no_content_is_on_disk() -> None:
    data = Copy().of(take_set(Held(), 1, (assigned(SECRET, CONFIG),)))
    assert b"planted" not in data
    assert not complete(load(data))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run processes as somebody else")
def test_a_process_of_another_user_reads_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        here = in_memory("test-of-a-user", wanted=None, fallback=tmp_path / "files")
        runtime = ProcessRuntime(
            Place(node_id=NodeId("test-of-a-user"), hostname="n1", address="127.0.0.1"), tmp_path / "data", here
        )
        a = assigned(SECRET)
        script = "cat $ROOKERY_FILES/run/secrets/key; exec sleep 100"
        container = replace(a.spec.container, user="65534:65534", command=Argv(args=("sh", "-c", script)), working_dir="/")
        a = replace(a, spec=replace(a.spec, container=container))
        await runtime.list()
        try:
            await runtime.start(a)
            async with asyncio.timeout(60):
                lines = [line.line async for line in runtime.logs(a.replica_id, follow=False, tail=-1, since_at=0.0)]
                while lines != [b"planted"]:
                    await asyncio.sleep(0.05)
                    lines = [line.line async for line in runtime.logs(a.replica_id, follow=False, tail=-1, since_at=0.0)]
        finally:
            await runtime.remove(a.replica_id)
            await runtime.close()
        assert not here.folder(a.replica_id).exists()

    asyncio.run(main())
