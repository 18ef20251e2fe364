"""Secrets and configs of an app as objects of their own: made, mounted, rotated, removed; never shown, never in plain text."""

import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from api_cluster import Cluster, refused, replica, running, with_cluster
from open_keyring import open_keyring
from rookery.model import ReplicaState
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t
from rookery_manager.sealing import cipher
from rookery_manager.sealing.cipher import new_data_key, wrap_by_passphrase
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.sealing.reading import read_file

SECRET, CONFIG = t.FILE_KIND_SECRET, t.FILE_KIND_CONFIG
PLANTED = b"planted-7f3a91"


def mount(source: str = "pw", kind: t.FileKind = SECRET, name: str = "key") -> t.FileMount:
    return t.FileMount(kind=kind, name=name, target=f"/run/secrets/{name}", source=source)


def app(*mounts: t.FileMount, service: str = "web", image: str = "web:1") -> c.ApplyRequest:
    mode = t.Mode(replicated=t.Replicated(replicas=2))
    spec = t.ServiceSpec(name=service, container=t.ContainerSpec(image=image, files=mounts), mode=mode)
    return c.ApplyRequest(app=t.AppSpec(name="shop", services=[spec]), actor="ann")


async def create(cluster: Cluster, content: bytes = PLANTED, *, kind: t.FileKind = SECRET, name: str = "pw") -> t.StoredFile:
    request = c.CreateFileRequest(app="shop", kind=kind, name=name, content=content, actor="ann")
    made: t.StoredFile = await cluster.stub.CreateFile(request)
    return made


async def rotate(cluster: Cluster, content: bytes, *, name: str = "pw") -> c.RotateFileResponse:
    request = c.RotateFileRequest(app="shop", kind=SECRET, name=name, content=content, actor="bob")
    return await cluster.stub.RotateFile(request)


async def spec_of(cluster: Cluster, service: str = "web") -> t.FileMount:
    detail = await cluster.stub.GetService(c.GetServiceRequest(app="shop", service=service))
    return detail.spec.container.files[0]


def test_made_mounted_and_rotated() -> None:
    async def scene(cluster: Cluster) -> None:
        details = await refused(cluster.stub.Apply(app(mount())), grpc.StatusCode.INVALID_ARGUMENT)
        assert details == (
            "services.web.container.files[0]: there is no secret shop/pw; make it with: rookery secret create shop/pw FILE"
        )
        assert (await create(cluster)).version == 1
        await cluster.stub.Apply(app(mount()))
        assert (await spec_of(cluster)).version == 1
        again = await cluster.stub.Apply(app(mount()))
        assert [change.kind for change in again.changes] == [c.CHANGE_KIND_KEEP]

        await cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=5))
        done = await rotate(cluster, b"another")
        assert (list(done.services), done.file.version, done.same) == (["web"], 2, False)
        service = cluster.state.services["shop/web"]  # type: ignore[index]
        assert (service.revision, service.replicas) == (2, 5), "the number of replicas is not the spec's"
        assert service.rollout is not None
        assert (service.rollout.before, service.rollout.after, service.rollout.actor) == (1, 2, "bob")
        assert cluster.state.app_revisions["shop"][2].services == {"web": 2}
        assert (await spec_of(cluster)).version == 2

        for version, content in ((1, PLANTED), (2, b"another")):
            (kept,) = cluster.state.revisions["shop/web"][version].spec.container.files  # type: ignore[index]
            read = await read_file(cluster.store, cluster.api.keyring, "shop", kept)
            assert read is not None
            assert read.content == content

        same = await rotate(cluster, b"another")
        assert (list(same.services), same.file.version, same.same) == ([], 2, True)
        everything = b"".join(change.value or b"" for change in await cluster.store.history(limit=1_000))
        for content in (PLANTED, b"another", base64.b64encode(PLANTED)):
            assert content not in everything

    with_cluster(scene)


def test_a_rotation_under_way_is_overtaken_by_the_next() -> None:
    async def scene(cluster: Cluster) -> None:
        await create(cluster)
        await cluster.stub.Apply(app(mount()))
        await rotate(cluster, b"two")
        await rotate(cluster, b"three")
        rollout = cluster.state.services["shop/web"].rollout  # type: ignore[index]
        assert rollout is not None
        assert (rollout.before, rollout.after) == (1, 3), "what was not done is not returned to"

    with_cluster(scene)


