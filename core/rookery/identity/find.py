"""Which identity a person's programs show to a manager: that of ROOKERY_CREDENTIAL, of a login, or of this machine's admin."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from rookery.identity.files import Damaged, Identity, load
from rookery.process import data_dir

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_EVERYWHERE = ("0.0.0.0", "[::]", *_LOOPBACK)


class NoIdentity(Exception):
    """There is none for this manager; the message says how to get one."""


def find_identity(address: str) -> Identity:
    """The identity for the manager at `HOST:PORT`. Raises NoIdentity."""
    for path in _places(address):
        try:
            identity = load(path)
        except PermissionError:
            continue
        except (Damaged, OSError) as error:
            raise NoIdentity(f"{error}; remove it, and log in again") from None
        if identity is None:
            continue
        if identity.ends_at <= time.time():
            raise NoIdentity(f"the credential in {path} has ended; log in again: rookery login {address}")
        return identity
    raise NoIdentity(
        f"there is no credential here for the manager at {address}. Log in with a token that one of its admins gives you "
        f"('rookery person add'): rookery login {address}. On its own machine, its owner needs none: "
        "ROOKERY_CREDENTIAL=DIR/admin.pem, with DIR the manager's --data. One that was started with --insecure wants --insecure"
    )


def _places(address: str) -> Iterator[Path]:
    named = os.environ.get("ROOKERY_CREDENTIAL", "")
    if named:
        if not Path(named).exists():
            raise NoIdentity(f"ROOKERY_CREDENTIAL: there is no {named}")
        yield Path(named)
        return
    yield login_path(address)
    for folder in (data_dir("manager"), data_dir("local") / "manager"):
        if _listens(folder, address):
            yield folder / "admin.pem"


def login_path(address: str) -> Path:
    """Where `rookery login` keeps what it got."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "rookery" / "credentials" / f"{address.replace('/', '_')}.pem"


def _listens(folder: Path, address: str) -> bool:
    """Whether the manager of that data directory is the one at that address of this machine."""
    try:
        host, _, port = (folder / "address").read_text().strip().rpartition(":")
    except OSError:
        return False
    wanted_host, _, wanted_port = address.rpartition(":")
    return port == wanted_port and (host == wanted_host or (host in _EVERYWHERE and wanted_host in _LOOPBACK))
