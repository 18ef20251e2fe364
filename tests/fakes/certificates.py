"""Identities as a test needs them: those that a manager gave, and those that nobody should have."""

import time
from dataclasses import replace
from pathlib import Path

from rookery.identity import Identity, load
from rookery.identity.keys import make_request
from rookery.model import PartKind
from rookery_manager.identity.authority import Authority
from rookery_manager.identity.keeping import open_authority


def authority_of(data: Path, *, life_s: float = 3600.0) -> Authority:
    """The one that a manager made in its data directory, or a new one."""
    return open_authority(data / "ca", "c1", time.time, part_life_s=life_s)


def issued(authority: Authority, kind: PartKind, id: str) -> Identity:
    key_pem, request_pem = make_request()
    made = authority.issue(kind, id, request_pem)
    return Identity(
        kind=kind,
        id=id,
        cluster_id=authority.cluster_id,
        renew_at=made.renew_at,
        ends_at=made.ends_at,
        authority_pem=authority.pem,
        certificate_pem=made.pem,
        key_pem=key_pem,
    )


def admin_of(data: Path) -> Identity:
    identity = load(data / "admin.pem")
    assert identity is not None
    return identity


def trusting(identity: Identity, authority: Authority) -> Identity:
    """The same, but believing another authority: as an attacker does, who does not care whom it talks to."""
    return replace(identity, authority_pem=authority.pem)
