"""`rookery secret`, `config` and `admin lock`, with a real manager: what is asked, what is said, what is refused."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ports import free_port
from rookery.cli.main import cli

PASSPHRASE = "correct horse battery"


class Manager:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.address = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        file = self.data / "address"
        file.unlink(missing_ok=True)
        flags = ["--listen", self.address, "--data", str(self.data), "--log-level", "error"]
        self._process = subprocess.Popen([sys.executable, "-m", "rookery_manager.main", *flags])
        deadline = time.monotonic() + 60
        while not (file.exists() and file.read_text().endswith("\n")):
            assert time.monotonic() < deadline, "the manager does not listen"
            assert self._process.poll() is None
            time.sleep(0.02)

    def end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def __call__(self, *args: str, stdin: str | bytes = "", status: int = 0) -> Result:
        env = {"ROOKERY_MANAGER": self.address, "ROOKERY_CREDENTIAL": str(self.data / "admin.pem"), "ROOKERY_INSECURE": None}
        done = CliRunner().invoke(cli, args, input=stdin, env=env)
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.output
        return done

    def json(self, *args: str, stdin: str = "") -> Any:
        return json.loads(self(*args, "--json", stdin=stdin).stdout)


@pytest.fixture(scope="module")
def rookery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    made = Manager(tmp_path_factory.mktemp("manager"))
    made.start()
    yield made
    made.end()


def test_a_secret_from_its_making_to_its_end(rookery: Manager) -> None:
    done = rookery("secret", "create", "shop/pw", stdin=b"hunter2\n")
    assert done.stdout == "secret shop/pw is made, at version 1\n"
    assert "secrets: { pw: { external: true } }" in done.stderr
    (listed,) = rookery.json("secret", "ls", "shop")
    assert (listed["app"], listed["name"], listed["versions"][0]["size_bytes"], listed["uses"]) == ("shop", "pw", 8, [])
    assert "shop/pw" in rookery("secret", "ls").stdout
    assert rookery.json("secret", "ls", "other") == []
    assert "used by: no service" in rookery("secret", "inspect", "shop/pw").stdout
    assert rookery("secret", "rotate", "shop/pw", stdin="2").stdout == "secret shop/pw is at version 2 now\n"
    assert "is that already" in rookery("secret", "rotate", "shop/pw", stdin="2").stdout
    assert rookery.json("secret", "rotate", "shop/pw", stdin="3")["version"] == 3
    assert "hunter2" not in "".join(rookery(*args).output for args in (("secret", "inspect", "shop/pw"), ("events",), ("audit",)))
    assert rookery("secret", "rm", "shop/pw").stdout == "removed secret shop/pw\n"
    assert "no secret shop/pw" in rookery("secret", "rm", "shop/pw", status=1).stderr


def test_a_config_is_shown(rookery: Manager, tmp_path: Path) -> None:
    (tmp_path / "app.conf").write_bytes(b"level=1")
    rookery("config", "create", "shop/conf", str(tmp_path / "app.conf"))
    assert rookery("config", "inspect", "shop/conf").stdout.endswith("level=1\n")
    assert rookery.json("config", "inspect", "shop/conf")["content"] == "level=1"
    rookery("config", "rotate", "shop/conf", stdin=b"\xff\xfe")
    assert rookery.json("config", "inspect", "shop/conf")["content_base64"] == "//4="
    rookery("config", "rm", "shop/conf")


@pytest.mark.parametrize(
    ("args", "stdin", "status", "words"),
    [
        (("secret", "create", "pw"), "x", 2, "belongs to an app, and goes by APP/NAME, as in shop/pw"),
        (("secret", "create", "shop/"), "x", 2, "belongs to an app"),
        (("secret", "create", "shop/pw"), "", 2, "0 bytes"),
        (("secret", "create", "shop/pw", "/nowhere/file"), "", 2, "/nowhere/file"),
        (("secret", "rotate", "shop/pw"), "x", 1, "no secret shop/pw"),
        (("admin", "passphrase"), "", 2, "rookery admin lock on"),
        (("admin", "lock", "on"), "", 2, "no line for it on the standard input"),
        (("admin", "lock", "on"), "short\n", 2, "12 to"),
    ],
)
def test_what_is_refused(rookery: Manager, args: tuple[str, ...], stdin: str, status: int, words: str) -> None:
    assert words in rookery(*args, stdin=stdin, status=status).stderr


def test_locked_and_unlocked(rookery: Manager) -> None:
    key_file = rookery.data / "secrets.key"
    assert f"opened by the key file {key_file}; unlocked now" in rookery("admin", "lock").stdout
    rookery("secret", "create", "vault/kept", stdin="value")
    assert "opened by a passphrase; unlocked now" in rookery("admin", "lock", "on", stdin=f"{PASSPHRASE}\n").stdout
    assert not key_file.exists()
    rookery("admin", "backup", str(rookery.data / "then.db"))
    rookery.end()
    rookery.start()
    done = rookery("admin", "lock")
    assert "opened by a passphrase; locked now" in done.stdout
    assert "rookery admin unlock" in done.stderr
    assert rookery.json("secret", "ls", "vault")[0]["name"] == "kept"
    assert "is locked" in rookery("secret", "create", "shop/more", stdin="x", status=1).stderr
    assert "that is not the passphrase" in rookery("admin", "unlock", stdin="wrong horse battery\n", status=1).stderr
    assert rookery.json("admin", "unlock", stdin=f"{PASSPHRASE}\n")["locked"] == ""
    rookery("admin", "passphrase", stdin=f"{PASSPHRASE}\nanother horse battery\n")
    assert "not the passphrase" in rookery("admin", "lock", "off", stdin=f"{PASSPHRASE}\n", status=1).stderr
    rookery("admin", "lock", "off", stdin="another horse battery\n")
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert "attempt" in rookery("audit").stdout

    rookery.end()  # a backup from when there was a passphrase is opened as the store that it replaces
    restored = rookery("admin", "restore", str(rookery.data / "then.db"), "--data", str(rookery.data)).stdout
    assert "its secrets and configs are opened by the manager's key file" in restored
    rookery.start()
    assert rookery("secret", "rotate", "vault/kept", stdin="value").stdout.endswith("is that already, nothing is changed\n")

    rookery.end()
    right = key_file.read_bytes()
    key_file.write_bytes(right[:20])
    rookery.start()
    assert f"the key file {key_file} is damaged" in rookery("admin", "lock").stderr
    assert "is damaged" in rookery("admin", "unlock", status=1).stderr
    key_file.write_bytes(right)
    assert "unlocked now" in rookery("admin", "unlock").stdout
