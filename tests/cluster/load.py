"""A load on the proxies that goes on while a context lasts, made and counted by wrk: a client that knows nothing of Rookery.

What wrk 4.1 counts, tried against servers that misbehave on purpose:

- An answer that says `Connection: close` and is framed is a whole one; the close that follows is no error.
- An end of the connection in the middle of a request, with or without a reset, before or within the answer, is a read error. So
  is a close between two requests that was not announced: a client that has just begun its next one can't tell the difference.
- An answer whose end is the connection's is a read error too, though it is whole: what is loaded here must say how long it is.
- A request that is never answered is not counted at all, and neither is one under way when wrk ends. So load.lua counts what is
  sent; and at the end connections get no new request, and wrk ends when the last one has its answer.

Invariant: every request that was begun is either answered with 2xx in time, or counted in `failed`.
"""

import json
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from rig import Late, wait_until

SCRIPT = Path(__file__).with_name("load.lua")
LONGEST_S = 100  # wrk ends by itself then: no load outlives a test that hangs
LATE_S = 20  # an answer that took so long is a failure
ANSWERED_WITHIN_S = 30.0  # how long the last answers are waited for


def _listens(url: str) -> bool:
    at = urlsplit(url)
    try:
        socket.create_connection((at.hostname, at.port), timeout=1).close()
    except OSError:
        return False
    return True


def missing() -> str:
    """Why there can be no load; empty where there can."""
    return "" if shutil.which("wrk") else "wrk is not installed (Debian package wrk)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How requests are made: on so many connections, each pausing between an answer and its next request.

    A POST that breaks fails. A GET may be sent again by the proxy, so it shows less of what went wrong behind that.
    """

    name: str
    method: str = "GET"
    path: str = "/"
    connections: int = 4
    pause_ms: int = 30
    keep_alive: bool = True


KEEP_ALIVE = Kind(name="keep-alive")
PER_REQUEST = Kind(name="connection per request", keep_alive=False)
POST = Kind(name="POST", method="POST")
SLOW = Kind(name="slow requests", method="POST", path="/slow", pause_ms=10)  # 2 s each
KINDS = (KEEP_ALIVE, PER_REQUEST, POST, SLOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one wrk's requests. `refused` are answers other than 2xx, `reason` the first one's status and body;
    `whose` counts the good answers by their body."""

    kind: str
    url: str
    sent: int
    answered: int
    refused: int
    connect: int
    read: int
    write: int
    late: int
    reason: str = ""
    whose: Counter[str] = field(default_factory=Counter)

    @property
    def unanswered(self) -> int:
        """Requests that were begun and have neither an answer nor an error."""
        return max(0, self.sent - self.answered - self.read - self.write)

    @property
    def failed(self) -> int:
        return self.refused + self.connect + self.read + self.write + self.late + self.unanswered

    def __str__(self) -> str:
        said = f"{self.kind} at {self.url}: {self.sent} requests, {self.failed} failed"
        if not self.failed:
            return said
        errors = f"errors in connecting {self.connect}, reading {self.read}, writing {self.write}"
        first = f" (the first: {self.reason})" if self.reason else ""
        return f"{said}: {self.refused} not 2xx{first}, {errors}, {self.late} late, {self.unanswered} unanswered"


