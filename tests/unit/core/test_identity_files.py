"""Tokens and identities as texts: what is written is read again, and what is damaged is told in words."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import authority_of, issued
from hypothesis import given
from hypothesis import strategies as st
from rookery.identity import BadToken, Damaged, Identity, Token, load, parse_token, save
from rookery.identity.find import NoIdentity, find_identity, login_path
from rookery.identity.token import base32
from rookery.model import PartKind


@given(
    authority=st.binary(min_size=32, max_size=32),
    id=st.binary(min_size=5, max_size=5),
    secret=st.binary(min_size=20, max_size=40),
)
def test_a_token_is_read_as_it_was_written(authority: bytes, id: bytes, secret: bytes) -> None:
    token = Token(authority=base32(authority), id=base32(id), secret=base32(secret))
    assert parse_token(f" {token}\n") == token
    assert "secret" not in repr(token)


@given(st.text())
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadToken) as caught:
        parse_token(text)
    if len(text) > 8:
        assert text not in str(caught.value)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return issued(authority_of(tmp_path_factory.mktemp("ca")), PartKind.PERSON, "ana")


def test_an_identity_is_kept_for_its_owner_alone(identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    save(path, identity)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = load(path)
    assert found is not None
    assert replace(found, renew_at=0, ends_at=0) == replace(identity, renew_at=0, ends_at=0)
    assert identity.key_pem not in repr(identity)
    assert load(tmp_path / "another") is None
    assert list(tmp_path.iterdir()) == [path]


@given(at=st.integers(0, 1500), junk=st.binary(max_size=20))
def test_a_damaged_identity_is_told_by_its_path(
    identity: Identity, tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "identity.pem"
    save(path, identity)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + junk)
    if at + len(junk) < len(whole) - 2:
        with pytest.raises(Damaged, match=str(path)):
            load(path)


def test_a_persons_program_finds_the_credential(identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("rookery.identity.find.data_dir", lambda part: tmp_path / part)
    monkeypatch.delenv("ROOKERY_CREDENTIAL", raising=False)
    with pytest.raises(NoIdentity, match="rookery login"):
        find_identity("127.0.0.1:7070")
    local = tmp_path / "manager"
    local.mkdir()
    (local / "address").write_text("0.0.0.0:7070\n")
    save(local / "admin.pem", replace(identity, id="admin"))
    assert find_identity("127.0.0.1:7070").id == "admin"
    for elsewhere in ("127.0.0.1:7071", "10.0.0.1:7070"):
        with pytest.raises(NoIdentity):
            find_identity(elsewhere)
    path = login_path("127.0.0.1:7070")
    path.parent.mkdir(parents=True)
    save(path, identity)
    assert find_identity("127.0.0.1:7070").id == "ana"
    save(tmp_path / "mine.pem", replace(identity, id="bo"))
    monkeypatch.setenv("ROOKERY_CREDENTIAL", str(tmp_path / "mine.pem"))
    assert find_identity("10.0.0.1:7070").id == "bo"
    save(tmp_path / "mine.pem", replace(identity, ends_at=1.0))
    with pytest.raises(NoIdentity, match="has ended"):
        find_identity("127.0.0.1:7070")
