"""Values planted as secrets and configs, in every way there is, and then searched for wherever they must not be."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from busybox_image import archive, busybox
from click.testing import CliRunner
from ports import free_port
from rookery.cli.main import cli
from rookery_agent.runtime.files import in_memory

PATIENCE_S = 60.0


class Cluster:
    """A manager and one agent as processes, and the command line; all that any of them writes is under `folder`."""

    def __init__(self, folder: Path, runtime: str, values: Mapping[str, bytes]) -> None:
        self.folder = folder
        self.values = values
        self.printed: list[bytes] = []
        self._runtime = runtime
        self._address = ""
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, part: str) -> None:
        data = self.folder / part
        if part == "manager":
            (data / "address").unlink(missing_ok=True)
            flags = ["--listen", self._address or f"127.0.0.1:{free_port()}"]
        else:
            token = str(self.folder / "manager" / "agent.token")
            flags = ["--manager", self._address, "--token-file", token, "--name", "n1", "--runtime", self._runtime]
            flags += ["--address", "127.0.0.1"]
        command = [sys.executable, "-m", f"rookery_{part}.main", "--data", str(data), "--log-level", "debug", *flags]
        with (self.folder / f"{part}.log").open("ab") as log:
            self.running[part] = subprocess.Popen(command, stdout=log, stderr=log)
        if part == "manager":
            file = data / "address"
            until(lambda: file.exists() and file.read_text().endswith("\n"), "the manager listens")
            self._address = file.read_text().strip()

    def end(self, part: str, number: signal.Signals = signal.SIGTERM) -> None:
        process = self.running.pop(part, None)
        if process is not None:
            process.send_signal(number)
            process.wait(PATIENCE_S)

    def _env(self) -> dict[str, str]:
        return {
            "ROOKERY_CREDENTIAL": str(self.folder / "manager" / "admin.pem"),
            "ROOKERY_MANAGER": self._address,
            "PLANTED": self.values["environment"].decode(),
        }

    def __call__(self, *args: str, stdin: bytes = b"") -> bytes:
        """A command as a process of its own."""
        known = {key: value for key, value in os.environ.items() if not key.startswith(("ROOKERY", "COMPOSE"))}
        command = [sys.executable, "-m", "rookery.cli.main", *args]
        done = subprocess.run(
            command, env=known | self._env(), cwd=self.folder / "app", input=stdin, capture_output=True, timeout=120
        )
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        self.printed += [done.stdout, done.stderr]
        return done.stdout

    def look(self, *args: str) -> bytes:
        """A command in this process, which is sooner done."""
        done = CliRunner().invoke(cli, args, env=self._env())
        assert done.exit_code == 0, (args, done.output)
        self.printed.append(done.output_bytes)
        return done.stdout_bytes

    def json(self, *args: str) -> Any:
        return json.loads(self.look(*args, "--json"))


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def forms(value: bytes) -> list[bytes]:
    """The value as it might be written down."""
    coded = [base64.b64encode(b"x" * shift + value)[4:-4] for shift in range(3)]  # wherever it begins in something longer
    return [value, value.hex().encode(), *coded]


@contextmanager
def command_lines_watched(values: Mapping[str, bytes]) -> Iterator[None]:
    """Fails where any process of this machine has one of them on its command line meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                seen.update(name for name, value in values.items() if value in line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert not seen


@pytest.fixture(params=["process", "docker"])
def image(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of the engine's replicas; empty for plain processes."""
    if request.param == "process":
        yield ""
        return
    docker = pytest.importorskip("docker")
    program = busybox()
    if program is None:
        pytest.skip("no static busybox on this machine, and it can't be installed")
    try:
        client = docker.from_env(timeout=60)
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    name = f"rookery-planted-{uuid.uuid4().hex[:8]}"
    client.api.import_image_from_data(archive(program), repository=name, tag="1")
    yield f"{name}:1"
    client.images.remove(f"{name}:1", force=True)
    client.close()


@pytest.fixture
def values() -> Mapping[str, bytes]:
    ways = ("file", "environment", "external", "rotated", "config")
    return {way: f"planted-{way}-{uuid.uuid4().hex}".encode() for way in ways}


@pytest.fixture
def cluster(tmp_path: Path, image: str, values: Mapping[str, bytes]) -> Iterator[Cluster]:
    made = Cluster(tmp_path, "docker" if image else "process", values)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "token.txt").write_bytes(values["file"])
    root = "" if image else "$$ROOKERY_FILES"
    files = " ".join(f"{root}/run/secrets/{name}" for name in ("from_file", "from_env", "outside")) + f" {root}/etc/app.conf"
    web = {
        **({"image": image, "pull_policy": "never"} if image else {}),
        "command": ["sh", "-c", f"md5sum {files}; exec sleep 1000"],
        "stop_grace_period": "1s",
        "secrets": ["from_file", "from_env", "outside"],
        "configs": [{"source": "conf", "target": "/etc/app.conf"}],
        "deploy": {"update_config": {"monitor": "0s"}},
        "x-rookery": {} if image else {"runtime": "process"},
    }
    app = {
        "name": "shop",
        "services": {"web": web},
        "secrets": {
            "from_file": {"file": "token.txt"},
            "from_env": {"environment": "PLANTED"},
            "outside": {"external": True, "name": "pw"},
        },
        "configs": {"conf": {"external": True}},
    }
    (tmp_path / "app" / "compose.yml").write_text(json.dumps(app))
    try:
        made.start("manager")
        made.start("agent")
        yield made
    finally:
        for part in reversed(tuple(made.running)):
            made.end(part)


def test_nothing_planted_is_found_where_it_must_not_be(
    cluster: Cluster, image: str, values: Mapping[str, bytes], tmp_path: Path
) -> None:
    def given(name: str) -> bool:
        """Whether the latest replica has read that value."""
        return hashlib.md5(values[name]).hexdigest().encode() in cluster.look("logs", "shop/web")

    with command_lines_watched(values):
        cluster("secret", "create", "shop/pw", stdin=values["external"])
        (tmp_path / "app" / "app.conf").write_bytes(values["config"])
        cluster("config", "create", "shop/conf", "app.conf")
        cluster("deploy")
        for name in ("file", "environment", "external", "config"):
            until(lambda name=name: given(name), f"the replica has read what came by {name}")  # type: ignore[misc]
        cluster("secret", "rotate", "shop/pw", stdin=values["rotated"])
        until(lambda: given("rotated"), "the next replica has read the next version")
        assert cluster.look("config", "inspect", "shop/conf").count(values["config"]) == 1
        cluster.printed.pop()  # a config may be shown
        cluster.look("admin", "backup", str(tmp_path / "backup.db"))
        compose = ("-f", str(tmp_path / "app" / "compose.yml"))

        (replica,) = [r["replica"] for r in cluster.json("ps", "shop")]
        for args in (
            ("events",), ("events", "shop"), ("audit",), ("history", "shop/web"), ("history", "shop"), ("inspect", "shop"),
            ("inspect", "shop/web"), ("inspect", replica["id"]), ("inspect", "n1"), ("explain", "shop/web"), ("services",),
            ("ps",), ("secret", "ls"), ("secret", "inspect", "shop/pw"), ("config", "ls"), ("config", *compose),
            ("plan", *compose),
        ):  # fmt: skip
            cluster.look(*args, "--json")
        for args in (("inspect", "shop/web"), ("secret", "inspect", "shop/pw"), ("history", "shop/web"), ("events", "shop")):
            cluster.look(*args)

        node_id = (tmp_path / "agent" / "node-id").read_text().strip()
        lying = in_memory(node_id, wanted=None, fallback=tmp_path / "agent" / "files")
        wanted = {values[name] for name in ("file", "environment", "rotated", "config")}
        until(lambda: _read(lying.root) == wanted, "the node has what its replica needs, and nothing of the one before")
        before = cluster.json("ps", "shop")[0]["replica"]
        cluster.end("agent", signal.SIGKILL)
        cluster.start("agent")
        until(lambda: _is_ready(cluster), "the node is back")
        after = cluster.json("ps", "shop")[0]["replica"]
        assert (after["id"], after["container_id"]) == (before["id"], before["container_id"]), "it outlives its agent"
        assert _read(lying.root) == wanted

    found = [f"{name} in what was printed" for name, value in values.items() if _in(b"".join(cluster.printed), value)]
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.parent != tmp_path / "app" and lying.root not in path.parents:
            content = path.read_bytes()
            found += [f"{name} in {path.relative_to(tmp_path)}" for name, value in values.items() if _in(content, value)]
            if "replicas" not in path.parts:
                digests = {name: hashlib.sha256(value).hexdigest().encode() for name, value in values.items()}
                found += [f"digest of {name} in {path}" for name, digest in digests.items() if digest in content]
    assert found == []
    if image:
        _search_engine(replica["container_id"], values)
    cluster.look("rm", "shop", "--yes")
    until(lambda: not any(lying.root.glob("*")), "they are gone with the replica")


def _read(folder: Path) -> set[bytes]:
    found = set()
    with suppress(FileNotFoundError):  # it is looked at while some of it is removed
        for path in folder.rglob("*"):
            if path.is_file():
                found.add(path.read_bytes())
    return found


def _is_ready(cluster: Cluster) -> bool:
    return "connected to the manager" in (cluster.folder / "agent.log").read_text().rpartition("instances of this node")[2]


def _in(content: bytes, value: bytes) -> bool:
    return any(form in content for form in forms(value))


def _search_engine(container_id: str, values: Mapping[str, bytes]) -> None:
    """What the engine says of the container, and its own layer."""
    for command in (["inspect", container_id], ["export", container_id]):
        said = subprocess.run(["docker", *command], capture_output=True, check=True, timeout=60).stdout
        assert [name for name, value in values.items() if _in(said, value)] == [], command


def test_the_search_finds_what_is_there() -> None:
    value = b"planted-value-of-some-length"
    for content in (
        b"xx" + value + b"yy",
        base64.b64encode(b"1234567" + value + b"12"),
        base64.b64encode(b"12345678" + value + b"1"),
        value.hex().encode(),
    ):
        assert _in(content, value)
    assert not _in(b"nothing at all", value)
