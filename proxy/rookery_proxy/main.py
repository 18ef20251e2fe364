"""`rookery-proxy`: the command line, and the tasks of the supervising process."""

import argparse
import asyncio
import logging
import os
import resource
import socket
from pathlib import Path

from rookery._version import VERSION
from rookery.flags import host_port, seconds
from rookery.model import ProxyInfo
from rookery.process import Stop, configure_log, data_dir, run

from rookery_proxy.disk import Disk
from rookery_proxy.follow import Follower
from rookery_proxy.supervise import Supervisor

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
    try:
        disk = Disk(options.data)
        proxy_id = options.id or disk.proxy_id()
    except OSError as error:
        raise Stop(f"{options.data}: {error.strerror or error}; choose another directory with --data") from error
    address = "" if options.bind in ("0.0.0.0", "::") else options.bind
    info = ProxyInfo(id=proxy_id, hostname=socket.gethostname(), address=address, workers=options.workers, version=VERSION)
    supervisor = Supervisor(bind=options.bind, workers=options.workers, log_level=options.log_level)
    follower = Follower(options.manager, info, supervisor, disk)
    async with asyncio.TaskGroup() as group:
        workers = group.create_task(supervisor.run())
        await supervisor.replace(disk.load())
        log.info("serving table version %d with %d workers", supervisor.table.version, options.workers)
        following = group.create_task(follower.run())
        await stop.wait()
        log.info("stopping: what is in flight may finish within %g s", options.drain_timeout)
        following.cancel()
        await supervisor.drain(options.drain_timeout)
        workers.cancel()


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
    parser.add_argument("--id", default="", help="this proxy's name for the manager (one is made and kept in the data directory)")
    parser.add_argument(
        "--drain-timeout", type=seconds, default=10.0, metavar="S", help="time to finish requests when stopping (%(default)s)"
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=f"rookery-proxy {VERSION}")
    return parser


def _workers(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 256")
    return int(text)


if __name__ == "__main__":
    main()
