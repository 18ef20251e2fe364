"""Runs days in processes of their own: with PYTHONHASHSEED=0 they replay exactly, and two cores live two at a time."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def days(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "world", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status (0: all days ended well) and all that was printed."""
    told, _ = process.communicate()
    return process.returncode, told


def outcomes_of(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    return [outcome_of(process) for process in processes]
