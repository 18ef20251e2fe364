"""Runs the corpus through HAProxy and nginx too, and writes where they differ from this proxy: docs/http1-peers.md.

    python tests/http1/compare.py [--check]

`--check` writes nothing. A difference without an explanation (explained.txt) fails in either case. What is not installed (Debian
packages haproxy, nginx-light) is skipped, and said.
"""

import argparse
import asyncio
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "http1"), str(ROOT / "tests" / "fakes")]

from http1_answers import ANSWERS  # noqa: E402
from http1_case import Answered, Asked  # noqa: E402
from http1_explained import read, why  # noqa: E402
from http1_forwarded import FORWARDED  # noqa: E402
from http1_lane import Lane  # noqa: E402
from http1_meaning import meaning  # noqa: E402
from http1_refused import REFUSED  # noqa: E402
from proxy_rig import Rig, endpoint, free_port, rig, route, wait_until  # noqa: E402

PAGE = ROOT / "docs" / "http1-peers.md"
LANES = 16
PACKAGES = {"haproxy": "haproxy", "nginx": "nginx-light"}
CASES: tuple[Asked | Answered, ...] = (*REFUSED, *FORWARDED, *ANSWERS)
TOP = """# HTTP/1, beside HAProxy and nginx

Made by `python tests/http1/compare.py`; the reasons are in `tests/http1/explained.txt`. Each case of `tests/http1` ran through
this proxy and through the peers, as Debian has them and with no more set than a proxy needs. Not compared: the statuses of
refusals, whether a bad answer becomes a 502 or an ended connection, the fields of one connection and of who asked, how a body is
cut into chunks, the case of names. HAProxy takes a malformed trailer or not, as its parts arrive: two of its rows change between
runs.
"""
Meanings = dict[Asked | Answered, str]


def haproxy_config(directory: Path, lanes: list[Lane]) -> str:  # noqa: ARG001
    parts = [
        "global\n  nbthread 1\ndefaults\n  mode http\n  timeout client 3s\n  timeout server 3s\n  timeout connect 3s\n"
        "  timeout http-request 3s\n  option forwardfor\n  http-reuse always\n"
    ]
    for n, lane in enumerate(lanes):
        parts.append(f"listen l{n}\n  bind 127.0.0.1:{lane.port}\n  server s 127.0.0.1:{lane.endpoint_port}\n")
    return "".join(parts)


def nginx_config(directory: Path, lanes: list[Lane]) -> str:
    temporary = " ".join(f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    parts = [
        f"worker_processes 1; daemon off; master_process off; pid {directory}/pid; error_log /dev/null; events {{}} http {{ "
        f"access_log off; {temporary} proxy_read_timeout 3s; client_header_timeout 3s; client_body_timeout 3s; send_timeout 3s; "
        "proxy_request_buffering off; proxy_http_version 1.1; proxy_next_upstream off; "
    ]
    for n, lane in enumerate(lanes):
        parts.append(
            f"upstream u{n} {{ server 127.0.0.1:{lane.endpoint_port}; keepalive 8; }} server {{ listen 127.0.0.1:{lane.port}; "
            f'location / {{ proxy_pass http://u{n}; proxy_set_header Connection ""; proxy_set_header Host $http_host; }} }} '
        )
    return "".join(parts) + "}"


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "haproxy": lambda config: ["haproxy", "-db", "-f", str(config)],
    "nginx": lambda config: ["nginx", "-p", str(config.parent), "-c", str(config)],
}
CONFIGS: dict[str, Callable[[Path, list[Lane]], str]] = {"haproxy": haproxy_config, "nginx": nginx_config}


def version(name: str) -> str:
    done = subprocess.run([name, "-v"], capture_output=True, text=True, check=True)
    found = re.search(r"[0-9]+\.[0-9]+(?=\.[0-9]+)", done.stdout + done.stderr)
    return f"{name} {found[0] if found else ''}"


