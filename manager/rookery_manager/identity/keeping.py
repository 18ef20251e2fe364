"""The authority's files: made at the first start, replaced by a rotation, readable by the manager's owner only.

    ca.pem, ca-key.pem       the authority that makes certificates
    before.pem               while it replaces another: that one's certificate, and its signature of the new one, the voucher
    next.pem, next-key.pem   for a moment: a rotation that has been decided on, and is carried out by whoever finds it

Invariant: whenever this is killed, the next start finds either authority whole. `next.pem` is written last and decides; from then
on it goes forward only. The key of the old authority is gone as soon as the new one is in its place.
"""

import contextlib
import datetime
import logging
import os
import re
import secrets
import time
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from rookery.identity.files import write_private
from rookery.identity.join import SKEW_S
from rookery.identity.keys import key_pem
from rookery.identity.token import split_pem
from rookery.process import Stop

from rookery_manager.clock import Clock
from rookery_manager.identity.authority import PERSON_LIFE_S, Authority, Before, named, usage

log = logging.getLogger("rookery.manager")

AUTHORITY_LIFE_S = 10 * 365 * 86_400.0
_TOLD_BEFORE_S = 180 * 86_400.0  # its end
_CERTIFICATE, _KEY, _BEFORE, _NEXT, _NEXT_KEY = "ca.pem", "ca-key.pem", "before.pem", "next.pem", "next-key.pem"
_LINE = re.compile(r"^([a-z-]+): ([0-9.]+)$", re.MULTILINE)
_ANEW = "Without one, move the folder away: a new authority is made, and every agent, proxy and person has to join again"


def open_authority(folder: Path, cluster_id: str, clock: Clock, *, part_life_s: float) -> Authority:
    """The authority in the folder, made where there is none. Raises Stop."""
    certificate_path, key_path = folder / _CERTIFICATE, folder / _KEY
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _carry_out(folder)
        if not key_path.exists() and not certificate_path.exists():
            key, certificate = _made(cluster_id, "", min(clock(), time.time()))
            write_private(key_path, key_pem(key))
            write_private(certificate_path, _pem(certificate))
            log.info("made a certificate authority for this cluster, in %s: keep a copy of it with the backups", folder)
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        read = load_pem_private_key(key_path.read_bytes(), None)
        before = _read_before(folder / _BEFORE)
    except OSError as error:
        raise Stop(f"{error.filename or folder}: the certificate authority can't be used: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise Stop(f"{folder}: the certificate authority is damaged ({error}); put back a copy of it. {_ANEW}") from None
    if not isinstance(read, ec.EllipticCurvePrivateKey) or read.public_key() != certificate.public_key():
        raise Stop(f"{folder}: the certificate is not that of the key; put back a copy of both. {_ANEW}")
    if key_path.stat().st_mode & 0o077:
        raise Stop(f"{key_path}: others than its owner can read it; take care of that (chmod 600) and of who did")
    left_s = certificate.not_valid_after_utc.timestamp() - clock()
    if left_s < _TOLD_BEFORE_S:
        log.warning("the certificate authority ends in %.0f days; 'rookery ca rotate' replaces it", left_s / 86_400)
    return Authority(read, certificate, clock, part_life_s=part_life_s, before=before)


def rotate(folder: Path, authority: Authority, now: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate, Before | None]:
    """What takes the place of this authority, which is trusted until `drop`. Raises OSError, and changes nothing."""
    began = min(now, time.time())
    key, certificate = _made(authority.cluster_id, secrets.token_hex(4), began)
    voucher = _signed(certificate, certificate.not_valid_after_utc, authority.certificate.subject, authority.key)
    head = f"began: {now:.3f}\nparts-end: {now + authority.part_life_s:.3f}\npeople-end: {now + PERSON_LIFE_S:.3f}\n"
    try:
        write_private(folder / _BEFORE, head + authority.pem + _pem(voucher))
        write_private(folder / _NEXT_KEY, key_pem(key))
        write_private(folder / _NEXT, _pem(certificate))
    except OSError:
        _carry_out(folder)
        raise
    _carry_out(folder)
    return key, certificate, _read_before(folder / _BEFORE)


def drop(folder: Path) -> None:
    """The authority that was replaced is trusted no more. Raises OSError, and changes nothing."""
    (folder / _BEFORE).unlink(missing_ok=True)
    _sync(folder)


def _carry_out(folder: Path) -> None:
    """Goes on with a rotation that was decided on; what was not is forgotten."""
    if (folder / _NEXT).exists():
        if (folder / _NEXT_KEY).exists():
            os.replace(folder / _NEXT_KEY, folder / _KEY)
            _sync(folder)
        os.replace(folder / _NEXT, folder / _CERTIFICATE)
        _sync(folder)
    elif (folder / _NEXT_KEY).exists():
        (folder / _NEXT_KEY).unlink()
    before = folder / _BEFORE
    with contextlib.suppress(FileNotFoundError, IndexError):
        if split_pem(_certificates(before.read_text()))[0] == (folder / _CERTIFICATE).read_text():
            before.unlink()


def _read_before(path: Path) -> Before | None:
    """Raises OSError, ValueError or KeyError."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    said = dict(_LINE.findall(text))
    root_pem, voucher_pem = split_pem(_certificates(text))
    return Before(
        pem=root_pem,
        certificate=x509.load_pem_x509_certificate(root_pem.encode()),
        voucher_pem=voucher_pem,
        began_at=float(said["began"]),
        parts_end_at=float(said["parts-end"]),
        people_end_at=float(said["people-end"]),
    )


def _certificates(text: str) -> str:
    return text[max(0, text.find("-----BEGIN")) :]


def _made(cluster_id: str, unit: str, now: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A key, and the certificate that it signs for itself. `unit` tells one authority of a cluster from another."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = named(cluster_id, unit)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_utc(now - SKEW_S))
        .not_valid_after(_utc(now + AUTHORITY_LIFE_S))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _signed(
    certificate: x509.Certificate, until: datetime.datetime, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """The same authority, vouched for by another."""
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _utc(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
