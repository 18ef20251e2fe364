"""An engine's log output, cut into lines with their instants."""

from collections.abc import Iterator

from rookery_agent.runtime.docker_spec import instant
from rookery_agent.runtime.protocol import LogLine

_LONGEST = 64 * 1024


class Lines:
    """Takes pieces as they come, of both streams, and gives whole lines; a line longer than 64 KiB is cut."""

    def __init__(self) -> None:
        self._held = {False: b"", True: b""}

    def take(self, stderr: bool, piece: bytes) -> Iterator[LogLine]:
        *whole, rest = (self._held[stderr] + piece).split(b"\n")
        if len(rest) > _LONGEST:
            whole.append(rest)
            rest = b""
        self._held[stderr] = rest
        for line in whole:
            yield _parse(stderr, line)

    def rest(self) -> Iterator[LogLine]:
        for stderr, line in self._held.items():
            if line:
                yield _parse(stderr, line)


def _parse(stderr: bool, line: bytes) -> LogLine:
    stamp, space, text = line.partition(b" ")
    try:
        at = instant(stamp.decode()) if space or stamp.endswith(b"Z") else 0.0
    except (ValueError, UnicodeDecodeError):
        at = 0.0
    return LogLine(at=at, stderr=stderr, line=(text if at else line).removesuffix(b"\r"))
