"""The provider `process`: agents as processes on the manager's machine, which run replicas as plain processes. For trying out.

An agent is found by the data directory on its command line, and so are the supervisors of its replicas, which outlive an agent
that was killed: nothing needs to be written down, and nothing is forgotten.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from rookery_manager.providers.contract import Failed
from rookery_manager.providers.serving import serve

STOP_S = 60.0  # for an agent that still has replicas to move away
LOOK_S = 0.05


def create(asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["node"]["name"]
    home = _home(asked, name)
    if not _agents(home):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [sys.executable, "-m", "rookery_agent.main", *asked["agent"]]
        command += ["--data", str(home), "--runtime", "process", "--address", "127.0.0.1", "--on-stop", "drain"]
        with (home / "agent.log").open("ab") as log:
            environment = {**os.environ, "ROOKERY_TOKEN": asked.get("token", "")}
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=home, env=environment
            )
    return {"id": f"process/{name}"}


def delete(asked: dict[str, Any]) -> dict[str, Any]:
    home = _home(asked, asked["node"]["name"])
    deadline = time.monotonic() + STOP_S
    for agent in _agents(home):
        agent.terminate()
    while _agents(home):
        if time.monotonic() > deadline:
            raise Failed(f"the agent in {home} did not stop within {STOP_S:g} s")
        time.sleep(LOOK_S)
    _end_replicas(home, deadline)
    shutil.rmtree(home, ignore_errors=True)
    return {}


def list_nodes(asked: dict[str, Any]) -> dict[str, Any]:
    root = Path(asked["data"])
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    return {"nodes": [{"id": f"process/{name}", "name": name} for name in names if _agents(root / name)]}


def _home(asked: dict[str, Any], name: str) -> Path:
    return Path(asked["data"]) / name


def _end_replicas(home: Path, deadline: float) -> None:
    """Kills what an agent that was killed left running; its supervisors end with what they run."""
    while supervisors := _living(lambda words: _is_supervisor(words) and any(word.startswith(f"{home}/") for word in words)):
        if time.monotonic() > deadline:
            raise Failed(f"replicas in {home} did not stop within {STOP_S:g} s")
        for supervisor in supervisors:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in supervisor.children(recursive=True):
                    process.kill()
        time.sleep(LOOK_S)


def _is_supervisor(words: list[str]) -> bool:
    return any(word.endswith("/supervisor.py") for word in words)


def _agents(home: Path) -> list[psutil.Process]:
    """The living agents with this data directory."""
    return _living(lambda words: "rookery_agent.main" in words and str(home) in words)


def _living(fits: Callable[[list[str]], bool]) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline", "status"])
    return [p for p in found if p.info["status"] != psutil.STATUS_ZOMBIE and fits(p.info["cmdline"] or [])]


if __name__ == "__main__":
    serve(create=create, delete=delete, list_nodes=list_nodes)
