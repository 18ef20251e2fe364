"""A certificate authority of its own: Debian's `pebble`, with all names at 127.0.0.1 by `pebble-challtestsrv`, on loopback."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType

import pytest
from pem import Authority
from ports import free_port

PATIENCE_S = 30.0
needs_pebble = pytest.mark.skipif(
    not (shutil.which("pebble") and shutil.which("pebble-challtestsrv")), reason="pebble is not installed (Debian package pebble)"
)


class Pebble:
    """`http_port` is where it looks for challenges. `reject_percent` of nonces are refused, `reuse_percent` of proofs kept."""

    def __init__(
        self, directory: Path, *, http_port: int, life_s: int = 86_400, reject_percent: int = 5, reuse_percent: int = 0
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = Authority(directory)
        self.ca_file = self._authority.path
        self._port, self._manage_port, self._dns_port = free_port(), free_port(), free_port()
        self._settings = {"PEBBLE_WFE_NONCEREJECT": reject_percent, "PEBBLE_AUTHZREUSE": reuse_percent, "PEBBLE_VA_NOSLEEP": 1}
        self._http_port = http_port
        self._life_s = life_s
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"https://localhost:{self._port}/dir"

    def __enter__(self) -> "Pebble":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        chain, key = self._authority.issue("localhost")
        (self._directory / "pebble.crt").write_bytes(chain)
        (self._directory / "pebble.key").write_bytes(key)
        settings = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._manage_port}",
            "certificate": str(self._directory / "pebble.crt"),
            "privateKey": str(self._directory / "pebble.key"),
            "httpPort": self._http_port,
            "tlsPort": free_port(),
            "certificateValidityPeriod": self._life_s,
        }
        config = self._directory / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}))
        environment = {**os.environ, **{name: str(value) for name, value in self._settings.items()}}
        names = [
            "pebble-challtestsrv", "-dns01", f"127.0.0.1:{self._dns_port}", "-defaultIPv6", "", "-http01", "", "-https01", "",
            "-tlsalpn01", "", "-management", f"127.0.0.1:{free_port()}",
        ]  # fmt: skip
        authority = ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{self._dns_port}"]
        with (self._directory / "pebble.log").open("ab") as log:
            for command in (names, authority):
                self._running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        deadline = time.monotonic() + PATIENCE_S
        while not _listens(self._port) or not _listens(self._manage_port):
            assert time.monotonic() < deadline, (self._directory / "pebble.log").read_text()
            assert all(process.poll() is None for process in self._running), (self._directory / "pebble.log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """Its orders, accounts and roots are gone for ever: a start makes another authority at the same place."""
        for process in self._running:
            process.kill()
            process.wait()
        self._running.clear()

    def root(self) -> str:
        """The root, in PEM, that its certificates are trusted by."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(f"https://localhost:{self._manage_port}/roots/0", context=context) as answer:
            found: str = answer.read().decode()
        return found

    def log(self) -> str:
        return (self._directory / "pebble.log").read_text()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
