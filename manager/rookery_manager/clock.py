"""The time, for all that is not pure: seconds since the epoch that never jump.

The machine's clock is read once, at the start; from then on time passes as the monotonic clock says. A clock that is set while
the manager runs moves no lease and no deadline.
"""

import time
from collections.abc import Callable

Clock = Callable[[], float]


def steady_clock() -> Clock:
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset
