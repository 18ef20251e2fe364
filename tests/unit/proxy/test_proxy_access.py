"""The access log: a line for each request, whatever became of it."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_rig import Backend, Http, answering, ask_once, endpoint, free_port, rig, route, wait_until
from rookery_proxy.access import Entry, combined_line, json_line

COMBINED = re.compile(r'\S+ - - \[[^\]]+\] "[^"]*" \d{3} (\d+|-) "[^"]*" "[^"]*"')


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def wait_for(path: Path, count: int) -> list[dict[str, Any]]:
    await wait_until(lambda: len(lines(path)) >= count, f"{count} lines")
    return lines(path)


def test_each_request_has_its_line(tmp_path: Path) -> None:
    async def main() -> None:
        path, port = tmp_path / "access.log", free_port()
        async with rig("--access-log", str(path)) as r, Backend(answering(b"hello")) as backend:
            await r.serve(route(port, endpoint("a", backend.port), path="/in"))
            async with Http(port) as client:
                said = 'Host: shop.example\r\nUser-Agent: curl "x"\r\nReferer: http://a/\r\n'
                await client.ask("/in?q=1", headers=said)
                await client.ask("/in", method="POST", body=b"12345")
                await client.ask("/out")
            await ask_once(port, headers="Bad Field: x\r\n")
            first, second, third, fourth = await wait_for(path, 4)
            assert (first["method"], first["target"], first["status"], first["bytes"]) == ("GET", "/in?q=1", 200, 5)
            assert (first["host"], first["service"], first["replica"]) == ("shop.example", "shop/web", "a")
            assert (first["user_agent"], first["referer"], first["client"]) == ('curl "x"', "http://a/", "127.0.0.1")
            assert first["endpoint"] == f"127.0.0.1:{backend.port}"
            assert 0 <= first["duration_ms"] < 15_000
            assert (second["method"], second["status"]) == ("POST", 200)
            assert (third["status"], third["service"]) == (404, "")
            assert (fourth["status"], fourth["method"]) == (400, "")

    asyncio.run(main())


def test_a_client_that_left_is_noted_as_such_and_a_log_that_was_moved_is_begun_anew(tmp_path: Path) -> None:
    async def main() -> None:
        path, port = tmp_path / "access.log", free_port()
        async with rig("--access-log", str(path), workers=2) as r, Backend(answering(pause_s=5.0)) as slow:
            await r.serve(route(port, endpoint("a", slow.port)))
            async with Http(port) as client:
                await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
                await r.routing.wait(
                    lambda: any(s.in_flight for report in r.routing.reports for s in report.endpoints), "in flight"
                )
            (left,) = await wait_for(path, 1)
            assert (left["status"], left["whole"]) == (499, False)
            path.rename(tmp_path / "old.log")
            await ask_once(port, headers="Bad Field: x\r\n")
            assert [line["status"] for line in await wait_for(path, 1)] == [400]
            assert len(lines(tmp_path / "old.log")) == 1

    asyncio.run(main())


def test_the_combined_format(tmp_path: Path) -> None:
    async def main() -> None:
        path, port = tmp_path / "access.log", free_port()
        arguments = ("--access-log", str(path), "--access-log-format", "combined")
        async with rig(*arguments) as r, Backend(answering(b"hello")) as backend:
            await r.serve(route(port, endpoint("a", backend.port)))
            await ask_once(port, '/a"b')
            await ask_once(port, "/a%22b")
            await wait_until(lambda: path.exists() and len(path.read_text().splitlines()) >= 2, "2 lines")
            first, second = path.read_text().splitlines()
            assert COMBINED.fullmatch(first)
            assert '"GET /a%22b HTTP/1.1" 200 5 "-" "-"' in second

    asyncio.run(main())


@given(st.text(), st.text(), st.text())
def test_nobody_can_write_a_line_of_his_own(target: str, referer: str, agent: str) -> None:
    entry = Entry(
        at=1.5, client="10.0.0.1", method="GET", target=target, version="HTTP/1.1", status=200, referer=referer, user_agent=agent
    )
    combined = combined_line(entry)
    assert combined.splitlines() == [combined]
    assert COMBINED.fullmatch(combined)
    text = json_line(entry)
    assert text.splitlines() == [text]
    assert json.loads(text)["user_agent"] == agent


def test_a_place_that_can_not_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig("--access-log", str(tmp_path)) as r:
            await asyncio.wait_for(r.proxy.ended(), 20)
            assert f"--access-log {tmp_path}: Is a directory" in r.proxy.log()

    asyncio.run(main())


@pytest.mark.parametrize("text", ["", "a" * 10])
def test_texts_without_anything_odd_stay_as_they_are(text: str) -> None:
    entry = Entry(at=0.0, client="c", method="GET", target=f"/{text}", version="HTTP/1.1", status=200)
    assert f'"GET /{text} HTTP/1.1"' in combined_line(entry)
