"""`rookery up` and `down` with parts that do nothing: order, deadlines, parts that die, and whose processes are never touched."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_parts import install
from rookery.cli.local import record
from rookery.cli.local.parts import Wanted, agents, manager, proxy, restart_after_s

FAKES = Path(__file__).parents[2] / "fakes"
WITHIN_S = 60.0


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Place:
    """A directory with a cluster in it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.modules = folder / "modules"
        self.env = os.environ | {"PYTHONPATH": f"{self.modules}:{FAKES}"}
        self.started: list[subprocess.Popen[str]] = []
        install(self.modules)

    def rookery(self, *args: str, status: int = 0) -> str:
        done = subprocess.run(self._command(*args), env=self.env, capture_output=True, text=True, timeout=WITHIN_S * 3)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def start(self, *args: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(self._command(*args), env=self.env, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.started.append(process)
        return process

    def _command(self, *args: str) -> list[str]:
        port = ["--port", "0"] if args[0] == "up" else []
        return [sys.executable, "-m", "rookery.cli.main", args[0], "--data", str(self.data), *port, *args[1:]]

    @property
    def record(self) -> record.Record:
        found = record.read(self.data)
        assert found is not None
        return found

    @property
    def story(self) -> list[str]:
        return (self.data / "story").read_text().splitlines()

    def clean(self) -> None:
        known = record.read(self.data)
        for process in [known.supervisor, *known.parts] if known else []:
            record.send(process, signal.SIGKILL)
        for started in self.started:
            started.kill()
            started.communicate(timeout=WITHIN_S)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.clean()


def test_up_and_down(place: Place) -> None:
    assert "Rookery is up: 2 nodes, manager at 127.0.0.1:" in place.rookery("up", "--nodes", "2", "--detach")
    assert place.story[0] == "start manager"
    assert sorted(place.story[1:]) == ["start n1", "start n2", "start proxy"]
    assert [part.name for part in place.record.parts] == ["manager", "n1", "n2", "proxy"]
    assert f"up already: manager at {place.record.manager}" in place.rookery("up", "--detach")
    assert "up already" in place.rookery("up")
    before = place.record
    assert "Rookery is down" in place.rookery("down")
    assert not any(record.is_alive(process) for process in [before.supervisor, *before.parts])
    assert place.story[4:][0] == "stop proxy"
    assert sorted(place.story[5:7]) == ["stop n1", "stop n2"]
    assert place.story[7:] == ["stop manager"]
    assert "Rookery is not up here" in place.rookery("down")


def test_ctrl_c_stops_everything(place: Place) -> None:
    up = place.start("up", "--nodes", "1", "--verbose")
    assert up.stdout is not None
    lines = []
    for line in up.stdout:
        lines.append(line)
        if line.startswith("Stop it"):
            break
    assert any("n1 | n1 is here" in line for line in lines)
    assert any("export ROOKERY_MANAGER=127.0.0.1:" in line for line in lines)
    parts = place.record.parts
    up.send_signal(signal.SIGINT)
    assert up.wait(WITHIN_S) == 0
    assert not any(record.is_alive(part) for part in parts)
    assert place.story[-3:] == ["stop proxy", "stop n1", "stop manager"]
    assert "n1 is here" in (place.data / "logs" / "n1.log").read_text()


def test_a_part_that_dies_is_started_again(place: Place) -> None:
    up = place.start("up", "--nodes", "1")
    eventually(lambda: (found := record.read(place.data)) and found.ready, "it comes up")
    manager_before = next(part for part in place.record.parts if part.name == "manager")
    address = place.record.manager
    record.send(manager_before, signal.SIGKILL)
    eventually(lambda: place.story.count("start manager") == 2, "the manager is started again")
    eventually(lambda: (place.data / "manager" / "address").read_text() == address, "at the same address")
    up.terminate()
    output, _ = up.communicate(timeout=WITHIN_S)
    assert "manager was killed by SIGKILL; starting it again in 1 s" in output
    assert up.returncode == 0


def test_a_part_that_cannot_start_ends_it_all_with_its_words(place: Place) -> None:
    place.env["FAKE_BROKEN"] = "n2"
    output = place.rookery("up", "--nodes", "2", status=1)
    assert "n2 ended with status 1; its last words:\n    n2: the disk is full" in output
    assert "error: a part ended before the cluster was up" in output
    assert not place.record.parts
    assert "n2: the disk is full" in place.rookery("up", "--nodes", "2", "--detach", status=1)


def test_what_a_dead_supervisor_left_is_stopped(place: Place) -> None:
    place.rookery("up", "--nodes", "1", "--detach")
    before = place.record
    record.send(before.supervisor, signal.SIGKILL)
    eventually(lambda: not record.is_alive(before.supervisor), "it is dead")
    assert all(record.is_alive(part) for part in before.parts)
    output = place.start("up", "--nodes", "1")
    eventually(lambda: place.record.ready and place.record.supervisor.pid == output.pid, "another comes up")
    assert not any(record.is_alive(part) for part in before.parts)
    after = place.record
    record.send(after.supervisor, signal.SIGKILL)
    output.wait(WITHIN_S)
    assert "left over from a supervisor that died" in place.rookery("down")
    assert not any(record.is_alive(part) for part in after.parts)


def test_a_process_that_only_has_the_number_is_left_alone(place: Place) -> None:
    place.data.mkdir()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stranger = record.Process(name="n1", pid=bystander.pid, born="another boot/1")
        record.write(place.data, record.Record(supervisor=stranger, manager="127.0.0.1:1", parts=(stranger,)))
        (place.data / "up.lock").touch()
        assert "Rookery is not up here" in place.rookery("down")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_directory_of_others_is_not_touched(place: Place) -> None:
    place.data.mkdir()
    (place.data / "manager").write_text("precious")
    assert "are not of a cluster made by 'rookery up'" in place.rookery("up", "--fresh", status=2)
    assert (place.data / "manager").read_text() == "precious"


def test_fresh_begins_with_nothing(place: Place) -> None:
    place.rookery("up", "--nodes", "1", "--detach")
    (place.data / "manager" / "store").write_text("old")
    place.rookery("down")
    place.rookery("up", "--nodes", "1", "--detach")
    assert (place.data / "manager" / "store").exists()
    place.rookery("down")
    place.rookery("up", "--nodes", "1", "--detach", "--fresh")
    assert not (place.data / "manager" / "store").exists()
    answer = place.rookery("down", "--json")
    assert json.loads(answer[answer.index("{\n") : answer.index("}\n") + 1])["stopped"] is True


def test_the_command_lines_of_the_parts() -> None:
    wanted = Wanted(data=Path("/d"), nodes=2, runtime="process", port=7071, workers=3)
    lines = [
        part.command("py") for part in (manager(wanted, 7071), *agents(wanted, "127.0.0.1:7071"), proxy(wanted, "127.0.0.1:7071"))
    ]
    assert [" ".join(line) for line in lines] == [
        "py -m rookery_manager.main --listen 127.0.0.1:7071 --data /d/manager",
        "py -m rookery_agent.main --manager 127.0.0.1:7071 --data /d/nodes/n1 --name n1 "
        "--address 127.0.0.1 --runtime process --on-stop drain --token-file /d/manager/agent.token",
        "py -m rookery_agent.main --manager 127.0.0.1:7071 --data /d/nodes/n2 --name n2 "
        "--address 127.0.0.1 --runtime process --on-stop drain --token-file /d/manager/agent.token",
        "py -m rookery_proxy.main --manager 127.0.0.1:7071 --data /d/proxy --bind 127.0.0.1 --workers 3 "
        "--token-file /d/manager/proxy.token",
    ]
    plain = Wanted(data=Path("/d"), nodes=1, insecure=True)
    assert all(part.arguments[-1] == "--insecure" for part in (manager(plain, 1), *agents(plain, "h:1"), proxy(plain, "h:1")))
    assert [restart_after_s(n) for n in (1, 2, 3, 6, 1000)] == [1, 2, 4, 30, 30]
