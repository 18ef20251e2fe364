"""How a service's health is asked for: `x-rookery.health`, else `healthcheck`, else the image's own."""

from rookery.compose.resolve.ports import target_of
from rookery.compose.view import View
from rookery.model import CommandProbe, HttpProbe, ImageProbe, NoProbe, Probe, ProbeTiming, TcpProbe

_DEFAULT = ProbeTiming()


def probe(service: View) -> Probe:
    rookery = service.child("x-rookery")
    if rookery.has("health"):
        if service.has("healthcheck"):
            service.warn("healthcheck", "has no effect: x-rookery.health goes before it", "leave one out")
        return _own(rookery.child("health"), service)
    return _healthcheck(service.child("healthcheck")) if service.has("healthcheck") else ImageProbe()


def _own(health: View, service: View) -> Probe:
    timing = _timing(health)
    if health.has("http") == health.has("tcp"):
        health.error("", "expected either 'http' or 'tcp'")
        return ImageProbe(timing=timing)
    view = health.child("http" if health.has("http") else "tcp")
    port = target_of(view, "port", service)
    if port is None:
        return ImageProbe(timing=timing)
    if health.has("tcp"):
        return TcpProbe(port=port, timing=timing)
    low, _, high = view.text("status", "200-399").partition("-")
    if not (low.isascii() and low.isdigit() and ((high.isascii() and high.isdigit()) or not high)):
        return ImageProbe(timing=timing)
    return HttpProbe(port=port, path=view.text("path", "/"), status_min=int(low), status_max=int(high or low), timing=timing)


def _healthcheck(check: View) -> Probe:
    test = check.texts("test")
    timing = _timing(check)
    if check.flag("disable"):
        return NoProbe()
    if not check.has("test"):
        return ImageProbe(timing=timing)
    match test:
        case ("NONE",):
            return NoProbe()
        case ("CMD", _, *_):
            return CommandProbe(args=test[1:], timing=timing)
        case ("CMD-SHELL", command) if command:
            return CommandProbe(args=("/bin/sh", "-c", command), timing=timing)
        case ("CMD-SHELL", *_):
            check.error("test", "CMD-SHELL takes one text", "or use CMD with a list of words")
        case ():
            check.error("test", "is empty", "use [NONE] for no check")
        case _:
            check.error("test", f"a list begins with CMD, CMD-SHELL or NONE, not '{test[0]}'")
    return ImageProbe(timing=timing)


def _timing(view: View) -> ProbeTiming:
    interval = _positive(view, "interval") or _DEFAULT.interval_s
    return ProbeTiming(
        interval_s=interval,
        timeout_s=_positive(view, "timeout") or _DEFAULT.timeout_s,
        retries=max(1, view.whole("retries") or _DEFAULT.retries),
        start_period_s=view.seconds("start_period") or 0.0,
        start_interval_s=_positive(view, "start_interval") or min(_DEFAULT.start_interval_s, interval),
    )


def _positive(view: View, key: str) -> float | None:
    """Seconds, where 0 is Compose's word for the default."""
    value = view.seconds(key)
    if value is not None and 0 < value < 0.001:
        view.error(key, "expected 1ms or more")
        return None
    return value
