"""One certificate: when it is asked for, proven, renewed and tried again; and what becomes of its record by what came of that.

Pure. Invariants: a certificate that is valid is kept until a newer one is whole; an order that was begun is gone on with until
its authority has refused it; after a failure nobody is asked before `retry_at`.
"""

from dataclasses import dataclass, replace

from rookery.model import AcmeChallenge, AcmeOrder, ManagedCertificate

from rookery_manager.acme.settings import AcmeSettings

RENEW_SHARE = 2 / 3  # of its life, after which a certificate is renewed
ORDER_S = 86_400.0  # an order that is not over by then is given up
SERVE_S = 120.0  # so long may proxies take to serve a challenge
FIRST_REFUSED_S = 60.0  # Let's Encrypt lets five validations of a host fail in an hour: 0, 1, 4, 13 and 40 minutes
FIRST_AWAY_S = 5.0  # an authority that did not answer counts nothing
SLOWER = 3.0
LONGEST_REFUSED_S = 6 * 3600.0
LONGEST_AWAY_S = 3600.0
OFF = "this manager gets no certificates by ACME; start it with --acme-agree-terms, which agrees to the authority's terms"
LOOK_S = 1.0  # between two looks at an order, while its authority is at work


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateView:
    """`services` have routes for the host. `settings` is None where nobody is to be asked. `locked` is why secrets can't be read,
    `no_proxy` why no challenge can be answered at all, `unserved` why the one in hand can't be yet; empty where they can.
    `look_at` is when the authority wants to be asked again. `started_at` is when this manager was started: proxies need a moment
    to find it."""

    host: str
    certificate: ManagedCertificate | None
    services: tuple[str, ...] = ()
    settings: AcmeSettings | None = None
    locked: str = ""
    no_proxy: str = ""
    unserved: str = ""
    look_at: float = 0.0
    started_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing is to be done before `wake_at`; `waits_for` says what for, empty where all is well."""

    wake_at: float | None = None
    waits_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A new order is to be made."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The authority is to be asked how the order is, and what it takes is to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Every proxy serves the challenge: the authority is to be told."""

    challenge: AcmeChallenge


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRenewal:
    """The authority is to be asked when the certificate should be renewed (RFC 9773)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The order in hand leads nowhere."""

    why: str
    failed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    why: str


Step = Idle | Begin | Look | Answer | AskRenewal | GiveUp | Forget


def plan_certificate(view: CertificateView, now: float) -> Step:
    """What is to be done for the certificate."""
    certificate, settings = view.certificate, view.settings
    if not view.services:
        return _unwanted(certificate, now)
    if settings is None:
        return Idle(waits_for=OFF)
    if view.locked:
        return Idle(waits_for=view.locked)
    known = certificate or ManagedCertificate(host=view.host)
    if known.order is not None:
        return _go_on(view, known, known.order, settings, now)
    free_at = known.retry_at if known.tried == settings.directory else 0.0
    at = max(due_at(known, settings), free_at)
    is_asking = known.digest and known.ask_at and known.directory == settings.directory and known.expires_at > now
    ask_at = max(known.ask_at, free_at) if is_asking else at
    if ask_at <= now and is_asking:
        return AskRenewal()
    if at > now:
        return Idle(wake_at=min(at, ask_at))
    if view.no_proxy:
        return Idle(waits_for=view.no_proxy)
    return Begin(why=_why_begin(known, settings, now))


def _unwanted(certificate: ManagedCertificate | None, now: float) -> Step:
    """One that no route asks for is kept while it is valid: who comes back in a week orders nothing."""
    if certificate is None:
        return Idle()
    if certificate.order is not None:
        return GiveUp(why="no route asks for it any more", failed=False)
    if certificate.digest and certificate.expires_at > now:
        return Idle(wake_at=certificate.expires_at)
    return Forget(why="no route asks for it any more")


def _go_on(view: CertificateView, known: ManagedCertificate, order: AcmeOrder, settings: AcmeSettings, now: float) -> Step:
    if order.directory != settings.directory:
        return GiveUp(why=f"the manager was told to ask {settings.directory} instead", failed=False)
    if now >= order.began_at + ORDER_S:
        return GiveUp(why=f"the authority did not come to an end with it in {ORDER_S / 3600:g} h")
    if known.retry_at > now:
        return Idle(wake_at=known.retry_at)
    challenge = order.challenge
    if challenge is not None and not challenge.asked_at:
        if not view.unserved:
            return Answer(challenge=challenge)
        until = max(order.began_at, known.retry_at, view.started_at) + SERVE_S
        if now >= until:
            return GiveUp(why=f"the challenge could not be answered: {view.unserved}")
        return Idle(wake_at=until, waits_for=view.unserved)
    return Idle(wake_at=view.look_at) if view.look_at > now else Look()


