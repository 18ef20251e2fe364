"""The whole way with the real parts and plain processes as replicas: up, deploy, requests, scale, logs, a dead manager, down."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from rookery.cli.local import record

SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(os.environ["ROOKERY_SLOT"].encode())
print("listening", os.environ["ROOKERY_SLOT"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


class Shell:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("ROOKERY", "COMPOSE"))}
        self.env["ROOKERY_CREDENTIAL"] = str(data / "manager" / "admin.pem")

    def __call__(self, *args: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "rookery.cli.main", *args]
        done = subprocess.run(command, env=self.env, cwd=self.data.parent, capture_output=True, text=True, timeout=100)
        assert done.returncode == status, f"{args}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json"))


@pytest.fixture
def rookery(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "data")
    shell("up", "--data", str(shell.data), "--port", str(free_port()), "--nodes", "2", "--runtime", "process", "--detach")
    found = record.read(shell.data)
    assert found is not None
    shell.env["ROOKERY_MANAGER"] = found.manager
    yield shell
    shell("down", "--data", str(shell.data))


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def ask(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return f"status {error.code}"
    except OSError as error:
        return str(error)


def test_the_whole_way(rookery: Shell, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "serve.py").write_text(SERVER)
    web = {
        "command": [sys.executable, str(tmp_path / "serve.py")],
        "deploy": {"replicas": 2},
        "ports": [f"{port}:80"],
        "x-rookery": {"runtime": "process", "health": {"tcp": {"port": 80}}},
    }
    (tmp_path / "compose.yml").write_text(json.dumps({"name": "shop", "services": {"web": web}}))
    assert "shop is ready after" in rookery("deploy")
    assert [d["replica"]["name"] for d in rookery.json("ps", "shop")] == ["shop/web.1", "shop/web.2"]
    eventually(lambda: {ask(port) for _ in range(10)} == {"1", "2"}, "both replicas answer")

    def seen() -> bool:
        ask(port)
        return bool(rookery.json("top", "services", "shop", "--interval", "1")["services"][0]["responses_2xx"])

    eventually(seen, "the proxies' figures are at the manager")
    assert "web.2@n" in rookery("logs", "shop/web")
    assert rookery.json("scale", "shop/web=4")["outcome"] == "converged"
    eventually(lambda: {ask(port) for _ in range(20)} == {"1", "2", "3", "4"}, "all four answer")

    known = record.read(rookery.data)
    assert known is not None
    manager = next(part for part in known.parts if part.name == "manager")
    before = {d["replica"]["id"] for d in rookery.json("ps")}
    record.send(manager, signal.SIGKILL)
    assert ask(port) in {"1", "2", "3", "4"}
    eventually(lambda: manager not in getattr(record.read(rookery.data), "parts", (manager,)), "the manager is started again")
    eventually(lambda: "2 of 2 nodes ready" in rookery("version"), "it knows what it knew")
    assert {d["replica"]["id"] for d in rookery.json("ps")} == before
    assert "scaled to 2 replicas, none is replaced" in rookery("plan")  # as the file says
    assert "removed" in rookery("rm", "shop")
    assert rookery.json("ps") == []
