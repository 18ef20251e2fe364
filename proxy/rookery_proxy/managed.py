"""The certificates that came from the manager, kept on the disk: a proxy that was restarted serves them without a manager.

Invariant: a file is replaced as a whole, can be read by its owner alone, and is named after its host.
"""

import logging
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from rookery.model import ServedCertificate

from rookery_proxy.certificates import Certificate, load

_HOST = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*")

log = logging.getLogger(__name__)


class Managed:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, Certificate] = {}

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return tuple(self._held[host] for host in sorted(self._held))

    def load(self) -> None:
        """What was served last. One that can't be read is reported, and the manager sends it anew."""
        for path in self._directory.glob("*.pem"):
            try:
                self._held[path.stem] = load(path, path)
            except (OSError, ValueError) as error:
                log.warning("%s can't be served (%s) until the manager sends it anew", path, error)

    def take(self, puts: Iterable[ServedCertificate], hosts: Collection[str]) -> bool:
        """Takes over new ones, and drops all but those of `hosts`. Returns whether that changes anything."""
        before = self.certificates
        for put in puts:
            if not _HOST.fullmatch(put.host):
                log.error("the manager sent a certificate of %r, which is no host", put.host)
                continue
            path = self._directory / f"{put.host}.pem"
            try:
                if put.host not in self._held or path.read_bytes() != put.pem:
                    self._held[put.host] = self._keep(path, put.pem)
            except (OSError, ValueError) as error:
                log.error("the certificate of %s from the manager can't be served: %s", put.host, error)
        for host in self._held.keys() - set(hosts):
            del self._held[host]
            (self._directory / f"{host}.pem").unlink(missing_ok=True)
        return self.certificates != before

    def _keep(self, path: Path, data: bytes) -> Certificate:
        """Raises OSError or ValueError, and leaves what was there, where it can't be served."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        load(temporary, temporary)
        os.replace(temporary, path)
        return load(path, path)
