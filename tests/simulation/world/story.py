"""What happened, as a person can read it: when, who, what and why. The parts' own logs are the larger half of it.

Lines are kept unformatted, since most days end well and nobody reads them.
"""

import logging
from collections import deque
from collections.abc import Callable
from hashlib import blake2b

KEPT = 20_000


class Story(logging.Handler):
    def __init__(self, now: Callable[[], float], who: Callable[[], str]) -> None:
        super().__init__(logging.INFO)
        self._now = now
        self._who = who
        self._lines: deque[tuple[float, str, str, tuple[object, ...]]] = deque(maxlen=KEPT)
        self.on_error: Callable[[str], None] = lambda _line: None

    def tell(self, who: str, what: str, *args: object) -> None:
        self._lines.append((self._now(), who, what, args))

    def emit(self, record: logging.LogRecord) -> None:
        args = record.args if isinstance(record.args, tuple) else (record.args,) if record.args else ()
        self._lines.append((self._now(), self._who(), str(record.msg), args))
        if record.levelno >= logging.ERROR:
            self.on_error(record.getMessage() + (f": {record.exc_info[1]!r}" if record.exc_info else ""))

    def lines(self, last: int = KEPT) -> list[str]:
        shown = list(self._lines)[-last:]
        return [f"{at:9.3f}  {who:<8} {what % args if args else what}" for at, who, what, args in shown]

    def digest(self) -> str:
        """The same for the same story."""
        return blake2b("\n".join(self.lines()).encode(), digest_size=8).hexdigest()
