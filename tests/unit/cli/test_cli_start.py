"""`rookery --help` is quick because it loads little; every command is described and documented; terminals get a live display."""

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fake_control import FakeControl, serving
from rookery import model
from rookery.cli.main import cli
from rookery.cli.table import COMMANDS

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"
HEAVY = {"grpc", "google.protobuf", "rich", "yaml", "psutil", "docker", "asyncio", "rookery.model", "rookery.client"}


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("args", [("--help",), ("--version",), ("nonsense",)])
def test_help_loads_nothing_heavy(args: tuple[str, ...]) -> None:
    done = run("-X", "importtime", "-m", "rookery.cli.main", *args)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "click" in loaded
    assert not loaded & HEAVY


def commands() -> Iterator[tuple[str, click.Command]]:
    ctx = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(ctx, name)  # type: ignore[attr-defined]
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for inner, sub in command.commands.items():
                yield f"{name} {inner}", sub


def test_every_command_can_be_loaded_and_has_help() -> None:
    for name, command in commands():
        assert command.name == name.rpartition(" ")[2]
        assert command.help, name
        options = [param for param in command.params if isinstance(param, click.Option)]
        assert all(option.help for option in options), name


def test_every_command_and_option_is_documented() -> None:
    text = DOCS.read_text()
    for name, command in commands():
        heading = f"## rookery {name.partition(' ')[0]}\n"
        assert heading in text, f"docs/cli.md has no section {heading!r}"
        section = text.split(heading)[1].split("\n## ")[0]
        assert f"rookery {name}" in section, f"docs/cli.md: no example of rookery {name}"
        for param in command.params:
            if isinstance(param, click.Option) and param.name not in ("manager", "insecure", "no_color", "as_json"):
                assert any(f"`{opt}" in section for opt in param.opts), f"docs/cli.md: rookery {name} {param.opts}"


def test_what_is_documented_exists() -> None:
    named = set(re.findall(r"^## rookery (\w+)$", DOCS.read_text(), re.MULTILINE))
    assert named == set(COMMANDS)


@pytest.fixture
def control() -> Iterator[FakeControl]:
    fake = FakeControl()
    fake.add_node("n1")
    with serving(fake):
        yield fake


class Terminal:
    """A program at a terminal 60 columns wide; `output` grows as it is read."""

    def __init__(self, cwd: Path, *args: str) -> None:
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")} | {
            "TERM": "xterm-256color"
        }
        command = [sys.executable, "-m", "rookery.cli.main", *args]
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment)
        os.close(theirs)
        self.output = ""
        self._file = mine
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()  # a character may come in two pieces
        while True:
            try:
                chunk = os.read(self._file, 65536)
            except OSError:  # the other side is closed
                return
            if not chunk:
                return
            self.output += decoder.decode(chunk)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def shows(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)

    def end(self) -> int:
        status = self.process.wait(60)
        self._reader.join(60)
        os.close(self._file)
        return status


COMPOSE = "name: shop\nservices: {web: {image: 'web:1', deploy: {replicas: 3}}}\n"


def test_at_a_terminal_progress_is_drawn_in_place(control: FakeControl, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(COMPOSE)
    terminal = Terminal(tmp_path, "--manager", control.address, "deploy")
    assert terminal.end() == 0
    assert "\x1b[" in terminal.output
    assert "✓" in terminal.output
    assert "3/3 ready" in terminal.output
    assert "shop is ready after" in terminal.output


def test_ctrl_c_says_that_the_deploy_goes_on(control: FakeControl, tmp_path: Path) -> None:
    control.stalled = True
    (tmp_path / "compose.yml").write_text(COMPOSE)
    terminal = Terminal(tmp_path, "--manager", control.address, "deploy")
    terminal.shows("0/3 ready")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "The deploy of shop goes on in the background. Look with: rookery ps shop" in terminal.output
    assert "Traceback" not in terminal.output


def test_rm_asks_at_a_terminal(control: FakeControl, tmp_path: Path) -> None:
    control.add_app(model.AppSpec(name="shop", services=(model.ServiceSpec(name="web"),)))
    terminal = Terminal(tmp_path, "--manager", control.address, "rm", "shop")
    terminal.shows("Remove shop (1 service, 1 running replica)?")
    terminal.type("n\n")
    assert terminal.end() == 1
    assert not control.requests("RemoveApp")
    terminal = Terminal(tmp_path, "--manager", control.address, "rm", "shop", "--yes")
    assert terminal.end() == 0
    assert not control.apps


def test_a_table_fits_the_terminal(control: FakeControl, tmp_path: Path) -> None:
    container = model.ContainerSpec(image="registry.example.org/a/very/long/name/of/an/image:with-a-tag")
    control.add_app(model.AppSpec(name="shop", services=(model.ServiceSpec(name="web", container=container),)))
    terminal = Terminal(tmp_path, "--manager", control.address, "services")
    assert terminal.end() == 0
    lines = [click.unstyle(line) for line in terminal.output.splitlines()]
    assert all(len(line) <= 60 for line in lines), lines
    assert any("…" in line for line in lines)


def test_events_are_followed_until_ctrl_c(control: FakeControl, tmp_path: Path) -> None:
    control.add_event("app", "shop", "first")
    terminal = Terminal(tmp_path, "--manager", control.address, "events", "shop", "-f")
    terminal.shows("first")
    control.add_event("node", "n1", "of no concern")
    control.add_event("replica", "shop/web.1", "second")
    terminal.shows("second")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "of no concern" not in terminal.output
    assert "Traceback" not in terminal.output
