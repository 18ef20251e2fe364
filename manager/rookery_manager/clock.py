"""The time, for all that is not pure: seconds since the epoch that never jump.

The machine's clock is read once, at the start; from then on time passes as the monotonic clock says. A clock that is set while
the manager runs moves no lease and no deadline, and one that was set back before it started makes no time that is in the records
lie in the future.
"""

import time
from collections.abc import Callable

Clock = Callable[[], float]


def steady_clock(*, not_before: float = 0.0) -> Clock:
    """A clock that begins with the machine's time, or with `not_before` where that is later."""
    offset = max(time.time(), not_before) - time.monotonic()
    return lambda: time.monotonic() + offset