class Load:
    """Requests of every kind to every address, from the first answers until the context ends.

    The context's end waits for the last answers; `results` are there then. It raises AssertionError with what failed, unless the
    context ends with an error of its own or `may_fail`.
    """

    def __init__(self, urls: Sequence[str], *, kinds: Sequence[Kind] = KINDS, may_fail: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rookery-load-")
        self._urls = tuple(urls)
        made = [(url, kind) for url in urls for kind in kinds]
        self._runs = [_Run(url, kind, Path(self._folder.name) / str(number)) for number, (url, kind) in enumerate(made)]
        self._may_fail = may_fail
        self.results: tuple[Result, ...] = ()

    def __enter__(self) -> "Load":
        try:
            for url in self._urls:  # a proxy opens its ports when it has the table, and wrk tries but once
                wait_until(lambda url=url: _listens(url), within_s=30, what=f"{url} to take connections")
            for run in self._runs:
                run.start()
            wait_until(lambda: all(run.progress()[1] for run in self._runs), within_s=30, what="the first answer of every kind")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            for run in self._runs:
                run.let_rest()
            for run in self._runs:
                run.wait_at_rest()
            self.results = tuple(run.finish() for run in self._runs)
        finally:
            self._end()
        if error is not None or self.failed:
            print("\n".join(str(result) for result in self.results))
        if error is None and not self._may_fail:
            assert not self.failed, "\n".join(str(result) for result in self.results if result.failed)

    @property
    def answered(self) -> int:
        """So far."""
        return sum(run.progress()[1] for run in self._runs)

    @property
    def sent(self) -> int:
        """In all, when the context has ended."""
        return sum(result.sent for result in self.results)

    @property
    def failed(self) -> int:
        """In all, when the context has ended."""
        return sum(result.failed for result in self.results)

    @property
    def whose(self) -> Counter[str]:
        """Good answers by body, when the context has ended."""
        return sum((result.whose for result in self.results), Counter())

    def wait(self, requests: int, *, within_s: float = 30) -> None:
        """Waits until so many more were answered."""
        enough = self.answered + requests
        wait_until(lambda: self.answered >= enough, within_s=within_s, what=f"{requests} more answers")

    def _end(self) -> None:
        for run in self._runs:
            run.kill()
        self._folder.cleanup()


class _Run:
    """One wrk, of one thread: its counts are in one place."""

    def __init__(self, url: str, kind: Kind, folder: Path) -> None:
        self._url = url
        self._kind = kind
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._folder.mkdir()
        command = ["wrk", "-t1", f"-c{self._kind.connections}", f"-d{LONGEST_S}s", f"--timeout={LATE_S}s", f"-s{SCRIPT}"]
        if not self._kind.keep_alive:
            command += ["-H", "Connection: close"]
        command += [f"{self._url}{self._kind.path}", "--", str(self._stop), str(self._progress)]
        command += [str(self._kind.pause_ms), self._kind.method]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @property
    def _stop(self) -> Path:
        return self._folder / "stop"

    @property
    def _progress(self) -> Path:
        return self._folder / "progress"

    def progress(self) -> tuple[int, int, int]:
        """Requests sent and answered so far, and how many connections are at rest."""
        process = self._process
        if process is None or process.poll() is not None:
            output = process.stdout.read() if process is not None and process.stdout is not None else ""
            raise RuntimeError(f"wrk at {self._url} ended before its time: {output}")
        if not self._progress.exists():
            return 0, 0, 0
        sent, answered, rests = self._progress.read_text().split()
        return int(sent), int(answered), int(rests)

    def let_rest(self) -> None:
        self._stop.touch()

    def wait_at_rest(self) -> None:
        """Until every connection has had its last answer; one that has none by the deadline shows in the result."""
        try:
            wanted = self._kind.connections
            wait_until(lambda: self.progress()[2] >= wanted, within_s=ANSWERED_WITHIN_S, what="the last answers")
        except Late as late:
            print(f"{self._kind.name} at {self._url}: {late}")

    def finish(self) -> Result:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=10)
        return parse(output, kind=self._kind.name, url=self._url + self._kind.path)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def parse(output: str, *, kind: str, url: str) -> Result:
    """The result in what wrk printed. Raises ValueError where it is not there, or is not what wrk counted itself."""
    lines = [line for line in output.splitlines() if line.startswith("LOAD ")]
    if len(lines) != 1:
        raise ValueError(f"wrk at {url} gave no result: {output}")
    told = json.loads(lines[0].removeprefix("LOAD "))
    if told["counted"] != told["answered"]:
        raise ValueError(f"wrk at {url} counted {told['counted']} answers, its script {told['answered']}")
    counts = {name: int(told[name]) for name in ("sent", "answered", "refused", "connect", "read", "write", "late")}
    return Result(kind=kind, url=url, reason=told["reason"], whose=Counter(told["whose"]), **counts)
