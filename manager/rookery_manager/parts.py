"""A manager's parts, made and joined, without a server around them: what agents, proxies and operators reach, and the loops."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial

from rookery import VERSION
from rookery.metrics import Metrics
from rookery.model import ServiceKey
from rookery.refusals import Refusals

from rookery_manager.acme.contents import Contents
from rookery_manager.acme.keep import Certificates
from rookery_manager.acme.serving import Shelf
from rookery_manager.acme.settings import AcmeSettings
from rookery_manager.acme.wanted import Wanted
from rookery_manager.actor import Actor
from rookery_manager.api import Api
from rookery_manager.api.attempts import Attempts
from rookery_manager.autoscaler import Autoscaler
from rookery_manager.backups import Backups
from rookery_manager.clock import Clock
from rookery_manager.dispatch import DispatchService
from rookery_manager.following import RoutingService
from rookery_manager.identity.opening import Identities
from rookery_manager.leases import Leases
from rookery_manager.lifting import rise_above
from rookery_manager.logs import LogHub
from rookery_manager.loops import DirtyKeys
from rookery_manager.metrics import watch
from rookery_manager.planners.nodes import HoldOff
from rookery_manager.policy import PolicyFile
from rookery_manager.pools import Pools
from rookery_manager.providers import Providers
from rookery_manager.reaching import Reaching
from rookery_manager.reconcilers import Balance, Nodes, Placement, Services
from rookery_manager.routing import RoutePlane
from rookery_manager.scaling_metrics import watch_scaling
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.sessions import Sessions
from rookery_manager.state import State
from rookery_manager.statuses import Statuses
from rookery_manager.store import Store
from rookery_manager.views import NodeViews

log = logging.getLogger("rookery.manager")

STALL_CHECK_S = 0.25
STALL_S = 1.0  # a longer gap between two checks means that the manager could not hear its nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """`loops` are to be run, all of them, until the manager ends. Whoever has more to show adds a source to `metrics`."""

    sessions: Sessions
    dispatch: DispatchService
    routing: RoutingService
    api: Api
    metrics: Metrics
    loops: tuple[Coroutine[None, None, None], ...]


def assemble(
    *,
    store: Store,
    state: State,
    clock: Clock,
    backups: Backups,
    cluster_id: str,
    heartbeat_s: float,
    lease_s: float,
    hold_off: HoldOff,
    refusals: Refusals,
    identities: Identities | None = None,
    keyring: Keyring,
    providers: Providers,
    policy: PolicyFile | None = None,
    acme: AcmeSettings | None = None,
) -> Parts:
    actor = Actor(store, state, clock)
    leases = Leases(clock, lease_s=lease_s)
    keys: DirtyKeys[ServiceKey] = DirtyKeys(clock)
    plane = RoutePlane(state, clock, lease_s=lease_s, on_progress=keys.mark, challenge_port=(acme or AcmeSettings()).http_port)
    sessions = Sessions(state, leases)
    statuses = Statuses(state, actor, refusals)
    views = NodeViews(state)
    services = Services(state, actor, clock, plane, keys)
    nodes = Nodes(state, actor, clock, leases, hold_off)
    placement = Placement(state, actor, views, keyring)
    balance = Balance(state, actor, clock, views)
    autoscaler = Autoscaler(state, actor, clock, plane, sessions, lease_s=lease_s)
    pools = Pools(state, actor, clock, views, providers)
    logs = LogHub()
    keyring.on_unlock(sessions.send_files_anew)
    wanted = Wanted(state)
    contents = Contents(store, keyring)
    certificates = Certificates(state, actor, clock, contents, wanted, plane, acme)
    plane.on_news = certificates.proxies_told
    certificates.on_serve = plane.wake_all
    keyring.on_unlock(certificates.look_anew)
    reaching = Reaching(state, plane.list, sessions.wake_all)
    rotation = identities.rotation if identities else None
    if rotation is not None:
        rotation.proxies = plane.list

        def tell() -> None:
            sessions.wake_all()
            plane.wake_all()

        rotation.tell = tell
    trust = rotation.trust if rotation is not None else _nobody
    dispatch = DispatchService(
        state=state,
        store=store,
        actor=actor,
        leases=leases,
        sessions=sessions,
        statuses=statuses,
        logs=logs,
        keyring=keyring,
        refusals=refusals,
        heartbeat_s=heartbeat_s,
        watch_lease=nodes.keys.mark,
        rise_above=partial(rise_above, store=store, state=state, clock=clock),
        reaching=reaching.news,
        trust=trust,
    )
    control = Api(
        state=state,
        store=store,
        clock=clock,
        nodes=sessions,
        proxies=plane,
        scaling=autoscaler,
        logs=logs,
        backups=backups,
        cluster_id=cluster_id,
        manager_version=VERSION,
        started_at=clock(),
        attempts=Attempts(store, clock),
        refused=refusals.counts,
        identities=(identities.authority, identities.upkeep) if identities else None,
        keyring=keyring,
        policy=policy or PolicyFile(),
        rotation=rotation,
        certificates=certificates,
    )
    loops = (
        _follow(store, state),
        plane.run(),
        statuses.run(),
        services.run(),
        nodes.run(),
        placement.run(),
        balance.run(),
        autoscaler.run(),
        pools.run(),
        certificates.run(),
        reaching.run(),
        backups.run(),
        _notice_stalls(leases),
    )
    routing = RoutingService(plane, refusals, lease_s=lease_s, trust=trust, shelf=Shelf(state, contents, wanted))
    metrics = Metrics()
    metrics.add(watch(control))
    metrics.add(watch_scaling(control))
    return Parts(sessions=sessions, dispatch=dispatch, routing=routing, api=control, metrics=metrics, loops=loops)


def _nobody() -> None:
    """Without identities no authority is trusted."""


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
