"""The certificate authority: what it makes, what it refuses to sign, and what it says of damaged files."""

import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import authority_of, issued
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from rookery.identity.keys import make_request
from rookery.identity.token import digest_of
from rookery.model import PartKind
from rookery.process import Stop
from rookery_manager.identity.authority import BadRequest, made_at, serial_at
from rookery_manager.identity.keeping import open_authority


def test_it_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    first, second = authority_of(tmp_path), authority_of(tmp_path)
    assert first.pem == second.pem
    assert first.digest == digest_of(second.pem)
    for path in (tmp_path / "ca").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert authority_of(tmp_path / "another").digest != first.digest


def test_a_certificate_names_its_part_and_can_sign_nothing(tmp_path: Path) -> None:
    authority = authority_of(tmp_path, life_s=100.0)
    before = time.time()
    identity = issued(authority, PartKind.AGENT, "n1")
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem.encode())
    certificate.verify_directly_issued_by(authority.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["rookery://c1/agent/n1"]
    assert not names.get_values_for_type(x509.DNSName)  # it can't pass for a manager
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert before <= made_at(certificate.serial_number) <= time.time() + 1e-3
    assert certificate.not_valid_before_utc.timestamp() <= before - 86_000  # for clocks that are behind
    assert before + 100 <= certificate.not_valid_after_utc.timestamp() <= time.time() + 101
    assert identity.renew_at == pytest.approx(before + 100 * 2 / 3, abs=5)


@given(st.floats(1e9, 4e9))
def test_a_serial_number_tells_when_it_was_made(at: float) -> None:
    serial = serial_at(at)
    assert 0 <= made_at(serial) - at < 1e-5
    assert serial.bit_length() < 159  # as X.509 asks


def _foreign_signature() -> str:
    """A request for one key, signed by another."""
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = bytearray(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    numbers, others = key.public_key().public_numbers(), other.public_key().public_numbers()
    old = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    new = others.x.to_bytes(32, "big") + others.y.to_bytes(32, "big")
    return x509.load_der_x509_csr(bytes(der.replace(old, new))).public_bytes(Encoding.PEM).decode()


def _rsa() -> str:
    key = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    "request_pem",
    ["", "-----BEGIN", "x" * 20_000, _foreign_signature(), _rsa()],
    ids=["none", "cut", "long", "not its key", "rsa"],
)
def test_what_is_no_good_request_is_refused(tmp_path: Path, request_pem: str) -> None:
    with pytest.raises(BadRequest, match="certificate request"):
        authority_of(tmp_path).issue(PartKind.AGENT, "n1", request_pem)


def _cut(folder: Path) -> None:
    path = folder / "ca-key.pem"
    path.write_bytes(path.read_bytes()[:100])


def _swapped(folder: Path) -> None:
    authority_of(folder.parent / "other")
    path = folder / "ca-key.pem"
    path.write_bytes((folder.parent / "other" / "ca" / "ca-key.pem").read_bytes())


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_cut, "the certificate authority is damaged"),
        (_swapped, "the certificate is not that of the key"),
        (lambda folder: (folder / "ca.pem").unlink(), "ca.pem: the certificate authority can't be used: No such file"),
        (lambda folder: (folder / "ca-key.pem").unlink(), "ca-key.pem: the certificate authority can't be used: No such file"),
        (lambda folder: (folder / "ca-key.pem").chmod(0o644), "others than its owner can read it"),
    ],
)
def test_damage_is_told_in_words_and_nothing_is_lost(tmp_path: Path, harm: Callable[[Path], None], words: str) -> None:
    authority_of(tmp_path)
    folder = tmp_path / "ca"
    harm(folder)
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(Stop) as caught:
        open_authority(folder, "c1", time.time, part_life_s=10)
    assert words in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == left


def test_a_clock_that_was_set_back_makes_no_certificate_that_is_not_valid_yet(tmp_path: Path) -> None:
    """The manager's own time never lies before what is recorded; TLS goes by the machine's."""
    authority_of(tmp_path)
    ahead = open_authority(tmp_path / "ca", "c1", lambda: time.time() + 10 * 86_400, part_life_s=100)
    _, request_pem = make_request()
    made = ahead.issue(PartKind.AGENT, "n1", request_pem)
    certificate = x509.load_pem_x509_certificate(made.pem.encode())
    assert certificate.not_valid_before_utc.timestamp() < time.time()
