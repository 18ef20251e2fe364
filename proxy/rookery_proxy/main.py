"""`rookery-proxy`: the command line, and the tasks of the supervising process."""

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import resource
import socket
from pathlib import Path

from rookery._version import VERSION
from rookery.flags import add_metrics_flag, host_port, seconds
from rookery.identity.standing import Standing, add_flags, understand
from rookery.metrics import Metrics
from rookery.model import ProxyInfo
from rookery.process import Stop, configure_log, data_dir, run

from rookery_proxy.access import Format
from rookery_proxy.certificates import Folder
from rookery_proxy.disk import Disk
from rookery_proxy.follow import Follower
from rookery_proxy.managed import Managed
from rookery_proxy.metrics import watch
from rookery_proxy.settings import Here, Limits, Marks
from rookery_proxy.supervise import Access, Supervisor

DEFAULTS = Limits()

log = logging.getLogger(__name__)


def main() -> None:
    options = _parser().parse_args()
    configure_log("proxy", level=options.log_level)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the workers: two a connection

    async def serve(stop: asyncio.Event) -> None:
        await _serve(options, stop)

    run(serve)


async def _serve(options: argparse.Namespace, stop: asyncio.Event) -> None:
    identity = understand(options.token_file, options.insecure, options.manager)
    try:
        disk = Disk(options.data)
        proxy_id = options.id or disk.proxy_id()
    except OSError as error:
        raise Stop(f"{options.data}: {error.strerror or error}; choose another directory with --data") from error
    address = "" if options.bind in ("0.0.0.0", "::") else options.bind
    info = ProxyInfo(id=proxy_id, hostname=socket.gethostname(), address=address, workers=options.workers, version=VERSION)
    limits = Limits(connections=options.most_connections, head_s=options.head_timeout, idle_s=options.idle_timeout)
    access = Access(path=_log_path(options.access_log), format=Format(options.access_log_format))
    here = Here(node=options.node, labels=dict(options.label))
    certificates = Folder(options.certificates) if options.certificates else None
    if certificates is not None:
        certificates.look()
    managed = Managed(options.data / "certificates")
    managed.load()
    marks = Marks(
        request_ids=options.request_ids, forwarded=options.forwarded, announced_from=tuple(options.accept_proxy_protocol)
    )
    supervisor = Supervisor(
        bind=options.bind,
        workers=options.workers,
        limits=limits,
        access=access,
        here=here,
        marks=marks,
        certificates=certificates,
        managed=managed,
        log_level=options.log_level,
    )
    standing = Standing(options.data, options.manager, "proxy", identity, log)
    follower = Follower(options.manager, info, supervisor, disk, standing)
    metrics = Metrics()
    metrics.add(watch(supervisor, follower))

    async def follow() -> None:
        await standing.begin(proxy_id)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(standing.keep())
            tasks.create_task(follower.run())

    async with contextlib.AsyncExitStack() as cleanup, asyncio.TaskGroup() as group:
        if options.metrics:
            await cleanup.enter_async_context(metrics.served(options.metrics))
        workers = group.create_task(supervisor.run())
        await supervisor.replace(disk.load())
        if supervisor.table.version:
            log.info("serving table version %d with %d workers", supervisor.table.version, options.workers)
        else:
            log.info("%d workers wait for the manager's first route table: no port is open yet", options.workers)
        following = group.create_task(follow())
        await stop.wait()
        log.info("stopping: what is in flight may finish within %g s", options.drain_timeout)
        following.cancel()
        await supervisor.drain(options.drain_timeout)
        workers.cancel()
    gc.freeze()  # a large table is not looked through once more only to end


def _log_path(path: str) -> str:
    """Where the access log is, for workers too. Raises Stop where it can't be written."""
    if path in ("", "-"):
        return path
    try:
        with Path(path).open("ab"):
            return str(Path(path).absolute())
    except OSError as error:
        raise Stop(f"--access-log {path}: {error.strerror or error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rookery-proxy", description="Spreads requests over the replicas that are ready.")
    parser.add_argument(
        "--manager", type=host_port, default="127.0.0.1:7070", metavar="HOST:PORT", help="the manager to follow (%(default)s)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=data_dir("proxy"),
        metavar="DIR",
        help="where its id and the last table are kept (%(default)s)",
    )
    parser.add_argument("--bind", default="0.0.0.0", metavar="ADDRESS", help="the address to listen on (%(default)s: all)")
    parser.add_argument(
        "--workers", type=_workers, default=len(os.sched_getaffinity(0)), metavar="N", help="processes that serve (one a core)"
    )
    parser.add_argument(
        "--most-connections", type=_connections, default=DEFAULTS.connections, metavar="N",
        help="that a port takes at a time, for each worker; more are answered 503 (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--head-timeout", type=_limit, default=DEFAULTS.head_s, metavar="S",
        help="time for the whole head of a request (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--idle-timeout", type=_limit, default=DEFAULTS.idle_s, metavar="S",
        help="time that a client's connection is kept between requests (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--id", default="", help="this proxy's name for the manager (one is made and kept in the data directory)")
    parser.add_argument(
        "--drain-timeout", type=seconds, default=10.0, metavar="S", help="time to finish requests when stopping (%(default)s)"
    )
    parser.add_argument(
        "--node", default=socket.gethostname(), metavar="NAME", help="the node it is on, by its hostname there (%(default)s)"
    )
    parser.add_argument(
        "--label", type=_label, action="append", default=[], metavar="KEY=VALUE",
        help="as its node has it, for services that prefer replicas nearby (x-rookery.balance.prefer); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--certificates", type=Path, metavar="DIR",
        help="NAME.pem, or NAME.crt with NAME.key, for ports with TLS; read anew when they change",
    )  # fmt: skip
    parser.add_argument(
        "--request-ids", action="store_true", help="give each request an X-Request-Id, or keep the client's own (off)"
    )
    parser.add_argument(
        "--forwarded", action="store_true", help="tell endpoints who asks in Forwarded (RFC 7239) too, not in X-Forwarded-* alone"
    )
    parser.add_argument(
        "--accept-proxy-protocol", type=_network, action="append", default=[], metavar="NETWORK",
        help="connections from there begin with a PROXY header (v1 or v2) that says who the client is; may be repeated",
    )  # fmt: skip
    add_metrics_flag(parser)
    parser.add_argument(
        "--access-log", default="", metavar="FILE", help="write a line for each HTTP request there; - is standard output (off)"
    )
    parser.add_argument("--access-log-format", default="json", choices=[str(f) for f in Format], help="its lines (%(default)s)")
    add_flags(parser)
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=f"rookery-proxy {VERSION}")
    return parser


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key, value


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a network such as 10.0.0.0/8 or an address, got {text!r}") from None


def _connections(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1000000")
    return int(text)


def _limit(text: str) -> float:
    value = seconds(text)
    if not 1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"expected 1 to 3600 seconds, got {text!r}")
    return value


def _workers(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 256")
    return int(text)


if __name__ == "__main__":
    main()
