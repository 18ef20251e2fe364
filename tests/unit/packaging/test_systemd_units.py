"""The units of systemd: their commands are ones that the parts take, and their sandboxes are what systemd calls safe."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rookery_agent import options
from rookery_manager.main import parse
from rookery_proxy import main as proxy

UNITS = Path(__file__).parents[3] / "packaging" / "systemd"
PARTS = ("manager", "agent", "proxy")
EXPOSED_AT_MOST = 2.0  # of 10, as `systemd-analyze security` counts; a unit without a sandbox has 9.6

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")


def unit(part: str) -> str:
    return (UNITS / f"rookery-{part}.service").read_text()


def command(part: str) -> list[str]:
    """The command line, with what the unit says where nobody says otherwise."""
    read = configparser.RawConfigParser(strict=False, delimiters=("=",))
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(unit(part))
    service = read["Service"]
    values = {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}
    values |= dict(pair.split("=", 1) for pair in shlex.split(service["Environment"]))
    filled = re.sub(r"\$\{?([A-Z_]+)\}?", lambda found: values[found[1]], service["ExecStart"])
    return shlex.split(filled)


@pytest.mark.parametrize("part", PARTS)
def test_the_command_is_one_that_the_part_takes(part: str) -> None:
    program, *arguments = command(part)
    assert program == f"/opt/rookery/bin/rookery-{part}"
    match part:
        case "manager":
            taken = parse(arguments)
        case "agent":
            taken = options.parser().parse_args(arguments)
        case _:
            taken = proxy._parser().parse_args(arguments)
    assert taken.data == Path(f"/var/lib/rookery/{part}")
    assert f"StateDirectory=rookery/{part}\nStateDirectoryMode=0700\n" in unit(part)
    assert "User=rookery\n" in unit(part)


@analyze
@pytest.mark.parametrize("part", PARTS)
def test_systemd_takes_the_unit(part: str, tmp_path: Path) -> None:
    """With this machine's programs and root in the place of what an installation has."""
    text = unit(part).replace("/opt/rookery/bin/", f"{Path(sys.executable).parent}/")
    for name in ("User", "Group", "SupplementaryGroups"):
        text = re.sub(rf"^{name}=.*$", f"{name}=root", text, flags=re.MULTILINE)
    file = tmp_path / f"rookery-{part}.service"
    file.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=60, check=False)
    mine = [line for line in done.stderr.splitlines() if file.name in line]
    assert not mine


@analyze
@pytest.mark.parametrize("part", PARTS)
def test_the_sandbox_is_tight(part: str) -> None:
    given = ["systemd-analyze", "security", "--offline=true", str(UNITS / f"rookery-{part}.service")]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd can't tell: {done.stderr.strip()[:200]}")
    assert float(found[1]) <= EXPOSED_AT_MOST, done.stdout
