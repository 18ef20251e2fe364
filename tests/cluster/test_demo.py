"""`make demo` without an engine: it ends well, says what it must, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def test_the_demo_runs_as_processes_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "compose/demo.py"), "--runtime", "process"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plain processes, as you asked" in done.stdout
    assert "replicas and their agent are dead" in done.stdout
    assert "every replica is ready again, on the other nodes" in done.stdout
    assert "Nothing is left running" in done.stdout
    assert list(tmp_path.glob("rookery-demo-*")) == []
    left = [
        process.info["cmdline"] for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info["cmdline"])
    ]
    assert left == []
