"""Runs one replica as a process, outside the agent: standard library only, a small program of its own.

    python3 -I -S supervisor.py DIRECTORY

It reads DIRECTORY/spec.json, starts the command in a session of its own, writes what it prints to DIRECTORY/log with instants
(bounded: log and log.1), leaves DIRECTORY/run.json, then closes its standard output, and at the end writes DIRECTORY/exit.json.
Invariants: it needs no agent; the command dies with it; nothing that the command started outlives it.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import time
import warnings  # noqa: F401 (execvpe imports it, when it is another user that may not read it any more)

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LONGEST = 16 * 1024


class Log:
    """Lines `SECONDS o|e TEXT`; at most two files of half the limit each."""

    def __init__(self, path: str, limit: int) -> None:
        self._path, self._half = path, max(limit // 2, 4096)
        self._held = {b"o": b"", b"e": b""}
        self._open()

    def take(self, stream: bytes, piece: bytes) -> None:
        *whole, rest = (self._held[stream] + piece).split(b"\n")
        if len(rest) > _LONGEST:
            whole.append(rest)
            rest = b""
        self._held[stream] = rest
        self._write([(stream, line) for line in whole])

    def rest(self) -> None:
        self._write([(stream, line) for stream, line in self._held.items() if line])

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def _write(self, lines: "list[tuple[bytes, bytes]]") -> None:
        if not lines:
            return
        stamp = b"%.6f" % time.time()
        data = b"".join(b"%s %s %s\n" % (stamp, stream, line) for stream, line in lines)
        try:
            if self._size + len(data) > self._half and self._size:
                os.close(self._file)
                os.replace(self._path, self._path + ".1")
                self._open()
            self._size += os.write(self._file, data)
        except OSError:
            return  # a full disk costs lines of the log, not the replica


def write(directory: str, name: str, value: "dict[str, object]") -> None:
    path = os.path.join(directory, name)
    with open(path + ".new", "w") as file:
        json.dump(value, file)
    os.replace(path + ".new", path)


def start_time(pid: int) -> str:
    """What tells this process from a later one with the same pid."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[19].decode()


def start(spec: "dict[str, object]", out: int, err: int, prctl: object, failure: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        for path in spec["cgroups"]:  # type: ignore[attr-defined]
            with open(os.path.join(path, "cgroup.procs"), "w") as file:
                file.write("0")
        limit(spec)
        os.chdir(spec["working_dir"] or "/")  # type: ignore[arg-type]
        identity(spec)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # type: ignore[operator]
        if os.getppid() != parent:
            os._exit(127)
        os.closerange(3, failure)  # the locks of its ports are the supervisor's to hold
        os.closerange(failure + 1, 1024)
        os.execvpe(spec["args"][0], spec["args"], spec["environment"])  # type: ignore[index,arg-type]
    except BaseException as error:
        os.write(failure, str(error).encode()[:4000] or b"it can't be started")
    os._exit(127)


def limit(spec: "dict[str, object]") -> None:
    import resource

    for name, soft, hard in spec["rlimits"]:  # type: ignore[attr-defined]
        resource.setrlimit(getattr(resource, name), (soft, hard))
    if spec["nice"]:
        os.nice(spec["nice"])  # type: ignore[arg-type]


def identity(spec: "dict[str, object]") -> None:
    if spec["gid"] is not None:
        os.setgroups(spec["groups"])  # type: ignore[arg-type]
        os.setgid(spec["gid"])  # type: ignore[arg-type]
    if spec["uid"] is not None:
        os.setuid(spec["uid"])  # type: ignore[arg-type]


def children() -> "list[int]":
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def reap(main: int) -> "int | None":
    """Takes the status of every child that ended; the main one's, when it is among them."""
    status = None
    while True:
        try:
            pid, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == main:
            status = found


def end_rest(main: int) -> None:
    """Kills what the command left behind: its group, then whatever was handed to this process."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            os.killpg(main, signal.SIGKILL)
        reap(main)
        left = children()
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return
        time.sleep(0.02)


def main() -> None:
    directory = sys.argv[1]
    if os.fork():  # nobody's child: the agent may end and start again
        os._exit(0)
    os.setsid()
    with open(os.path.join(directory, "spec.json")) as file:
        spec = json.load(file)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    (out, out_end), (err, err_end), (failed, failed_end) = pipes
    log = Log(os.path.join(directory, "log"), spec["log_bytes"])
    pid = start(spec, out_end, err_end, prctl, failed_end)
    for end in (out_end, err_end, failed_end):
        os.close(end)
    failure = os.read(failed, 4096)  # empty once the command is executed
    if failure:
        os.waitpid(pid, 0)
        write(directory, "exit.json", {"failure": failure.decode(errors="replace"), "finished_at": time.time()})
        os.close(1)
        return
    own = {"pid": pid, "pid_start": start_time(pid), "supervisor": os.getpid(), "supervisor_start": start_time(os.getpid())}
    write(directory, "run.json", {**own, "started_at": time.time()})
    os.close(1)  # the agent waits for this
    streams = {out: b"o", err: b"e"}
    for descriptor in streams:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK)
    poll = select.poll()
    for descriptor in (*streams, wake_read):
        poll.register(descriptor, select.POLLIN)
    status = None
    while status is None:
        for descriptor, _ in poll.poll(5000):
            if descriptor == wake_read:
                os.read(wake_read, 512)
            elif not drain(descriptor, streams[descriptor], log):
                poll.unregister(descriptor)
        status = reap(pid)
    end_rest(pid)
    for descriptor, stream in streams.items():
        drain(descriptor, stream, log)
    log.rest()
    code = os.waitstatus_to_exitcode(status)
    write(directory, "exit.json", {"exit_code": code if code >= 0 else 128 - code, "finished_at": time.time()})


def drain(descriptor: int, stream: bytes, log: Log) -> bool:
    """Takes what there is; false at the end of the stream."""
    for _ in range(64):
        try:
            piece = os.read(descriptor, 65536)
        except BlockingIOError:
            return True
        if not piece:
            return False
        log.take(stream, piece)
    return True


if __name__ == "__main__":
    main()
