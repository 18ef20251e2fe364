"""A provider's program, called: its answer, its faults, its end. And the examples, with stand-ins for what they call."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rookery.model import Pool, PoolMember, PoolSpec, ProviderKind
from rookery_manager.providers import Failed
from rookery_manager.providers.calling import MOST_BYTES, call
from rookery_manager.providers.contract import agent_arguments, read_created, read_listed, request

EXAMPLES = Path(__file__).parents[3] / "examples/pools"


def run(script: str, *, timeout_s: float = 30.0) -> bytes:
    return asyncio.run(call((sys.executable, "-c", script), b'{"action": "list"}', timeout_s=timeout_s))


def test_it_reads_what_it_is_given() -> None:
    assert run("import sys; print(sys.stdin.read())") == b'{"action": "list"}\n'
    assert run("print('did not read')") == b"did not read\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import sys; print('no'); sys.exit('first\\nout of \\x1b[31mstock')", r"ended with status 1: out of  \[31mstock"),
        ("import sys; sys.exit(7)", "ended with status 7$"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
        (f"import sys; sys.stdout.write('x' * {MOST_BYTES + 1})", "wrote more than 4 MiB"),
    ],
)
def test_why_it_failed(script: str, why: str) -> None:
    with pytest.raises(Failed, match=why):
        run(script)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(Failed, match=r"/no/such can't be run: No such file or directory"):
        asyncio.run(call(("/no/such",), b"{}", timeout_s=1))


def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    note = tmp_path / "pid"
    script = (
        "import pathlib, subprocess, sys, time\n"
        f"made = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(made.pid))\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(Failed, match=r"no answer within 2 s"):
        run(script, timeout_s=2.0)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(int(note.read_text())) and psutil.Process(int(note.read_text())).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"id": ""}', b'{"id": 7}', b'{"id": "a\\n"}', b"[" * 100_000])
def test_what_is_no_id(answer: bytes) -> None:
    with pytest.raises(Failed):
        read_created(answer)


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"nodes": 3}', b'{"nodes": ["a"]}', b'{"nodes": [{"name": "a"}]}'])
def test_what_is_no_list(answer: bytes) -> None:
    with pytest.raises(Failed):
        read_listed(answer)


def test_what_an_agent_is_started_with() -> None:
    pool = Pool(name="small", spec=PoolSpec(provider=ProviderKind.COMMAND, labels={"zone": "a"}))
    assert agent_arguments(pool, PoolMember(name="small-1"), "10.0.0.1:7070") == (
        "--manager", "10.0.0.1:7070", "--name", "small-1", "--label", "rookery.pool=small", "--label", "zone=a",
    )  # fmt: skip


def test_the_join_token_is_told_to_the_provider_and_is_no_argument() -> None:
    pool, member = Pool(name="small", spec=PoolSpec(provider=ProviderKind.COMMAND)), PoolMember(name="small-1")
    at: dict[str, Any] = {"cluster": "c1", "manager": "10.0.0.1:7070", "data": Path("/d")}
    asked = json.loads(request("create", pool, member, token="RKY1-secret", **at))
    assert asked["token"] == "RKY1-secret"
    assert "RKY1-secret" not in " ".join(asked["agent"])
    assert "--insecure" not in asked["agent"]
    assert "token" not in json.loads(request("delete", pool, member, token="", **at))
    plain = json.loads(request("create", pool, member, token="", **at))
    assert "token" not in plain
    assert plain["agent"][-1] == "--insecure"


class Example:
    """An example program, with stand-ins before it in PATH; each writes down how it was called."""

    def __init__(self, program: str, place: Path, stand_in: str, text: str) -> None:
        self.program = EXAMPLES / program
        self.place = place
        file = place / stand_in
        file.write_text(text)
        file.chmod(0o755)

    def __call__(self, action: str, settings: dict[str, str], status: int = 0) -> Any:
        asked = {
            "version": 1, "action": action, "cluster": "c1", "pool": "small", "settings": settings,
            "node": {"name": "small-1", "id": ""}, "agent": ["--manager", "10.0.0.1:7070", "--name", "small-1"],
        }  # fmt: skip
        env = {**os.environ, "PATH": f"{self.place}:{os.environ['PATH']}", "PLACE": str(self.place)}
        done = subprocess.run([self.program], input=json.dumps(asked), env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout) if status == 0 else done.stderr.strip()


AWS = """#!/usr/bin/env python3
import json, os, pathlib, sys
there = pathlib.Path(os.environ["PLACE"]) / "instances"
words = sys.argv[1:]
with (pathlib.Path(os.environ["PLACE"]) / "said").open("a") as said:
    said.write(json.dumps(words) + chr(10))
