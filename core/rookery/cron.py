"""Times by cron expressions, as Debian's cron reads them (cronsim), also where a clock is set forward or back. Pure."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_MOST_TEXT = 200
_FIELDS = 5


def cron_fault(cron: str) -> str:
    """What makes it no cron expression; empty where it is one."""
    if len(cron) > _MOST_TEXT or not cron.isprintable() or len(cron.split()) != _FIELDS:
        return f"{cron[:40]!r} is no cron expression: it has five fields, such as '0 8 * * mon-fri'"
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return f"{cron!r} is no cron expression ({error}); it has five fields, such as '0 8 * * mon-fri'"
    return ""


def zone_fault(name: str) -> str:
    """What makes it no time zone; empty where it is one."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # KeyError: it is not in the database
        return f"{name[:80]!r} is no time zone; such as Europe/Berlin or UTC"
    return ""


def latest(cron: str, zone: str, at: float) -> int | None:
    """When the expression's time came last, `at` included, in seconds since the epoch; None where it did not for 50 years, or the
    zone is none that this machine knows."""
    return _latest(cron, zone, int(at // 60))


@lru_cache(maxsize=4096)
def _latest(cron: str, zone: str, minute: int) -> int | None:
    if zone_fault(zone):
        return None
    # The search goes back from the time before the start: it begins a minute later, so that this very minute counts too.
    start = datetime.fromtimestamp(60 * (minute + 1), ZoneInfo(zone))
    found = next(CronSim(cron, start, reverse=True), None)
    return int(found.timestamp()) if found is not None else None