async def run(lanes: list[Lane]) -> Meanings:
    """What each case comes to, through the proxy that the lanes lead through."""
    found: Meanings = {}
    waiting = list(reversed(CASES))

    async def work(lane: Lane) -> None:
        while waiting:
            case = waiting.pop()
            found[case] = meaning(case, await lane.run(case, (), timeout_s=6.0))

    await asyncio.gather(*(work(lane) for lane in lanes))
    return found


async def lanes_of(stack: AsyncExitStack) -> list[Lane]:
    lanes = [Lane() for _ in range(LANES)]
    for lane in lanes:
        await lane.start()
        stack.push_async_callback(lane.stop)
        lane.port = free_port()
    return lanes


async def run_peer(name: str) -> Meanings:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lanes = await lanes_of(stack)
        config = directory / "config"
        config.write_text(CONFIGS[name](directory, lanes))
        nowhere = subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*COMMANDS[name](config), stdout=nowhere, stderr=nowhere)
        stack.push_async_callback(process.wait)
        stack.callback(process.terminate)
        await wait_until(lambda: all(accepts(lane.port) for lane in lanes), f"{name} listens")
        return await run(lanes)


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def run_ours() -> Meanings:
    async with AsyncExitStack() as stack:
        r: Rig = await stack.enter_async_context(rig())
        lanes = await lanes_of(stack)
        await r.serve(*(route(x.port, endpoint(f"e{n}", x.endpoint_port), name=f"l{n}/web") for n, x in enumerate(lanes)))
        return await run(lanes)


async def run_all(names: list[str]) -> tuple[Meanings, dict[str, Meanings]]:
    ours = await run_ours()
    return ours, {version(name): await run_peer(name) for name in names}


def page(ours: Meanings, peers: dict[str, Meanings]) -> tuple[str, list[str]]:
    """The page, and the rules that nobody has explained."""
    same = {name: sum(found[case] == ours[case] for case in CASES) for name, found in peers.items()}
    lines = [
        TOP,
        f"Of {len(CASES)} cases, " + ", ".join(f"{name} does the same in {n}" for name, n in same.items()) + ". The others:",
    ]
    reasons = read()
    unexplained = []
    for kind, cases in (("Requests", (*REFUSED, *FORWARDED)), ("Answers", ANSWERS)):
        for rule in dict.fromkeys(case.rule for case in cases):
            rows = [
                row(case, ours, peers)
                for case in cases
                if case.rule == rule and any(p[case] != ours[case] for p in peers.values())
            ]
            if not rows:
                continue
            reason = why(reasons, rule, answer=kind == "Answers")
            if reason is None:
                unexplained.append(f"{kind}: {rule}")
            names = " | ".join(peers)
            lines += [
                "",
                f"## {kind}: {rule}",
                "",
                reason or "",
                "",
                f"| case | here | {names} |",
                "|---|---|" + "---|" * len(peers),
                *rows,
            ]
    return "\n".join(lines) + "\n", unexplained


def row(case: Asked | Answered, ours: Meanings, peers: dict[str, Meanings]) -> str:
    told = ["the same" if found[case] == ours[case] else found[case] for found in peers.values()]
    return "| " + " | ".join(text.replace("|", "\\|").replace("<", "&lt;") for text in (case.name, ours[case], *told)) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description="Where this proxy differs from HAProxy and nginx.")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    for name in missing:
        print(f"SKIPPED: {name} is not installed (apt-get install {PACKAGES[name]})")
    if len(missing) == len(PACKAGES):
        return 0
    text, unexplained = page(*asyncio.run(run_all([name for name in PACKAGES if name not in missing])))
    for rule in unexplained:
        print(f"nobody has said why a peer differs: {rule}")
    if missing:
        print(f"{PAGE} is left alone: it needs all peers")
    elif not options.check:
        PAGE.write_text(text)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
