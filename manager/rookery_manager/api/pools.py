"""CreatePool, ListPools, GetPool, UpdatePool, RemovePool."""

from dataclasses import replace

from rookery.model import Pool, PoolSpec
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import decode, encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import faulty, impossible_now, invalid, not_found
from rookery_manager.api.needs import Api
from rookery_manager.planners.validate_pool import pool_faults
from rookery_manager.records import pool_key, put
from rookery_manager.store import Delete

_SETTABLE = ("min", "max", "spare", "shrink_after_s", "join_timeout_s", "call_timeout_s")


async def create_pool(api: Api, request: control_pb2.CreatePoolRequest) -> types_pb2.Pool:
    if not request.HasField("spec") or not request.spec.provider:
        raise invalid("spec.provider: missing; it is process, docker or command")
    spec = decode(PoolSpec, request.spec)
    _check(request.name, spec)

    def propose() -> Proposal[Pool]:
        there = api.state.pools.get(request.name)
        if there is not None and there.spec == spec and not there.removing:
            return Proposal(answer=there)
        if there is not None:
            how = (
                "is being removed"
                if there.removing
                else f"is there already, with another spec; 'rookery pool set {request.name}' changes it"
            )
            raise impossible_now(f"pool {request.name} {how}")
        why = f"created: {spec.min} to {spec.max} nodes by {spec.provider}"
        now = api.clock()
        pool = Pool(name=request.name, spec=spec, created_at=now, changed_at=now, why=why)
        return Proposal(answer=pool, writes=[put(pool, why)], conditions=[api.state.condition(pool_key(request.name))])

    pool, _ = await commit(api, propose, request.actor)
    return _answer(api.state.pools.get(pool.name, pool))


async def list_pools(api: Api, request: control_pb2.ListPoolsRequest) -> control_pb2.ListPoolsResponse:  # noqa: ARG001
    return control_pb2.ListPoolsResponse(pools=[encode(pool) for _, pool in sorted(api.state.pools.items())])


async def get_pool(api: Api, request: control_pb2.GetPoolRequest) -> types_pb2.Pool:
    return _answer(_find(api, request.name))


async def update_pool(api: Api, request: control_pb2.UpdatePoolRequest) -> types_pb2.Pool:
    changes = {field: getattr(request, field) for field in _SETTABLE if request.HasField(field)}  # type: ignore[arg-type]

    def propose() -> Proposal[Pool]:
        pool = _find(api, request.name)
        spec = replace(pool.spec, **changes)
        _check(pool.name, spec)
        if spec == pool.spec:
            return Proposal(answer=pool)
        if pool.removing:
            raise impossible_now(f"pool {pool.name} is being removed")
        said = (f"{f} {getattr(pool.spec, f):g} -> {getattr(spec, f):g}" for f in changes if getattr(pool.spec, f) != changes[f])
        why = f"set: {', '.join(said)}"
        after = replace(pool, spec=spec, why=why, superfluous_since=0.0, changed_at=api.clock())
        return Proposal(answer=after, writes=[put(after, why)], conditions=[api.state.condition(pool_key(pool.name))])

    pool, _ = await commit(api, propose, request.actor)
    return _answer(api.state.pools.get(pool.name, pool))


async def remove_pool(api: Api, request: control_pb2.RemovePoolRequest) -> control_pb2.RemovePoolResponse:
    def propose() -> Proposal[None]:
        pool = _find(api, request.name)
        conditions = [api.state.condition(pool_key(pool.name))]
        if request.force:
            why = f"forgotten by force: {len(pool.members)} nodes are left as they are"
            return Proposal(answer=None, writes=[Delete(key=pool_key(pool.name), why=why)], conditions=conditions)
        if pool.removing:
            return Proposal(answer=None)
        why = "to be removed: its nodes are drained first"
        after = replace(pool, removing=True, why=why, changed_at=api.clock())
        return Proposal(answer=None, writes=[put(after, why)], conditions=conditions)

    _, revision = await commit(api, propose, request.actor)
    return control_pb2.RemovePoolResponse(revision=revision)


def _check(name: str, spec: PoolSpec) -> None:
    """Raises Refused."""
    faults = pool_faults(name, spec)
    if faults:
        raise faulty(faults)


def _find(api: Api, name: str) -> Pool:
    if not name:
        raise invalid("name: missing")
    pool = api.state.pools.get(name)
    if pool is None:
        raise not_found("pool", name, api.state.pools)
    return pool


def _answer(pool: Pool) -> types_pb2.Pool:
    message: types_pb2.Pool = encode(pool)
    return message
