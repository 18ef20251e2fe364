"""The manager as a process: opens the store, starts the loops and the API, ends them in reverse order."""

import argparse
import asyncio
import logging
import resource
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import grpc.aio
from rookery import VERSION
from rookery.flags import add_metrics_flag
from rookery.identity.standing import check_loopback
from rookery.model import PartKind
from rookery.process import Stop, configure_log, data_dir, run
from rookery.refusals import Refusals
from rookery.v1 import dispatch_pb2_grpc, identity_pb2_grpc, routing_pb2_grpc

from rookery_manager import api, policy, starting
from rookery_manager.acme.flags import acme_settings, add_acme_flags
from rookery_manager.audit import head_of
from rookery_manager.backups import Backups
from rookery_manager.front import Front
from rookery_manager.identity.authority import PART_LIFE_S
from rookery_manager.identity.opening import open_identities
from rookery_manager.identity.upkeep import TOKENS
from rookery_manager.parts import assemble
from rookery_manager.planners.nodes import HoldOff
from rookery_manager.providers import Providers
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.store import Store, StoreError

log = logging.getLogger("rookery.manager")

STOP_S = 0.5  # for calls under way when the manager is told to stop; streams go on with the next manager


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rookery-manager", description="Decides what runs where, and keeps it so.")
    parser.add_argument("--listen", default="127.0.0.1:7070", metavar="HOST:PORT", help="default %(default)s; port 0 takes any")
    parser.add_argument("--data", type=Path, default=data_dir("manager"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--heartbeat", type=_interval, default=1.0, metavar="S", help="agents are heard every so often (1)")
    parser.add_argument("--lease", type=_interval, default=3.0, metavar="S", help="silence that is tolerated of a node (3)")
    parser.add_argument(
        "--hold-off",
        type=_pause,
        default=10.0,
        metavar="S",
        help="a node that went down twice gets no work for so long (10); 0: never",
    )
    parser.add_argument(
        "--hold-off-max", type=_pause, default=300.0, metavar="S", help="twice as long each time, up to so long (300)"
    )
    parser.add_argument(
        "--snapshot-every", type=_hours, default=6.0, metavar="HOURS", help="copy the store so often (6; 0: never)"
    )
    parser.add_argument("--snapshots", type=_count, default=8, metavar="N", help="keep so many of these copies (8)")
    add_metrics_flag(parser)
    parser.add_argument(
        "--tokens", type=Path, metavar="DIR", help="where it keeps agent.token and proxy.token (default: with its data)"
    )
    parser.add_argument(
        "--secrets-key",
        type=Path,
        metavar="FILE",
        help="the key that opens secrets and configs, unless there is a passphrase; made where it is missing "
        "(default: secrets.key with its data)",
    )
    parser.add_argument(
        "--certificate-life",
        type=_life,
        default=PART_LIFE_S,
        metavar="S",
        help="how long certificates of agents and proxies last; they are renewed after two thirds of it (86400)",
    )
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help=f"who may deploy what reaches beyond containers (default: DATA/{policy.NAME})"
    )
    add_acme_flags(parser)
    parser.add_argument(
        "--insecure", action="store_true", help="plain text, and whoever reaches the port is obeyed; for trials on loopback only"
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(argv)
    if options.lease < 2 * options.heartbeat:
        parser.error(f"--lease {options.lease:g}: must be at least twice --heartbeat ({options.heartbeat:g} s)")
    options.acme = acme_settings(parser, options)
    if options.insecure:
        try:
            check_loopback(options.listen, "--insecure")
        except Stop as error:
            parser.error(str(error))
    return options


def _life(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}") from None
    if not 3 <= value <= 365 * 86_400:
        raise argparse.ArgumentTypeError(f"expected 3 to 31536000 seconds, got {text}")
    return value


def _interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}") from None
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 3600 seconds, got {text}")
    return value


def _pause(text: str) -> float:
    return 0.0 if text == "0" else _interval(text)


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected hours, got {text!r}") from None
    if value != 0 and not 0.1 <= value <= 8760:
        raise argparse.ArgumentTypeError(f"expected 0 (never), or 0.1 to 8760 hours, got {text}")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000, got {text!r}")
    return int(text)


async def serve(options: argparse.Namespace, stop: asyncio.Event) -> None:
    rules = policy.PolicyFile(options.policy or options.data / policy.NAME, must_exist=options.policy is not None)
    async with AsyncExitStack() as cleanup:
        key_file = options.secrets_key or options.data / starting.KEY_FILE
        store = await starting.open_store(options.data, key_file)
        cleanup.push_async_callback(store.close)
        begun = await starting.begin(store, options.data)
        await _serve(options, stop, store, begun, await starting.begin_keyring(store, key_file), rules)
    log.info("stopped")


async def _serve(
    options: argparse.Namespace,
    stop: asyncio.Event,
    store: Store,
    begun: starting.Beginning,
    keyring: Keyring,
    rules: policy.PolicyFile,
) -> None:
    clock, state = begun.clock, begun.state
    backups = Backups(
        store,
        options.data / starting.SNAPSHOTS,
        clock,
        revision=lambda: state.revision,
        every_s=options.snapshot_every * 3600,
        keep=options.snapshots,
    )
    refusals = Refusals(log)
    identities = None
    if options.insecure:
        log.warning("--insecure: whoever reaches this port commands the cluster, and what is said here can be read and changed")
    else:
        identities = await open_identities(
            options.data,
            begun.cluster_id,
            state=state,
            store=store,
            clock=clock,
            refusals=refusals,
            part_life_s=options.certificate_life,
            tokens=options.tokens or options.data,
        )
    front = Front(
        [identities.guard] if identities else (), identities.authority.server_credentials if identities else lambda: None
    )
    try:
        address = await front.open(options.listen)
    except OSError as error:
        raise Stop(f"{error}; choose another address with --listen HOST:PORT") from error
    parts = assemble(
        store=store,
        state=state,
        clock=clock,
        backups=backups,
        cluster_id=begun.cluster_id,
        heartbeat_s=options.heartbeat,
        lease_s=options.lease,
        hold_off=HoldOff(first_s=options.hold_off, longest_s=max(options.hold_off, options.hold_off_max)),
        refusals=refusals,
        identities=identities,
        keyring=keyring,
        providers=Providers(
            manager=address,
            cluster=begun.cluster_id,
            data=options.data / "pools",
            token_file=None if options.insecure else (options.tokens or options.data) / TOKENS[PartKind.AGENT],
        ),
        policy=rules,
        acme=options.acme,
    )
    health = await api.make_health()

    def register(server: grpc.aio.Server) -> None:
        dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(parts.dispatch, server)
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(parts.routing, server)
        if identities is not None:
            identity_pb2_grpc.add_IdentityServiceServicer_to_server(identities.service, server)
        api.register(server, parts.api, health)

    if identities is not None:
        identities.rotation.reopen, identities.rotation.close = front.reopen, front.close_old
    async with AsyncExitStack() as shown, asyncio.TaskGroup() as group:
        if options.metrics:
            await shown.enter_async_context(parts.metrics.served(options.metrics))
        kept_up = identities.loops() if identities else ()
        tasks = [group.create_task(loop) for loop in (*parts.loops, begun.alive.keep(), *kept_up)]
        await front.serve(register)
        try:
            (options.data / "address").write_text(address + "\n")
        except OSError as error:
            log.error("%s: %s; who looks for the manager there does not find it", options.data / "address", error.strerror)
        log.info(
            "listening on %s, cluster %s, store revision %d, data in %s", address, begun.cluster_id, state.revision, options.data
        )
        await _tell_head(store)
        await stop.wait()
        log.info("stopping: agents and proxies go on by themselves")
        await health.enter_graceful_shutdown()
        parts.sessions.end_all("the manager stops")
        await front.stop(STOP_S)
        for task in tasks:
            task.cancel()
        await _tell_head(store)


async def _tell_head(store: Store) -> None:
    """Where logs are kept elsewhere, this is what the history can be held to."""
    with suppress(StoreError):
        log.info("the history's head is %s", await head_of(store))


def main() -> None:
    options = parse(sys.argv[1:])
    configure_log("manager", level=options.log_level)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one a connection, and strangers may open many
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # there are secrets in its memory
    run(lambda stop: serve(options, stop))


if __name__ == "__main__":
    main()
