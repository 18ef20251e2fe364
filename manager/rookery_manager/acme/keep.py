"""The loop that gets and renews certificates: one question to the authority, then what came of it in the store, then the next.

Invariant: what an order takes is in the store before the authority is asked for more, so a manager that was killed goes on.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from rookery.acme_host import private_fault
from rookery.model import (
    AcmeChallenge,
    AcmeOrder,
    CertificateStatus,
    ManagedCertificate,
    ServiceKey,
)

from rookery_manager.acme.accounts import Accounts
from rookery_manager.acme.asking import Failed, ask
from rookery_manager.acme.contents import Contents, place
from rookery_manager.acme.settings import AcmeSettings
from rookery_manager.acme.wanted import Wanted
from rookery_manager.actor import Actor
from rookery_manager.clock import Clock
from rookery_manager.loops import DirtyKeys, reconcile
from rookery_manager.planners.actions import Action, ForgetCertificate, SetCertificate, earliest
from rookery_manager.planners.certificate import (
    LOOK_S,
    OFF,
    Answer,
    AskRenewal,
    Begin,
    CertificateView,
    Forget,
    GiveUp,
    Idle,
    Look,
    advised,
    answered,
    begun,
    challenged,
    failed,
    issued,
    plan_certificate,
    trouble,
)
from rookery_manager.records import Record
from rookery_manager.sealing.keyring import Locked
from rookery_manager.state import State

if TYPE_CHECKING:
    from rookery_manager.acme.authority import Issued

log = logging.getLogger("rookery.manager")

ASK_AGAIN_S = 6 * 3600.0  # an authority that did not say when a certificate is due


class Answering(Protocol):
    """Those who answer challenges: the proxies, by the route table."""

    def unanswered(self, host: str) -> str:
        """Why the challenge of a host is not served everywhere yet; empty where it is."""

    def nobody(self) -> str:
        """Why no challenge could be served now; empty where one could."""

    def wake_at(self) -> float | None: ...


class Certificates:
    def __init__(
        self,
        state: State,
        actor: Actor,
        clock: Clock,
        contents: Contents,
        wanted: Wanted,
        proxies: Answering,
        settings: AcmeSettings | None,
    ) -> None:
        self._state = state
        self._actor = actor
        self._clock = clock
        self._contents = contents
        self._wanted = wanted
        self._proxies = proxies
        self._settings = settings
        self._started_at = clock()
        self._accounts = Accounts(state, actor, clock, contents)
        self._look_at: dict[str, float] = {}
        self._waiting: set[str] = set()  # for proxies
        self._doubted = set(state.certificates)  # whether they can be read
        self.on_serve: Callable[[], None] = lambda: None  # told when proxies are to serve other certificates
        self.keys: DirtyKeys[str] = DirtyKeys(clock)
        for host in {*state.certificates, *wanted.hosts}:
            self.keys.mark(host)
        wanted.on_change = self._on_wanted
        state.listen(self._on_record)

    def look_anew(self) -> None:
        """The store's key is there, or another one is."""
        self._accounts.part()
        self._doubted = set(self._state.certificates)
        for host in {*self._state.certificates, *self._wanted.hosts}:
            self.keys.mark(host)
        self.on_serve()

    def proxies_told(self) -> None:
        """A proxy came, went, or acknowledged something."""
        for host in self._waiting:
            self.keys.mark(host)

    @property
    def off(self) -> str:
        """Why nobody is asked for certificates; empty where somebody is."""
        return OFF if self._settings is None else ""

    def refusal(self, host: str) -> str:
        """Why no certificate can be had for a host; empty where one may."""
        if self._settings is None:
            return OFF
        return private_fault(host) if self._settings.ca_file is None else ""

    def hosts(self) -> list[str]:
        """Those that have a certificate, or are to have one."""
        return sorted({*self._wanted.hosts, *self._state.certificates})

    def status(self, host: str) -> CertificateStatus:
        known = self._state.certificates.get(host) or ManagedCertificate(host=host)
        return CertificateStatus(certificate=known, services=self._wanted.services(host), note=self.trouble(host))

    def troubles_of(self, key: ServiceKey) -> tuple[str, ...]:
        """What is wrong with the certificates of a service's routes, each with its host."""
        found = ((host, self.trouble(host)) for host in sorted(self._wanted.of_service(key)))
        return tuple(f"certificate of {host}: {why}" for host, why in found if why)

    def trouble(self, host: str) -> str:
        """What is wrong with the certificate of a host, or what it waits for; empty where all is well."""
        return trouble(self._view(host), self._clock())

    async def run(self) -> None:
        await reconcile(self.keys, self._step)

    async def _step(self, host: str) -> float | None:
        self._waiting.discard(host)
        if not await self._check_readable(host):
            return None
        now = self._clock()
        view = self._view(host)
        step = plan_certificate(view, now)
        known = view.certificate or ManagedCertificate(host=host)
        try:
            match step:
                case Idle():
                    if step.waits_for and step.waits_for in (view.no_proxy, view.unserved):
                        self._waiting.add(host)
                        return earliest(step.wake_at, self._proxies.wake_at())
                    return step.wake_at
                case Begin():
                    await self._begin(known, step.why)
                case Look():
                    await self._look(known)
                case Answer():
                    await self._answer(known, step.challenge)
                case AskRenewal():
                    await self._ask_renewal(known)
                case GiveUp():
                    await self._give_up(known, step)
                case Forget():
                    await self._keep(host, lambda c: ForgetCertificate(certificate=c, why=step.why, dropped=_places(c)))
        except Failed as failure:
            await self._fail(host, failure)
        except Locked:
            log.debug("locked in the middle of a step for %s: it waits", host)
        self.keys.mark(host)
        return None

    # ---- steps

    async def _begin(self, known: ManagedCertificate, why: str) -> None:
        settings = self._settings
        assert settings is not None
        authority = await self._accounts.authority(settings)
        from rookery_manager.acme.authority import new_key  # lazily: it costs what a manager without ACME need not spend

        key = self._contents.sealed(known.host, new_key())
        url = await ask(lambda: authority.order(known.host))
        order = AcmeOrder(directory=settings.directory, url=url, key_digest=key.digest, began_at=self._clock())
        await self._keep(known.host, lambda c: SetCertificate(certificate=begun(c, order), why=why, sealed=(key,)))

    async def _look(self, known: ManagedCertificate) -> None:
        from rookery_manager.acme.authority import Challenged, Working  # lazily: as above

        order = known.order
        assert order is not None
        assert self._settings is not None
        key = await self._contents.read(known.host, order.key_digest)
        if key is None:
            raise Failed("the key of the order can't be read any more")
        authority = await self._accounts.authority(self._settings)
        news = await ask(lambda: authority.look(order.url, known.host, key))
        match news:
            case Challenged():
                self._look_at[known.host] = self._clock() + LOOK_S
                challenge = AcmeChallenge(url=news.url, token=news.token, key_authorization=news.key_authorization)
                if order.challenge is None or order.challenge.token != news.token:
                    await self._keep(known.host, lambda c: SetCertificate(certificate=challenged(c, challenge)))
            case Working():
                self._look_at[known.host] = self._clock() + max(LOOK_S, news.wait_s)
            case _:
                await self._take(known, news, key)

    async def _take(self, known: ManagedCertificate, news: "Issued", key: str) -> None:
        now = self._clock()
        content = self._contents.sealed(known.host, news.chain + key)
        why = f"issued by {news.issuer}, good until {_day(news.expires_at)}"

        def taken(before: ManagedCertificate) -> Action:
            got = issued(
                before,
                digest=content.digest,
                issuer=news.issuer,
                begins_at=news.begins_at,
                expires_at=news.expires_at,
                ask_at=now,
                now=now,
            )
            return SetCertificate(certificate=got, why=why, sealed=(content,), dropped=_places(before))

        self._look_at.pop(known.host, None)
        await self._keep(known.host, taken)

    async def _answer(self, known: ManagedCertificate, challenge: AcmeChallenge) -> None:
        assert self._settings is not None
        authority = await self._accounts.authority(self._settings)
        await ask(lambda: authority.answer(challenge.url))
        now = self._clock()
        self._look_at[known.host] = now + LOOK_S
        await self._keep(known.host, lambda c: SetCertificate(certificate=answered(c, now)))

    async def _ask_renewal(self, known: ManagedCertificate) -> None:
        """An authority that can't say it now is asked again later; nothing else depends on it."""
        assert self._settings is not None
        now = self._clock()
        told: tuple[float | None, float] = (None, now + ASK_AGAIN_S)
        try:
            authority = await self._accounts.authority(self._settings)
            chain = await self._contents.read(known.host, known.digest)
            if chain is not None:
                told = await ask(lambda: authority.renewal(chain))
        except Failed as failure:
            log.info("when to renew the certificate of %s was not to be had: %s", known.host, failure.why)
        at, ask_at = told
        await self._keep(known.host, lambda c: SetCertificate(certificate=advised(c, at, max(ask_at, now + LOOK_S))))

    async def _give_up(self, known: ManagedCertificate, step: GiveUp) -> None:
        if step.failed:
            raise Failed(step.why)
        await self._keep(
            known.host,
            lambda c: SetCertificate(
                certificate=replace(c, order=None), why=f"is ordered no more: {step.why}", dropped=_order_places(c)
            ),
        )

    async def _fail(self, host: str, failure: Failed) -> None:
        assert self._settings is not None
        now, directory = self._clock(), self._settings.directory
        over = failure.over and not failure.away
        if failure.unknown:
            await self._accounts.forget(directory)
        elif failure.away:
            self._accounts.part()

        def noted(before: ManagedCertificate) -> Action:
            after = failed(
                before,
                failure.why,
                now,
                directory=directory,
                wait_s=failure.wait_s,
                away=failure.away or failure.unknown,
                over=over,
            )
            # An authority that is away says the same at each attempt: one event is enough.
            why = "" if before.fault == failure.why and failure.away else f"was not had: {failure.why}"
            return SetCertificate(certificate=after, why=why, dropped=_order_places(before) if over else ())

        await self._keep(host, noted)

    # ---- the state

    async def _keep(self, host: str, change: Callable[[ManagedCertificate], Action]) -> None:
        """Writes down what an answer came to, on whatever is known by then: nobody is asked the same twice for a full disk."""
        while True:
            known = self._state.certificates.get(host) or ManagedCertificate(host=host)
            if await self._actor.act([change(known)]):
                return

    def _view(self, host: str) -> CertificateView:
        certificate = self._state.certificates.get(host)
        has_challenge = certificate is not None and certificate.order is not None and certificate.order.challenge is not None
        return CertificateView(
            host=host,
            certificate=certificate,
            services=self._wanted.services(host),
            settings=self._settings,
            locked=self._contents.locked,
            no_proxy=self._proxies.nobody(),
            unserved=self._proxies.unanswered(host) if has_challenge else "",
            look_at=self._look_at.get(host, 0.0),
            started_at=self._started_at,
        )

    async def _check_readable(self, host: str) -> bool:
        """False where the certificate turned out to be lost with the store's key; another one is ordered then."""
        known = self._state.certificates.get(host)
        if host not in self._doubted or self._contents.locked:
            return True
        self._doubted.discard(host)
        if known is None or not known.digest or await self._contents.read(host, known.digest) is not None:
            return True
        lost = ManagedCertificate(host=host)
        why = "can't be read any more"
        await self._keep(host, lambda c: SetCertificate(certificate=lost, why=why, dropped=_places(c)))
        self.keys.mark(host)
        return False

    def _on_wanted(self, host: str) -> None:
        self.keys.mark(host)
        if host in self._state.certificates:
            self.on_serve()

    def _on_record(self, record: Record, after: Record | None) -> None:
        if isinstance(record, ManagedCertificate):
            self.keys.mark(record.host)
            if record is after or not isinstance(after, ManagedCertificate) or after.digest != record.digest:
                self.on_serve()


def _places(known: ManagedCertificate) -> tuple[str, ...]:
    """Where the store has what belongs to a certificate and its order."""
    return (*((place(known.host, known.digest),) if known.digest else ()), *_order_places(known))


def _order_places(known: ManagedCertificate) -> tuple[str, ...]:
    return (place(known.host, known.order.key_digest),) if known.order is not None else ()


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