if "run-instances" in words:
    there.touch()
    print(json.dumps({"Instances": [{"InstanceId": "i-1"}]}))
elif "terminate-instances" in words:
    there.unlink()
else:
    tags = [{"Key": "Name", "Value": "small-1"}, {"Key": "rookery-pool", "Value": "c1/small"}]
    print(json.dumps({"Reservations": [{"Instances": [{"InstanceId": "i-1", "Tags": tags}]}] if there.exists() else []}))
"""


def test_the_example_for_ec2(tmp_path: Path) -> None:
    ec2 = Example("ec2", tmp_path, "aws", AWS)
    settings = {"region": "eu-central-1", "launch_template": "rookery-node"}
    assert ec2("list", settings) == {"nodes": []}
    assert ec2("create", settings) == {"id": "i-1"}
    assert ec2("list", settings) == {"nodes": [{"id": "i-1", "name": "small-1"}]}
    assert ec2("delete", settings) == {}
    assert ec2("delete", settings) == {}
    said = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    (made,) = [words for words in said if "run-instances" in words]
    assert "rookery-agent '--manager' '10.0.0.1:7070' '--name' 'small-1'" in made[made.index("--user-data") + 1]
    assert sum("terminate-instances" in words for words in said) == 1


SSH = """#!/bin/sh
# A host is a directory; what would be done there as root is done in it, and systemd only noted.
while [ "$1" = -o ]; do shift 2; done
host=$PLACE/$1; shift
[ -d "$host" ] || { echo "no route to host" >&2; exit 255; }
sed "s#/var/lib/rookery-pool#$host/pool#g" | PATH="$PLACE/bin:$PATH" HOST="$host" sh -s
"""


def test_the_example_for_hosts_over_ssh(tmp_path: Path) -> None:
    hosts = Example("ssh-hosts", tmp_path, "ssh", SSH)
    (tmp_path / "bin").mkdir()
    for program, text in (
        ("systemctl", '#!/bin/sh\ncase $1 in is-active) [ -e "$HOST/agent" ];; stop) rm -f "$HOST/agent";; esac\n'),
        ("systemd-run", '#!/bin/sh\necho "$*" > "$HOST/agent"\n'),
    ):
        (tmp_path / "bin" / program).write_text(text)
        (tmp_path / "bin" / program).chmod(0o755)
    (tmp_path / "h1").mkdir()
    (tmp_path / "h2").mkdir()
    (tmp_path / "h1" / "pool").mkdir()
    (tmp_path / "h1" / "pool" / "node").write_text("c2/other other-1\n")
    settings = {"hosts": "h1 h2"}
    assert hosts("list", settings) == {"nodes": []}
    assert hosts("create", settings) == {"id": "h2"}
    assert hosts("create", settings) == {"id": "h2"}
    assert "rookery-agent --manager 10.0.0.1:7070 --name small-1" in (tmp_path / "h2" / "agent").read_text()
    assert hosts("list", settings) == {"nodes": [{"id": "h2", "name": "small-1"}]}
    assert hosts("delete", settings) == {}
    assert not (tmp_path / "h2" / "agent").exists()
    assert hosts("create", {"hosts": "h1"}, status=1) == "no host is free"
    assert hosts("list", {"hosts": "h3"}, status=1) == "h3: no route to host"
