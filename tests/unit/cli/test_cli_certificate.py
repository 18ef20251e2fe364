"""`rookery certificate` against a real manager whose authority is away: what a person reads, what a script reads."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from ports import free_port
from rookery.cli.commands.certificate import _row
from rookery.cli.main import cli
from rookery.client import AsyncClient
from rookery.model import (
    AppSpec,
    CertificateStatus,
    ContainerSpec,
    HttpRoute,
    HttpRules,
    ManagedCertificate,
    Redirect,
    ServiceSpec,
)
from whole_manager import manager

pytestmark = pytest.mark.usefixtures("home")

HOST = "shop.example.org"
RULES = HttpRules(redirect=Redirect(host="www.example.org"))
ROUTE = HttpRoute(target=0, host=HOST, published=443, tls=True, acme=True, rules=RULES)
APP = AppSpec(name="shop", services=(ServiceSpec(name="web", container=ContainerSpec(image="none"), routes=(ROUTE,)),))


def test_what_is_wanted_is_listed_with_what_it_waits_for(tmp_path: Path) -> None:
    async def main() -> None:
        flags = ("--acme-agree-terms", "--acme-directory", f"https://localhost:{free_port()}/dir")
        async with manager(tmp_path, *flags) as cluster, AsyncClient(cluster.address, insecure=True) as client:

            def rookery(*words: str, status: int = 0) -> str:
                result = CliRunner().invoke(cli, ["--manager", cluster.address, *words])
                assert result.exit_code == status, result.output
                assert "Traceback" not in result.output
                return result.output

            assert "No certificates. A route asks for one with `acme: true`" in await asyncio.to_thread(
                rookery, "certificate", "ls"
            )
            await client.apply(APP)
            shown = await asyncio.to_thread(rookery, "certificate", "ls")
            assert shown.splitlines()[1].split()[:2] == [HOST, "none"]
            assert "there is none yet; no proxy is connected that could answer on port 80" in shown
            (found,) = json.loads(await asyncio.to_thread(rookery, "certificate", "ls", "--json"))
            assert (found["certificate"]["host"], found["services"]) == (HOST, ["shop/web"])
            assert "certificate of" in await asyncio.to_thread(rookery, "services")
            assert f"the certificate of {HOST} is asked for" in await asyncio.to_thread(rookery, "certificate", "renew", HOST)
            assert "is to be had now" in await asyncio.to_thread(rookery, "events", HOST)
            told = await asyncio.to_thread(lambda: rookery("certificate", "renew", "shop.example.com", status=1))
            assert f"no certificate shop.example.com; did you mean {HOST}?" in told

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "services", "cells"),
    [
        ({}, ("shop/web",), ["none", "-", "-", "-", "shop/web"]),
        ({"digest": "d", "issuer": "CA", "expires_at": 3600.5, "renew_at": 60.5}, (), ["valid", "CA", "1h", "-", "-"]),
        ({"digest": "d", "issuer": "CA", "expires_at": 3600.5, "renew_at": 60.5}, ("a/b",), ["valid", "CA", "1h", "1m", "a/b"]),
        ({"digest": "d", "issuer": "CA", "expires_at": 60.5, "renew_at": -1.0}, ("a/b",), ["valid", "CA", "1m", "now", "a/b"]),
        ({"digest": "d", "issuer": "CA", "expires_at": -1.0}, ("a/b",), ["expired", "CA", "ended", "now", "a/b"]),
    ],
)
def test_a_line_says_from_whom_and_until_when(
    fields: dict[str, str | float], services: tuple[str, ...], cells: list[str]
) -> None:
    now = time.time()
    moved = {name: value + now if isinstance(value, float) else value for name, value in fields.items()}
    status = CertificateStatus(certificate=ManagedCertificate(host=HOST, **moved), services=services)  # type: ignore[arg-type]
    assert [str(getattr(cell, "text", cell)) for cell in _row(status, now)[1:-1]] == cells
