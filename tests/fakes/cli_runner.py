"""The command line as a test calls it: in its own process, with what it printed and its exit status."""

import json
from typing import Any

from click.testing import CliRunner, Result
from fake_control import FakeControl
from rookery.cli.main import cli


class Rookery:
    """`rookery ARGS`, against a fake manager."""

    def __init__(self, control: FakeControl) -> None:
        self.control = control

    def __call__(self, *args: str, status: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(cli, ["--manager", self.control.address, *args], input=stdin)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    def json(self, *args: str, status: int = 0) -> Any:
        return json.loads(self(*args, "--json", status=status).stdout)