def test_what_is_in_use_stays_and_who_uses_it_is_named() -> None:
    async def scene(cluster: Cluster) -> None:
        await create(cluster)
        await cluster.stub.Apply(app(mount()))
        gone = c.RemoveFileRequest(app="shop", kind=SECRET, name="pw")
        details = await refused(cluster.stub.RemoveFile(gone), grpc.StatusCode.FAILED_PRECONDITION)
        assert details == "secret shop/pw is in use by shop/web: deploy without it first"
        listed = await cluster.stub.ListFiles(c.ListFilesRequest(app="shop", kind=SECRET))
        assert [(use.service, use.version) for use in listed.uses] == [("web", 1)]

        await cluster.stub.Apply(app(image="web:2"))
        details = await refused(cluster.stub.RemoveFile(gone), grpc.StatusCode.FAILED_PRECONDITION)
        assert "shop/web" in details, "its rollout may have to return to it"
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        listed = await cluster.stub.ListFiles(c.ListFilesRequest(kind=SECRET))
        assert [file.name for file in listed.files] == ["pw"], "it outlives its app"

    with_cluster(scene)


def test_removed_with_all_its_versions_and_never_the_same_number_again() -> None:
    async def scene(cluster: Cluster) -> None:
        await create(cluster)
        await cluster.stub.Apply(app(mount()))
        await rotate(cluster, b"two")
        service = cluster.state.services["shop/web"]  # type: ignore[index]

        await cluster.write(replace(service, revision=3, rollout=None), _without_files(cluster))
        await cluster.stub.RemoveFile(c.RemoveFileRequest(app="shop", kind=SECRET, name="pw"))
        assert not (await cluster.store.snapshot("sealed/")).entries
        assert not (await cluster.store.snapshot("secrets/")).entries
        request = c.RollbackRequest(app="shop", service="web", to=1)
        details = await refused(cluster.stub.Rollback(request), grpc.StatusCode.FAILED_PRECONDITION)
        assert "shop/web needs version 1 of secret shop/pw, which was removed" in details
        assert (await create(cluster, b"new")).version == 3, "a revision means version 1 by another content"
        assert "version 1" in await refused(cluster.stub.Rollback(request), grpc.StatusCode.FAILED_PRECONDITION)

    with_cluster(scene)


def _without_files(cluster: Cluster) -> object:

    old = cluster.state.revisions["shop/web"][2]  # type: ignore[index]
    return replace(old, number=3, spec=replace(old.spec, container=replace(old.spec.container, files=())))


def test_versions_that_nothing_can_return_to_go() -> None:
    async def scene(cluster: Cluster) -> None:
        await create(cluster)
        for content in (b"two", b"three"):
            file = (await rotate(cluster, content)).file
        assert [version.number for version in file.versions] == [3]
        assert list((await cluster.store.snapshot("sealed/")).entries) == ["sealed/shop/secret/pw/00000003"]

    with_cluster(scene)


