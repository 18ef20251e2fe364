"""The access log: a line for each HTTP request, when it is over.

Lines are gathered and written a few times a second, whole, so that several workers may write to one file. Invariant: a place that
takes no more never holds a request up; what can't be written is dropped, and that is said.
"""

import json
import logging
import os
import re
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from rookery_proxy.loop import Loop
from rookery_proxy.request import Request

_FLUSH_S = 0.25
_MOST_WAITING_BYTES = 1048576
_SAY_S = 10.0
_MOST_TEXT = 2000  # of one thing that a client said: what is longer is cut

log = logging.getLogger(__name__)


class Format(StrEnum):
    JSON = "json"
    COMBINED = "combined"  # as Apache and nginx call it


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A request that is over. `status` 499: the client went away before its answer. `at` is since the epoch."""

    at: float
    client: str
    method: str = ""
    host: str = ""
    target: str = ""
    version: str = ""
    status: int
    sent_bytes: int = 0  # of the body
    duration_s: float = 0.0
    service: str = ""
    endpoint: str = ""
    replica: str = ""
    referer: str = ""
    user_agent: str = ""
    request_id: str = ""
    is_whole: bool = True  # the answer reached its end


def entry_of(
    request: Request | None,
    *,
    client: str,
    status: int,
    sent_bytes: int,
    duration_s: float,
    service: str,
    endpoint: tuple[str, str],
    request_id: str,
    is_whole: bool,
) -> Entry:
    """The entry of a request that is over now; None of one that was not understood. `endpoint` is its address and replica."""
    if request is None:
        return Entry(at=time.time(), client=client, status=status, is_whole=is_whole)
    block = request.fields.block
    return Entry(
        at=time.time(),
        client=client,
        method=request.method.decode(),
        host=request.fields.host or "",
        target=text_of(request.target),
        version=f"HTTP/1.{request.fields.minor}",
        status=status,
        sent_bytes=sent_bytes,
        duration_s=duration_s,
        service=service,
        endpoint=endpoint[0],
        replica=endpoint[1],
        referer=field_of(block, b"referer"),
        user_agent=field_of(block, b"user-agent"),
        request_id=request_id,
        is_whole=is_whole,
    )


def field_of(block: bytes, name: bytes) -> str:
    """A header field's value as it can be logged; empty where there is none."""
    found = re.search(rb"(?i)(?:^|\n)" + re.escape(name) + rb":[ \t]*([^\r]*)", block)
    return text_of(found[1].rstrip(b" \t")) if found else ""


def text_of(said: bytes) -> str:
    return said[:_MOST_TEXT].decode("utf-8", "backslashreplace")


def json_line(entry: Entry) -> str:
    said = {
        "time": _iso(entry.at),
        "client": entry.client,
        "method": entry.method,
        "host": entry.host,
        "target": entry.target,
        "version": entry.version,
        "status": entry.status,
        "bytes": entry.sent_bytes,
        "duration_ms": round(entry.duration_s * 1000, 3),
        "service": entry.service,
        "endpoint": entry.endpoint,
        "replica": entry.replica,
        "referer": entry.referer,
        "user_agent": entry.user_agent,
        "request_id": entry.request_id,
        "whole": entry.is_whole,
    }
    return json.dumps(said, ensure_ascii=True, separators=(",", ":"))


def combined_line(entry: Entry) -> str:
    at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(entry.at))
    asked = f"{entry.method} {entry.target} {entry.version}" if entry.method else "-"
    return (
        f'{entry.client} - - [{at}] "{_quoted(asked)}" {entry.status} {entry.sent_bytes or "-"} '
        f'"{_quoted(entry.referer) or "-"}" "{_quoted(entry.user_agent) or "-"}"'
    )


_LINES: dict[Format, Callable[[Entry], str]] = {Format.JSON: json_line, Format.COMBINED: combined_line}


class AccessLog:
    """Writes to a file, which may be moved away meanwhile (it is made anew then), or to standard output (`-`)."""

    def __init__(self, loop: Loop, path: str, format: Format) -> None:
        self._loop = loop
        self._path = path
        self._line = _LINES[format]
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._said_at = float("-inf")
        self._fd = -1
        loop.every(_FLUSH_S, self.flush)

    def note(self, entry: Entry) -> None:
        line = self._line(entry).encode("utf-8", "backslashreplace") + b"\n"
        if self._waiting_bytes + len(line) > _MOST_WAITING_BYTES:
            self.flush()
            if self._waiting_bytes + len(line) > _MOST_WAITING_BYTES:
                self._dropped += 1
                return
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def flush(self) -> None:
        """Writes what waits, as far as it is taken at once."""
        if not self._waiting and not self._dropped:
            return
        try:
            fd = self._open()
            while self._waiting and _takes(fd):
                lines, size = 0, 0
                while lines < len(self._waiting) and (not lines or size + len(self._waiting[lines]) <= select.PIPE_BUF):
                    size += len(self._waiting[lines])
                    lines += 1
                os.write(fd, b"".join(self._waiting[:lines]))
                del self._waiting[:lines]
                self._waiting_bytes -= size
        except OSError as error:
            self._dropped += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._say(error.strerror or str(error))
            return
        if self._dropped:
            self._say("it is not read")

    def _open(self) -> int:
        """The descriptor to write to; the file at the path as it is now. Raises OSError."""
        if self._path == "-":
            return 1
        if self._fd >= 0:
            try:
                there, here = os.stat(self._path), os.fstat(self._fd)
                if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                    return self._fd
            except FileNotFoundError:
                pass
            os.close(self._fd)
            self._fd = -1
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return self._fd

    def _say(self, why: str) -> None:
        if self._dropped and self._loop.now - self._said_at > _SAY_S:
            self._said_at = self._loop.now
            log.error("access log %s: %s; %d lines were dropped", self._path, why, self._dropped)
            self._dropped = 0


def _takes(fd: int) -> bool:
    """Whether a write of PIPE_BUF bytes does not wait; true of a file always."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"


def _quoted(text: str) -> str:
    """A text between quotes: what would end them, or the line, is escaped."""
    return "".join(c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in text)
