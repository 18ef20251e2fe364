"""What is left of pools when a local cluster stops."""

import asyncio
import subprocess
import sys
from pathlib import Path

from rookery.cli.local import strays

SLEEPS = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {SLEEPS}"
SUPERVISES = "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"


def start(program: str, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE)


def test_agents_of_pools_are_asked_to_stop_and_those_of_others_are_not(tmp_path: Path) -> None:
    mine = start(SLEEPS, "rookery_agent.main", "--data", f"{tmp_path}/pools/small/small-1")
    other = start(SLEEPS, "rookery_agent.main", "--data", f"{tmp_path}/pools-of-others/small-1")
    try:
        asyncio.run(strays.stop(tmp_path / "pools", tell=lambda _: None))
        assert mine.wait(timeout=30) != 0
        assert other.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.communicate()


def test_what_is_left_is_killed_with_what_it_runs(tmp_path: Path) -> None:
    agent = start(STUBBORN, "rookery_agent.main", "--data", f"{tmp_path}/small/small-1")
    supervisor = start(SUPERVISES, "/lib/supervisor.py", f"{tmp_path}/small/small-1/replicas/r1")
    looking = start(STUBBORN, f"{tmp_path}/small/small-1/agent.log")  # somebody reads a log
    try:
        for process in (agent, supervisor, looking):
            assert process.stdout is not None
            process.stdout.readline()  # it is up
        asyncio.run(strays.end(tmp_path))
        assert agent.wait(timeout=30) == -9
        assert supervisor.wait(timeout=30) == 0  # its child ended, and so did it
        assert looking.poll() is None
    finally:
        for process in (agent, supervisor, looking):
            process.kill()
            process.communicate()