def due_at(known: ManagedCertificate, settings: AcmeSettings) -> float:
    """When the next certificate is to be asked for, failures aside; 0: at once."""
    return known.renew_at if known.digest and known.directory == settings.directory else 0.0


def _why_begin(known: ManagedCertificate, settings: AcmeSettings, now: float) -> str:
    if not known.digest:
        return "ordered: there is none yet"
    if known.directory != settings.directory:
        return f"ordered anew: {settings.directory} is asked from now on"
    if known.expires_at <= now:
        return "ordered anew: it has expired"
    return f"ordered anew: it ends in {_span(known.expires_at - now)}"


def trouble(view: CertificateView, now: float) -> str:
    """What is wrong with the certificate, or what it waits for; empty where all is well."""
    known = view.certificate or ManagedCertificate(host=view.host)
    step = plan_certificate(view, now)
    said = [known.fault] if known.fault else ["it is on its way"] if known.order is not None and not known.digest else []
    if isinstance(step, Idle) and step.waits_for and step.waits_for not in said:
        said.append(step.waits_for)
    if known.fault and known.retry_at > now:
        said.append(f"tried again in {_span(known.retry_at - now)}")
    if known.digest and known.expires_at <= now:
        return "; ".join(["it has expired", *said])
    if known.digest:
        is_waiting = isinstance(step, Idle) and step.waits_for and (known.order or now >= known.renew_at)
        return f"not renewed: {'; '.join(said)}" if known.fault or is_waiting else ""
    return "; ".join(["there is none yet", *said]) if view.services else ""


# ---- what becomes of the record


def begun(known: ManagedCertificate, order: AcmeOrder) -> ManagedCertificate:
    """The authority took the order."""
    return replace(known, order=order, tried=order.directory, retry_at=0.0)


def challenged(known: ManagedCertificate, challenge: AcmeChallenge) -> ManagedCertificate:
    """The authority said what it wants to see."""
    assert known.order is not None
    return replace(known, order=replace(known.order, challenge=challenge), retry_at=0.0)


def answered(known: ManagedCertificate, now: float) -> ManagedCertificate:
    """The authority was told that the challenge is served."""
    assert known.order is not None
    assert known.order.challenge is not None
    return replace(known, order=replace(known.order, challenge=replace(known.order.challenge, asked_at=now)), retry_at=0.0)


def issued(
    known: ManagedCertificate, *, digest: str, issuer: str, begins_at: float, expires_at: float, ask_at: float, now: float
) -> ManagedCertificate:
    """It is there. `digest` is of the sealed chain with its key."""
    assert known.order is not None
    return ManagedCertificate(
        host=known.host,
        digest=digest,
        directory=known.order.directory,
        issuer=issuer,
        issued_at=now,
        expires_at=expires_at,
        renew_at=begins_at + (expires_at - begins_at) * RENEW_SHARE,
        ask_at=ask_at,
        tried=known.order.directory,
    )


def advised(known: ManagedCertificate, at: float | None, ask_at: float) -> ManagedCertificate:
    """The authority said when it is to be renewed, or (None) nothing; sooner than by its life is heeded, later is not."""
    return replace(known, renew_at=known.renew_at if at is None else min(known.renew_at, at), ask_at=ask_at)


def failed(
    known: ManagedCertificate, why: str, now: float, *, directory: str, wait_s: float = 0.0, away: bool = False, over: bool = True
) -> ManagedCertificate:
    """An attempt came to nothing. `wait_s` is what the authority asked for. `away`: it did not answer; `over`: the order is."""
    # Days without an answer don't make the first refusal after them a long wait.
    is_first = known.tried != directory or (known.away and not away)
    failures = 1 if is_first else known.failures + 1
    first_s, longest_s = (FIRST_AWAY_S, LONGEST_AWAY_S) if away else (FIRST_REFUSED_S, LONGEST_REFUSED_S)
    delay_s = min(first_s * SLOWER ** min(failures - 1, 20), longest_s)
    return replace(
        known,
        order=None if over else known.order,
        tried=directory,
        failures=failures,
        fault=why,
        failed_at=now,
        away=away,
        retry_at=now + max(delay_s, wait_s),
    )


def _span(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h`, `5 days`."""
    for limit_s, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit_s:
            return f"{max(0.0, seconds) / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
