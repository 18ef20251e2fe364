"""What the manager itself keeps of identities: the admin's, for the command line on this machine, and a token for each part.

Each is a file that only the manager's owner can read. Invariant: they are there, and valid, from before the manager says that it
listens for as long as it runs.
"""

import asyncio
import hmac
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from rookery.identity import Damaged, Identity, load, save
from rookery.identity.files import write_private
from rookery.identity.keys import make_request
from rookery.identity.token import BadToken, parse_token
from rookery.model import PartKind, Person, Role
from rookery.process import Stop

from rookery_manager.clock import Clock
from rookery_manager.identity.authority import Authority, made_at
from rookery_manager.identity.joining import secret_digest
from rookery_manager.identity.tokens import make_token
from rookery_manager.records import put, revocation_key, token_key
from rookery_manager.state import State
from rookery_manager.store import Commit, Delete, Store, StoreError, Write

log = logging.getLogger("rookery.manager")

ADMIN = "admin"
ADMIN_FILE = "admin.pem"
TOKENS = {PartKind.AGENT: "agent.token", PartKind.PROXY: "proxy.token"}
LOOK_S = 60.0


class Upkeep:
    def __init__(self, authority: Authority, state: State, store: Store, clock: Clock, *, folder: Path, tokens: Path) -> None:
        self._authority = authority
        self._folder = folder
        self._tokens = tokens
        self._state = state
        self._store = store
        self._clock = clock

    async def begin(self) -> None:
        """Before anybody is let in: the first person, the files. The state need not be followed yet. Raises Stop."""
        writes: list[Write] = []
        people = dict(self._state.people)
        if not people:
            people[ADMIN] = Person(name=ADMIN, role=Role.ADMIN, created_at=self._clock())
            writes.append(put(people[ADMIN], "the first admin was made"))
        try:
            for kind, name in TOKENS.items():
                writes += self._token_writes(kind, self._tokens / name)
            if writes:
                await self._store.commit(Commit(writes=writes, actor="manager", at=self._clock()))
            if ADMIN in people:
                self._renew_admin(people[ADMIN])
        except OSError as error:
            raise Stop(f"{error.filename or self._folder}: {error.strerror}") from error
        except StoreError as error:
            raise Stop(str(error)) from error

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                admin = self._state.people.get(ADMIN)
                if admin is not None:
                    self._renew_admin(admin)
                await self._tidy()
            except (OSError, StoreError) as error:
                log.error("identities are not kept up: %s", error)

    def follow(self) -> None:
        """The authority was replaced, or the one before it dropped. Raises OSError."""
        for name in TOKENS.values():
            self._repinned(self._tokens / name)
        admin = self._state.people.get(ADMIN)
        if admin is not None:
            self._renew_admin(admin)

    def replaced(self, kind: PartKind, text: str) -> None:
        """The tokens of a kind were replaced by this one."""
        name = TOKENS.get(kind)
        if name is None:
            return
        try:
            write_private(self._tokens / name, text + "\n")
        except OSError as error:
            log.error("%s: %s; it holds a token that is no longer valid", self._tokens / name, error.strerror)

    def _token_writes(self, kind: PartKind, path: Path) -> Sequence[Write]:
        """What is to be written where the file's token is not one that is valid."""
        if self._repinned(path):
            return ()
        record, text = make_token(self._authority, kind, now=self._clock())
        write_private(path, text + "\n")
        return (put(record, f"a token with which any {kind} can join was made for {path.name}"),)

    def _repinned(self, path: Path) -> bool:
        """Whether the file's token is valid; then it pins the authority of now. Raises OSError."""
        try:
            token = parse_token(path.read_text())
            known = self._state.tokens.get(token.id)
            if known and hmac.compare_digest(known.digest, secret_digest(token.secret)):
                if token.authority != self._authority.digest:  # the same token, which pins the authority of now
                    write_private(path, f"{replace(token, authority=self._authority.digest)}\n")
                return True
        except (BadToken, UnicodeDecodeError, FileNotFoundError):
            pass
        return False

    def _renew_admin(self, admin: Person) -> None:
        path = self._folder / ADMIN_FILE
        try:
            now = load(path)
        except Damaged:
            now = None
        current = now is not None and now.authority_pem == self._authority.trusted_pem and now.id == ADMIN
        if current and now is not None and now.renew_at > self._clock() and _made_after(now, admin):
            return
        key_pem, request_pem = make_request()
        made = self._authority.issue(PartKind.PERSON, ADMIN, request_pem)
        identity = Identity(
            kind=PartKind.PERSON,
            id=ADMIN,
            cluster_id=self._authority.cluster_id,
            renew_at=made.renew_at,
            ends_at=made.ends_at,
            authority_pem=self._authority.trusted_pem,
            known=self._authority.digests,
            certificate_pem=made.pem,
            key_pem=key_pem,
        )
        save(path, identity)

    async def _tidy(self) -> None:
        """Removes what has ended."""
        now = self._clock()
        writes: list[Write] = [
            Delete(key=token_key(token.id), why="it has expired")
            for token in self._state.tokens.values()
            if token.expires_at and token.expires_at <= now
        ]
        writes += [
            Delete(key=revocation_key(revoked.kind, revoked.id))
            for revoked in self._state.revocations.values()
            if revoked.until <= now
        ]
        if writes:
            await self._store.commit(Commit(writes=writes, actor="manager", at=now))


def _made_after(identity: Identity, person: Person) -> bool:
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem.encode())
    return made_at(certificate.serial_number) >= person.created_at
