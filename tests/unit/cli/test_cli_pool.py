"""`rookery pool` against a real manager: what a person reads, what a script reads, exit statuses."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from rookery.cli.main import cli
from whole_manager import manager

pytestmark = pytest.mark.usefixtures("home")

Rookery = Callable[..., str]
FAILING = ("small", "--provider", "command", "--max", "5", "--", "/bin/false")


def play(data: Path, scene: Callable[[Rookery], None]) -> None:
    """Runs a scene with a command line that talks to a manager of its own."""

    async def main() -> None:
        async with manager(data) as cluster:

            def rookery(*words: str, status: int = 0) -> str:
                result = CliRunner().invoke(cli, ["--manager", cluster.address, "pool", *words])
                assert result.exit_code == status, result.output
                assert "Traceback" not in result.output
                return result.output

            await asyncio.to_thread(scene, rookery)

    asyncio.run(main())


def test_from_create_to_rm(tmp_path: Path) -> None:
    def scene(rookery: Rookery) -> None:
        assert "No pools. Make one to try: rookery pool create small --provider process" in rookery("ls")
        assert "small: created: 0 to 5 nodes by command" in rookery("create", *FAILING)
        assert [line.split()[:6] for line in rookery("ls").splitlines()] == [
            ["POOL", "PROVIDER", "NODES", "MIN", "MAX", "SPARE"],
            ["small", "command", "0", "0", "5", "0"],
        ]
        assert "small: set: max 5 -> 7" in rookery("set", "small", "--max", "7")
        shown = rookery("show", "small")
        assert "small: 0 to 7 nodes by command, spare 0\nlatest: set: max 5 -> 7" in shown
        assert rookery("rm", "small") == "removed small\n"
        assert json.loads(rookery("ls", "--json")) == []

    play(tmp_path, scene)


def test_what_is_wrong_is_shown(tmp_path: Path) -> None:
    def scene(rookery: Rookery) -> None:
        made = json.loads(rookery("create", "--min", "1", "--json", *FAILING))
        assert (made["name"], made["spec"]["min"], made["spec"]["command"]) == ("small", 1, ["/bin/false"])
        trouble = ""
        while "failure in a row; tries again in" not in trouble:
            trouble = rookery("show", "small")
        assert "trouble: the provider's nodes can't be listed: it ended with status 1 (1 failure in a row" in trouble
        assert "small-1  creating" in trouble
        assert "can't be listed" in rookery("ls")
        assert rookery("rm", "small", "--detach") == "removing small\n"
        assert "1 node left after 0 s; it goes on" in rookery("rm", "small", "--timeout", "0", status=3)
        assert rookery("rm", "small", "--force") == "removed small\n"

    play(tmp_path, scene)


def test_bad_input(tmp_path: Path) -> None:
    def scene(rookery: Rookery) -> None:
        assert "min: 9 is more than max, which is 5" in rookery("create", "--min", "9", *FAILING, status=2)
        assert "--label: expected KEY=VALUE, got 'x'" in rookery("create", "--label", "x", *FAILING, status=2)
        assert "--memory: expected a size, as in 8G, got 'much'" in rookery("create", "--memory", "much", *FAILING, status=2)
        assert "nothing to set" in rookery("set", "small", status=2)
        assert "no pool small" in rookery("show", "small", status=1)
        assert "is not one of" in rookery("create", "small", "--provider", "cloud", status=2)

    play(tmp_path, scene)
