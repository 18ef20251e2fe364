"""Parts of a cluster that do next to nothing, for tests of what starts and stops them.

An agent or proxy has joined as long as its file `joined` is there. Each part writes a line to `story` when it starts and stops.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from fake_control import T0, FakeControl, serving
from rookery import model


def install(folder: Path) -> None:
    """Makes the modules by whose names parts are started; the folder goes first on PYTHONPATH."""
    for part in ("manager", "agent", "proxy"):
        package = folder / f"rookery_{part}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "main.py").write_text(f"from fake_parts import {part}\n{part}()\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("listen", "manager", "name", "address", "runtime", "on-stop", "bind", "workers"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--insecure", action="store_true", required=True)
    return parser.parse_args()


def _live(root: Path, name: str, data: Path) -> None:
    stop = threading.Event()
    if os.environ.get("FAKE_STUBBORN") == name:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if os.environ.get("FAKE_BROKEN") == name:
        sys.exit(f"{name}: the disk is full")
    data.mkdir(parents=True, exist_ok=True)
    _tell(root, f"start {name}")
    (data / "joined").write_text(name)
    print(f"{name} is here", file=sys.stderr, flush=True)
    stop.wait()
    (data / "joined").unlink()
    _tell(root, f"stop {name}")


def _tell(root: Path, line: str) -> None:
    with (root / "story").open("a") as story:
        story.write(line + "\n")


def agent() -> None:
    given = _arguments()
    _live(given.data.parent.parent, given.name, given.data)


def proxy() -> None:
    given = _arguments()
    _live(given.data.parent, "proxy", given.data)


def manager() -> None:
    given = _arguments()
    root = given.data.parent
    control = FakeControl()

    async def list_nodes(_request: Any, _context: Any) -> Any:
        from rookery.v1 import control_pb2
        from rookery.wire import encode

        control.nodes.clear()
        for joined in sorted(root.glob("nodes/*/joined")):
            control.add_node(joined.read_text())
        return control_pb2.ListNodesResponse(nodes=[encode(detail) for detail in control.nodes.values()])

    async def list_proxies(_request: Any, _context: Any) -> Any:
        from rookery.v1 import control_pb2
        from rookery.wire import encode

        found = model.Proxy(info=model.ProxyInfo(id="p"), connected=(root / "proxy" / "joined").exists(), last_seen_at=T0)
        return control_pb2.ListProxiesResponse(proxies=[encode(found)])

    control.ListNodes = list_nodes  # type: ignore[method-assign]
    control.ListProxies = list_proxies  # type: ignore[method-assign]
    with serving(control, given.listen) as address:
        given.data.mkdir(parents=True, exist_ok=True)
        (given.data / "address").write_text(address)
        _live(root, "manager", given.data)