def test_a_config_is_shown_and_a_secret_never() -> None:
    async def scene(cluster: Cluster) -> None:
        await create(cluster)
        await create(cluster, b"level=1", kind=CONFIG)
        config = await cluster.stub.GetFile(c.GetFileRequest(app="shop", kind=CONFIG, name="pw"))
        assert config.content == b"level=1"
        secret = await cluster.stub.GetFile(c.GetFileRequest(app="shop", kind=SECRET, name="pw"))
        assert not secret.HasField("content")
        assert PLANTED not in secret.SerializeToString()
        events = await cluster.stub.ListEvents(c.ListEventsRequest(subject="shop"))
        assert [(e.kind, e.subject, e.actor, e.why) for e in events.events] == [
            ("secret", "shop/pw", "ann", "version 1 of secret shop/pw was made"),
            ("config", "shop/pw", "ann", "version 1 of config shop/pw was made"),
        ]

    with_cluster(scene)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"name": "a/b"}, grpc.StatusCode.INVALID_ARGUMENT, "is no name"),
        ({"app": "Shop/"}, grpc.StatusCode.INVALID_ARGUMENT, "app: "),
        ({"content": b""}, grpc.StatusCode.INVALID_ARGUMENT, "0 bytes"),
        ({"content": bytes(1_100_000)}, grpc.StatusCode.INVALID_ARGUMENT, "1100000 bytes"),
        ({"kind": 0}, grpc.StatusCode.INVALID_ARGUMENT, "secret or config"),
        ({"name": "there"}, grpc.StatusCode.ALREADY_EXISTS, "rookery secret rotate shop/there FILE"),
    ],
)
def test_what_is_refused_says_why(fields: dict[str, object], code: grpc.StatusCode, words: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await create(cluster, name="there")
        request = c.CreateFileRequest(**{"app": "shop", "kind": SECRET, "name": "x", "content": b"1", **fields})
        assert words in await refused(cluster.stub.CreateFile(request), code)
        unknown = c.RotateFileRequest(app="shop", kind=SECRET, name="ther", content=b"1")
        assert "did you mean shop/there?" in await refused(cluster.stub.RotateFile(unknown), grpc.StatusCode.NOT_FOUND)

    with_cluster(scene)


def test_a_locked_manager_does_nothing_secret_and_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "COST", 16)
    opened = open_keyring()
    seal = wrap_by_passphrase(opened.key(), "correct horse battery")

    async def main() -> None:
        async with asyncio.timeout(30), running(keyring=Keyring(seal, tmp_path / "k", why="it is locked")) as cluster:
            locked = grpc.StatusCode.FAILED_PRECONDITION
            request = c.CreateFileRequest(app="shop", kind=SECRET, name="pw", content=b"1")
            for call in (
                cluster.stub.CreateFile(request),
                cluster.stub.Apply(app(mount())),
                cluster.stub.Plan(app(mount())),
                cluster.stub.SetLock(c.SetLockRequest(kind=t.LOCK_KIND_KEY_FILE, present="correct horse battery")),
            ):
                assert await refused(call, locked) == "it is locked"
            await cluster.stub.Apply(app(service="plain"))
            assert (await cluster.stub.GetLock(c.GetLockRequest())).locked == "it is locked"
            wrong = c.UnlockRequest(passphrase="wrong horse battery")
            assert "not the passphrase" in await refused(cluster.stub.Unlock(wrong), locked)
            status = await cluster.stub.Unlock(c.UnlockRequest(passphrase="correct horse battery", actor="ann"))
            assert status.locked == ""
            await cluster.stub.CreateFile(request)
            short = c.SetLockRequest(kind=t.LOCK_KIND_PASSPHRASE, passphrase="short", present="correct horse battery")
            assert "12 to" in await refused(cluster.stub.SetLock(short), grpc.StatusCode.INVALID_ARGUMENT)
            changed = c.SetLockRequest(
                kind=t.LOCK_KIND_PASSPHRASE, passphrase="a better one yet", present="correct horse battery"
            )
            assert (await cluster.stub.SetLock(changed)).kind == t.LOCK_KIND_PASSPHRASE
            everything = b"".join(change.value or b"" for change in await cluster.store.history(limit=1_000))
            assert b"horse" not in everything
            assert b"better" not in everything

    asyncio.run(main())


def test_where_the_key_is_lost_for_good_there_is_a_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "COST", 16)
    seal = wrap_by_passphrase(new_data_key(), "forgotten for ever")

    async def main() -> None:
        key_file = tmp_path / "secrets.key"
        keyring = open_keyring(key_file)
        async with asyncio.timeout(60), running(keyring=keyring) as cluster:
            anew = c.SetLockRequest(kind=t.LOCK_KIND_KEY_FILE, give_up=True, actor="ann")
            assert "is not locked" in await refused(cluster.stub.SetLock(anew), grpc.StatusCode.FAILED_PRECONDITION)
            await create(cluster)
            await cluster.stub.Apply(app(mount()))
            locked = Keyring(seal, key_file, why="it is locked")
            object.__setattr__(cluster.api, "keyring", locked)
            status = await cluster.stub.SetLock(anew)
            assert (status.kind, status.locked, "rotate each" in status.note) == (t.LOCK_KIND_KEY_FILE, "", True)
            (kept,) = cluster.state.revisions["shop/web"][1].spec.container.files  # type: ignore[index]
            assert await read_file(cluster.store, locked, "shop", kept) is None, "it was sealed by the lost key"
            assert (await rotate(cluster, PLANTED)).file.version == 2
            (kept,) = cluster.state.revisions["shop/web"][2].spec.container.files  # type: ignore[index]
            assert await read_file(cluster.store, locked, "shop", kept) is not None
            assert key_file.exists()

    asyncio.run(main())


def test_a_replica_that_ended_uses_nothing() -> None:
    async def scene(cluster: Cluster) -> None:

        await create(cluster)
        await cluster.stub.Apply(app(mount()))
        await cluster.stub.Apply(app(image="web:2"))

        service = cluster.state.services["shop/web"]  # type: ignore[index]
        await cluster.write(replace(service, rollout=None), replica(1, state=ReplicaState.STOPPED, revision=1))
        await cluster.stub.RemoveFile(c.RemoveFileRequest(app="shop", kind=SECRET, name="pw"))

    with_cluster(scene)
