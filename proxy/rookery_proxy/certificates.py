"""The certificates in a directory: which there are, for which names, and what is wrong with them.

`NAME.pem` holds a chain and its key, or `NAME.crt` (or `.pem`) the chain and `NAME.key` the key. Invariant: a certificate that
was good is served until a better one is whole: two files are never replaced at the same moment.
"""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from rookery_proxy.table import Table

Stamp = tuple[int, ...]

_SOON_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`names` are those it is for, in lower case, `*.parent` for all one level below. `stamp` changes with its files."""

    names: tuple[str, ...]
    chain: str
    key: str
    expires_at: float
    stamp: Stamp = ()


class Folder:
    """The directory as it was looked at last; the first of `certificates` is for who names no other (`default` goes first)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[str, Certificate] = {}
        self._seen: dict[str, Stamp] = {}
        self._broken: dict[str, str] = {}
        self._missing = ""

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return tuple(self._held[stem] for stem in sorted(self._held, key=lambda stem: (stem != "default", stem)))

    def faults(self, now: float) -> tuple[str, ...]:
        """What is wrong, each with its file and the way out. `now` is since the epoch."""
        found = [self._missing] if self._missing else []
        found += [self._broken[stem] for stem in sorted(self._broken)]
        for certificate in self.certificates:
            if certificate.expires_at < now:
                found.append(f"{certificate.chain}: expired {_day(certificate.expires_at)}; put a new one in its place")
            elif certificate.expires_at < now + _SOON_S:
                found.append(f"{certificate.chain}: expires {_day(certificate.expires_at)}; put a new one in its place")
        return tuple(found)

    def look(self) -> bool:
        """Reads what has changed. Returns whether the certificates have."""
        before = self.certificates
        try:
            pairs = _pairs(self._path)
            self._missing = ""
        except OSError as error:
            self._missing = f"{self._path}: {error.strerror or error}; certificates are read from there"
            return False  # what was read is still good
        for stem in self._seen.keys() - pairs.keys():
            self._seen.pop(stem)
            self._held.pop(stem, None)
            self._broken.pop(stem, None)
        for stem, (chain, key) in pairs.items():
            try:
                stamp = (*_stamp(chain), *_stamp(key))
                if self._seen.get(stem) == stamp:
                    continue
                self._held[stem] = load(chain, key)
                self._broken.pop(stem, None)
            except (OSError, ValueError) as error:  # an SSLError is an OSError
                self._broken[stem] = f"{chain}: {_why(error)}"
                stamp = ()  # looked at again: the other file may be on its way
            self._seen[stem] = stamp
        return self.certificates != before


def _pairs(directory: Path) -> dict[str, tuple[Path, Path]]:
    """Chain and key by the names of the files. Raises OSError."""
    files = {path.name: path for path in directory.iterdir() if path.suffix in (".pem", ".crt", ".key")}
    found = {}
    for name, path in files.items():
        stem = name.rpartition(".")[0]
        if path.suffix in (".pem", ".crt"):
            found[stem] = (path, files.get(f"{stem}.key", path))
    return found


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def load(chain: Path, key: Path) -> Certificate:
    """Raises OSError or ValueError for one that can't be served."""
    stamp = (*_stamp(chain), *_stamp(key))
    from cryptography import x509  # lazily: it costs memory that a proxy without certificates need not spend
    from cryptography.x509.oid import NameOID

    leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password="")
    return Certificate(
        names=tuple(name.lower() for name in names),
        chain=str(chain),
        key=str(key),
        expires_at=leaf.not_valid_after_utc.timestamp(),
        stamp=stamp,
    )


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key does not fit the certificate"
        return f"its key can't be used: {error.reason or error}; it must be there, in PEM, and without a passphrase"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "there is no certificate in it; it must be in PEM"


def _day(at: float) -> str:
    return time.strftime("on %Y-%m-%d at %H:%M UTC", time.gmtime(at))


def covers(certificate: Certificate, host: str) -> bool:
    """Whether the certificate is for that host, which may be `*.parent`."""
    name = host.lower()
    return name in certificate.names or f"*.{name.partition('.')[2]}" in certificate.names


def tls_faults(table: Table, folder: Folder | None, now: float, managed: tuple[Certificate, ...] = ()) -> list[tuple[int, str]]:
    """What is in the way of the table's TLS, each with its port. `now` is since the epoch, `managed` came from the manager, which
    says itself what is wrong with those."""
    ports = sorted(port for port, listener in table.listeners.items() if listener.tls)
    found = [(ports[0], why) for why in folder.faults(now)] if folder is not None and ports else []
    certificates = (*(folder.certificates if folder is not None else ()), *managed)
    for port in ports:
        listener = table.listeners[port]
        own = {route.host.lower() for route in listener.routes if not route.acme}
        if folder is None and own:
            found.append((port, "TLS is asked for, and this proxy has no certificates; start it with --certificates DIR"))
        elif not certificates:
            why = "there is no certificate that can be served" if own else "the manager has sent no certificate yet"
            found.append((port, f"{why}, so nobody can connect"))
        bare = [host for host in sorted(listener.hosts) if host and not any(covers(one, host) for one in certificates)]
        if certificates and (folder is not None or not own):
            for host in bare:
                what = "no certificate is for" if host in own else "the manager has not sent a certificate yet for"
                found.append((port, f"{what} {host}; clients are shown that of {certificates[0].chain}"))
    return found
