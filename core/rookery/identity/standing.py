"""A long-running part's identity: joined once, kept in the part's data directory, renewed in time.

Invariant: a part that has one never ends for the lack of a manager; streams under way are left alone by a renewal. Where the
cluster's authority is replaced, the part renews at once and connects anew with what it got: `moved` tells when.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rookery.cancelled import cancellable
from rookery.identity.files import Damaged, Identity, load, save
from rookery.identity.token import BadToken, Token, digests_of, parse_token
from rookery.process import Stop

FILE = "identity.pem"
_AGAIN_S = (0.2, 5.0)
_RENEW_AGAIN_S = (1.0, 60.0)
_LONGEST_SPREAD_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says of identities."""

    token: Token | None
    insecure: bool


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the join token, needed at the first start (else ROOKERY_TOKEN); 'rookery token create' makes one",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="plain text, to a manager on this machine that is insecure too; for trials only"
    )


def understand(token_file: Path | None, insecure: bool, manager: str) -> Wanted:
    """Raises Stop."""
    if insecure:
        check_loopback(manager, "--insecure")
        return Wanted(token=None, insecure=True)
    text = os.environ.pop("ROOKERY_TOKEN", "")  # no process that is started from here inherits it
    where = "ROOKERY_TOKEN"
    if token_file is not None:
        where = f"--token-file {token_file}"
        try:
            text = token_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(f"{where}: {getattr(error, 'strerror', None) or 'it is no text'}", status=2) from None
    try:
        return Wanted(token=parse_token(text) if text else None, insecure=False)
    except BadToken as error:
        raise Stop(f"{where}: {error}", status=2) from None


def check_loopback(address: str, flag: str) -> None:
    """Raises Stop for an address that other machines reach."""
    host = address.rpartition(":")[0].strip("[]")
    if not (host in ("localhost", "::1") or host.startswith("127.")):
        raise Stop(f"{flag} is for trials on one machine: {address} is not on its loopback", status=2)


def _issuer(identity: Identity) -> str:
    return digests_of(identity.authority_pem)[0]


class Standing:
    """The identity that connections are made with now; None where there is none yet, or none is wanted."""

    def __init__(self, folder: Path, manager: str, part: str, wanted: Wanted, log: logging.Logger) -> None:
        self.identity: Identity | None = None
        self._path = folder / FILE
        self._manager = manager
        self._part = part
        self._wanted = wanted
        self._log = log
        self._renew_now = asyncio.Event()
        self._moving = asyncio.Event()
        self._within_s = 0.0
        self._trusted: tuple[str, ...] = ()
        if wanted.insecure:
            log.warning("--insecure: the manager is not asked who it is, and what is said to it can be read and changed")
            return
        why = f"this {part} has not joined a cluster; give it a join token with --token-file FILE or ROOKERY_TOKEN"
        try:
            self.identity = load(self._path)
            self._trusted = digests_of(self.identity.authority_pem) if self.identity is not None else ()
        except (Damaged, OSError) as error:
            why = f"{error}; remove it, and start the {part} with a join token"
            log.warning("%s", why)
        known, token = self.identity, wanted.token
        if known is not None and token is not None and token.authority not in (*self._trusted, *known.known):
            log.warning("the join token is for another cluster than %s: this %s leaves it", known.cluster_id, part)
            self.identity = None
        if self.identity is None and wanted.token is None:
            raise Stop(why, status=2)

    async def begin(self, id: str) -> None:
        """Returns when there is an identity to connect with. Raises Stop where a first one is refused."""
        if self._wanted.insecure:
            return
        told, delay_s = "", _AGAIN_S[0]
        while self.identity is None or self.identity.ends_at <= time.time():
            why, lasting = await cancellable(self._join(id))
            if not why:
                return
            if lasting and self.identity is None:
                raise Stop(why)
            if why != told:
                self._log.warning("not joined yet: %s; trying again", why)
                told = why
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(_AGAIN_S[1], delay_s * 2)

    async def _join(self, id: str) -> tuple[str, bool]:
        """Why it could not, and whether that lasts."""
        from rookery.identity.join import NotJoined, join  # lazy: a part that has joined may not need it for hours

        if self._wanted.token is None:
            return f"the certificate in {self._path} has ended; start the {self._part} with a join token", True
        try:
            self.identity = await join(self._manager, self._wanted.token, id=id)
        except NotJoined as error:
            return str(error), error.lasting
        self._trusted = digests_of(self.identity.authority_pem)
        self._keep()
        self._log.info("joined cluster %s as %s %s", self.identity.cluster_id, self._part, self.identity.id)
        return "", False

    def heed(self, authorities: Sequence[str], within_s: float) -> None:
        """What the manager trusts now, as it says on its stream. Where that is something else, this renews within that time."""
        if self.identity is not None and authorities and tuple(authorities) != self._trusted:
            self._within_s = min(max(0.0, within_s), _LONGEST_SPREAD_S)
            self._renew_now.set()

    async def moved(self, identity: Identity | None) -> None:
        """Returns when there is an identity of another authority than this one's: connections made with it are to be anew."""
        while self.identity is None or identity is None or _issuer(self.identity) == _issuer(identity):
            self._moving.clear()
            await self._moving.wait()

    def _keep(self) -> None:
        assert self.identity is not None
        try:
            save(self._path, self.identity)
        except OSError as error:
            self._log.error("%s: %s; it has to join anew when it is started again", self._path, error.strerror)

    async def keep(self) -> None:
        """Renews it for as long as it runs. One that has ended can't be renewed: then it joins anew, if it has a token."""
        from rookery.identity.join import NotJoined, renew  # lazy: as above

        delay_s = _RENEW_AGAIN_S[0]
        while self.identity is not None:
            left_s = self.identity.renew_at - time.time()
            if left_s > 0 and not self._renew_now.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, 3600.0)):
                        await self._renew_now.wait()
                        await asyncio.sleep(random.uniform(0.0, self._within_s))
                continue
            if self._left_s() <= 0:
                await self.begin(self.identity.id)
                continue
            try:
                self.identity = await cancellable(renew(self._manager, self.identity))
            except NotJoined as error:
                self._log.warning("the certificate, which ends in %.0f s, was not renewed: %s", self._left_s(), error)
                await asyncio.sleep(min(delay_s, max(1.0, self._left_s() / 4)) * random.uniform(0.5, 1.0))
                delay_s = min(_RENEW_AGAIN_S[1], delay_s * 2)
            else:
                delay_s = _RENEW_AGAIN_S[0]
                self._renew_now.clear()
                self._keep()
                self._take_over()

    def _take_over(self) -> None:
        assert self.identity is not None
        before, self._trusted = self._trusted, digests_of(self.identity.authority_pem)
        if self._trusted == before:
            self._log.debug("the certificate was renewed; it ends in %.0f s", self._left_s())
            return
        self._log.info("the cluster's authority is %s now%s", self._trusted[0][:8], self._others())
        self._moving.set()

    def _others(self) -> str:
        return f"; {', '.join(digest[:8] for digest in self._trusted[1:])} is trusted too" if self._trusted[1:] else ""

    def _left_s(self) -> float:
        return (self.identity.ends_at if self.identity else 0.0) - time.time()
