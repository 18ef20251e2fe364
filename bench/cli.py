"""How long the command line takes: `rookery --help` and `rookery ps`, beside the bare interpreter and the docker client.

`ps` asks a real manager of its own for an app of 50 replicas. Wall time of whole processes, one after another, taking turns.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from report import machine, median, table
from rookery.client import Client, ClientError
from rookery.model import AppSpec, ContainerSpec, Replicated, ServiceSpec

REPLICAS = 50
READY_WITHIN_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    with manager() as address:
        figures = measure(commands(address), given.times)
    print(f"command line, median of {given.times} ({machine()})\n")
    rows = [
        [name, f"{median(seen) * 1000:.0f} ms", f"{min(seen) * 1000:.0f}–{max(seen) * 1000:.0f} ms"]
        for name, seen in figures.items()
    ]
    print(table(["command", "median", "range"], rows))
    if given.json:
        given.json.write_text(json.dumps({name: median(seen) for name, seen in figures.items()}, indent=2) + "\n")


def commands(address: str) -> dict[str, list[str]]:
    rookery = [sys.executable, "-m", "rookery.cli.main"]
    found = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "rookery --help": [*rookery, "--help"],
        f"rookery ps ({REPLICAS} replicas)": [*rookery, "--manager", address, "ps"],
        f"rookery ps --json ({REPLICAS} replicas)": [*rookery, "--manager", address, "ps", "--json"],
    }
    if shutil.which("docker"):
        found["docker --help"] = ["docker", "--help"]
        if subprocess.run(["docker", "ps"], capture_output=True, check=False).returncode == 0:
            found["docker ps"] = ["docker", "ps"]
    return found


def measure(wanted: dict[str, list[str]], times: int) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {name: [] for name in wanted}
    for turn in range(times + 1):
        for name, command in wanted.items():
            took_s = run(command)
            if turn:  # the first turn fills the caches
                seen[name].append(took_s)
    return seen


def run(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


@contextmanager
def manager() -> Iterator[str]:
    """The address of a manager that has an app whose replicas wait for a node."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "rookery_manager.main",
            "--listen",
            "127.0.0.1:0",
            "--data",
            folder,
            "--log-level",
            "error",
        ]
        process = subprocess.Popen(command)
        try:
            address = wait_for_address(Path(folder) / "address")
            spec = ServiceSpec(name="web", container=ContainerSpec(image="web:1"), mode=Replicated(replicas=REPLICAS))
            os.environ["ROOKERY_CREDENTIAL"] = str(Path(folder) / "admin.pem")
            with Client(address) as client:
                client.apply(AppSpec(name="bench", services=(spec,)))
                deadline = time.monotonic() + READY_WITHIN_S
                while len(client.list_replicas("bench")) < REPLICAS:
                    if time.monotonic() > deadline:
                        raise SystemExit(f"the manager did not make {REPLICAS} replicas within {READY_WITHIN_S:g} s")
                    time.sleep(0.05)
            yield address
        except ClientError as error:
            raise SystemExit(str(error)) from None
        finally:
            process.terminate()
            process.wait(READY_WITHIN_S)


def wait_for_address(path: Path) -> str:
    deadline = time.monotonic() + READY_WITHIN_S
    while not (path.exists() and path.read_text().strip()):
        if time.monotonic() > deadline:
            raise SystemExit(f"the manager did not listen within {READY_WITHIN_S:g} s")
        time.sleep(0.05)
    return path.read_text().strip()


if __name__ == "__main__":
    main()
