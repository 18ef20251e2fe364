"""The manager as a process: opens the store, starts the loops and the API, ends them in reverse order."""

import argparse
import asyncio
import logging
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rookery import VERSION, channel
from rookery.model import ServiceKey
from rookery.process import Stop, configure_log, data_dir, run
from rookery.v1 import dispatch_pb2_grpc, routing_pb2_grpc

from rookery_manager import api
from rookery_manager.actor import Actor
from rookery_manager.clock import Clock, steady_clock
from rookery_manager.dispatch import DispatchService
from rookery_manager.following import RoutingService
from rookery_manager.leases import Leases
from rookery_manager.logs import LogHub
from rookery_manager.loops import DirtyKeys
from rookery_manager.reconcilers import Balance, Nodes, Placement, Services
from rookery_manager.routing import RoutePlane
from rookery_manager.sessions import Sessions
from rookery_manager.state import State
from rookery_manager.statuses import Statuses
from rookery_manager.store import Commit, Condition, Conflict, Put, Store, StoreError
from rookery_manager.store.sqlite import SqliteStore
from rookery_manager.views import NodeViews

log = logging.getLogger("rookery.manager")

STALL_CHECK_S = 0.25
STALL_S = 1.0  # a longer gap between two checks means that the manager could not hear its nodes
CLOCK_BACK_S = 5.0  # what a clock may be set back between two managers without a word
STOP_S = 0.5  # for calls under way when the manager is told to stop; streams go on with the next manager


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rookery-manager", description="Decides what runs where, and keeps it so.")
    parser.add_argument("--listen", default="127.0.0.1:7070", metavar="HOST:PORT", help="default %(default)s; port 0 takes any")
    parser.add_argument("--data", type=Path, default=data_dir("manager"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--heartbeat", type=_interval, default=1.0, metavar="S", help="agents are heard every so often (1)")
    parser.add_argument("--lease", type=_interval, default=3.0, metavar="S", help="silence that is tolerated of a node (3)")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(argv)
    if options.lease < 2 * options.heartbeat:
        parser.error(f"--lease {options.lease:g}: must be at least twice --heartbeat ({options.heartbeat:g} s)")
    return options


def _interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}") from None
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 3600 seconds, got {text}")
    return value


async def serve(options: argparse.Namespace, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as cleanup:
        store = await _open_store(options.data)
        cleanup.push_async_callback(store.close)
        clock = await _clock(store)
        cluster_id = await _cluster_id(store, clock)
        state = State()
        state.load(await store.snapshot())
        await _serve(options, stop, clock, store, state, cluster_id)
    log.info("stopped")


async def _serve(
    options: argparse.Namespace, stop: asyncio.Event, clock: Clock, store: Store, state: State, cluster_id: str
) -> None:
    actor = Actor(store, state, clock)
    leases = Leases(clock, lease_s=options.lease)
    keys: DirtyKeys[ServiceKey] = DirtyKeys(clock)
    plane = RoutePlane(state, clock, lease_s=options.lease, on_progress=keys.mark)
    sessions = Sessions(state, leases)
    statuses = Statuses(state, actor)
    views = NodeViews(state)
    services = Services(state, actor, clock, plane, keys)
    nodes = Nodes(state, actor, clock, leases)
    placement = Placement(state, actor, views)
    balance = Balance(state, actor, clock, views)
    logs = LogHub()
    dispatch = DispatchService(
        state=state,
        store=store,
        actor=actor,
        leases=leases,
        sessions=sessions,
        statuses=statuses,
        logs=logs,
        heartbeat_s=options.heartbeat,
        watch_lease=nodes.keys.mark,
    )
    server = channel.server()
    dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(dispatch, server)
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(RoutingService(plane, lease_s=options.lease), server)
    health = await api.register(
        server,
        api.Api(
            state=state,
            store=store,
            clock=clock,
            nodes=sessions,
            proxies=plane,
            logs=logs,
            cluster_id=cluster_id,
            manager_version=VERSION,
            started_at=clock(),
        ),
    )
    try:
        port = channel.listen(server, options.listen)
    except OSError as error:
        raise Stop(f"{error}; choose another address with --listen HOST:PORT") from error
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(loop)
            for loop in (
                _follow(store, state),
                plane.run(),
                statuses.run(),
                services.run(),
                nodes.run(),
                placement.run(),
                balance.run(),
                _notice_stalls(leases),
            )
        ]
        await server.start()
        address = f"{options.listen.rpartition(':')[0]}:{port}"
        (options.data / "address").write_text(address + "\n")
        log.info("listening on %s, cluster %s, store revision %d, data in %s", address, cluster_id, state.revision, options.data)
        await stop.wait()
        log.info("stopping: agents and proxies go on by themselves")
        await health.enter_graceful_shutdown()
        sessions.end_all("the manager stops")
        await server.stop(STOP_S)
        for task in tasks:
            task.cancel()


async def _open_store(directory: Path) -> Store:
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True, mode=0o700)
        return await SqliteStore.open(directory / "store.db")
    except OSError as error:
        raise Stop(f"can't keep the manager's data in {directory}: {error.strerror}; name another place with --data") from error
    except StoreError as error:
        raise Stop(str(error)) from error


async def _clock(store: Store) -> Clock:
    latest = max((change.at for change in await store.history(limit=1)), default=0.0)
    clock = steady_clock(not_before=latest)
    behind = latest - time.time()
    if behind > CLOCK_BACK_S:
        log.warning(
            "this machine's clock is %.0f s behind the latest record: time goes on from there; is the clock right?", behind
        )
    return clock


async def _cluster_id(store: Store, clock: Clock) -> str:
    """The cluster's id, made at the first start."""
    made = Put(key="cluster", value=secrets.token_hex(4).encode(), why="the cluster was made")
    try:
        await store.commit(
            Commit(writes=(made,), conditions=(Condition(key="cluster", revision=0),), actor="manager", at=clock())
        )
    except Conflict:
        log.debug("the cluster has its id already")
    return (await store.snapshot("cluster")).entries["cluster"].value.decode()


async def _follow(store: Store, state: State) -> None:
    async for changes in store.watch(after=state.revision):
        state.apply(changes)


async def _notice_stalls(leases: Leases) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    while True:
        await asyncio.sleep(STALL_CHECK_S)
        now = loop.time()
        if now - before > STALL_S:
            log.warning("the manager stood still for %.1f s: every node gets a full lease", now - before)
            leases.stood_still()
        before = now


def main() -> None:
    options = parse(sys.argv[1:])
    configure_log("manager", level=options.log_level)
    run(lambda stop: serve(options, stop))


if __name__ == "__main__":
    main()
