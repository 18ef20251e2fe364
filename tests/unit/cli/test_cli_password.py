"""`rookery password`: a user's line for `basic_auth`."""

import pytest
from click.testing import CliRunner
from rookery.cli.main import cli
from rookery.http_rules import parse_user
from rookery.passwords import is_right

pytestmark = pytest.mark.usefixtures("home")


def test_it_prints_a_line_that_stands_for_the_password() -> None:
    done = CliRunner().invoke(cli, ["password", "ann"], input="geheim\n")
    parsed = parse_user(done.stdout.strip())
    assert (done.exit_code, parsed is not None and parsed[0]) == (0, "ann")
    assert parsed is not None
    assert is_right(b"geheim", *parsed[1:])


@pytest.mark.parametrize(("name", "said"), [("a:b", "x\n"), ("", "x\n"), ("ann", "\n"), ("ann", "")])
def test_what_can_not_be_a_name_or_a_password_is_refused(name: str, said: str) -> None:
    done = CliRunner().invoke(cli, ["password", name], input=said)
    assert done.exit_code == 2
    assert done.stdout == ""
