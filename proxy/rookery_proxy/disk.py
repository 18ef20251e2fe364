"""What the proxy keeps on its disk: who it is, and the last table it served.

Invariant: a file is replaced as a whole, so a killed process leaves the old or the new one. A damaged one (the machine lost its
power) is reported and taken for none.
"""

import contextlib
import logging
import os
import threading
import uuid
from pathlib import Path

from rookery.model import RouteTable
from rookery.wire import WireError, from_bytes, to_bytes

log = logging.getLogger(__name__)


class Disk:
    def __init__(self, directory: Path) -> None:
        """Raises OSError when the directory can't be made."""
        self._directory = directory
        self._saving = threading.Lock()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def proxy_id(self) -> str:
        """This proxy's id, made at its first start."""
        path = self._directory / "id"
        with contextlib.suppress(OSError):
            known = path.read_text().strip()
            if known:
                return known
        made = uuid.uuid4().hex
        self._write("id", made.encode())
        return made

    def load(self) -> RouteTable:
        """The table served last; an empty one where there is none."""
        path = self._directory / "routes"
        try:
            return from_bytes(RouteTable, path.read_bytes())
        except FileNotFoundError:
            return RouteTable()
        except (OSError, WireError) as error:
            log.warning("%s can't be read (%s): nothing is served until the manager sends the table", path, error)
            return RouteTable()

    def save(self, table: RouteTable) -> None:
        """Keeps a table for the next start. A disk that does not take it is reported, and serving goes on.

        Callers in several threads go one after the other: the last save of a proxy that stops may meet one that is under way.
        """
        try:
            with self._saving:
                self._write("routes", to_bytes(table))
        except OSError as error:
            log.error("the route table was not saved in %s: %s", self._directory, error.strerror or error)

    def _write(self, name: str, data: bytes) -> None:
        temporary = self._directory / f"{name}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        os.replace(temporary, self._directory / name)
