"""What the operator says of ACME on the manager's command line."""

from pathlib import Path

import pytest
from pem import Authority
from rookery_manager.acme.settings import LETS_ENCRYPT, AcmeSettings
from rookery_manager.main import parse

AGREED = "--acme-agree-terms"


def test_nobody_is_asked_without_consent() -> None:
    assert parse([]).acme is None
    assert parse([AGREED]).acme == AcmeSettings(directory=LETS_ENCRYPT, http_port=80)


def test_everything_at_once(tmp_path: Path) -> None:
    root = Authority(tmp_path).path
    flags = ["--acme-directory", "https://ca.internal/dir", "--acme-email", "ops@example.org", "--acme-ca", str(root)]
    assert parse([AGREED, *flags, "--acme-http-port", "8080"]).acme == AcmeSettings(
        directory="https://ca.internal/dir", email="ops@example.org", ca_file=root, http_port=8080
    )


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--acme-email", "ops@example.org"], "nobody is asked for certificates without --acme-agree-terms"),
        ([AGREED, "--acme-email", "ops"], "expected an address such as ops@example.org, got 'ops'"),
        ([AGREED, "--acme-email", "a@b,c@d"], "expected an address"),
        ([AGREED, "--acme-directory", "http://ca.internal/dir"], "expected an https:// URL"),
        ([AGREED, "--acme-ca", "/nowhere/ca.pem"], "/nowhere/ca.pem: No such file or directory"),
        ([AGREED, "--acme-ca", __file__], "there is no certificate in PEM in it"),
        ([AGREED, "--acme-http-port", "0"], "expected a port from 1 to 65535, got '0'"),
    ],
)
def test_what_makes_no_sense_is_refused(flags: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(flags)
    assert why in capsys.readouterr().err
