"""What to ask a pool's provider for, and what its answers (or silence) make of the pool.

The provider is not trusted: each id must be new, each node it lists is compared with the records, and nothing that the records do
not know is ever removed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rookery.model import MemberState, Pool, PoolMember

from rookery_manager.planners.actions import Action, ForgetNode, SetPool
from rookery_manager.planners.pool_room import PoolView

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 600.0
LIST_EVERY_S = 60.0
MOST_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A node as the provider lists it."""

    id: str
    name: str


def retry_s(failures: int) -> float:
    """5, 10, 20 … 600 s."""
    return min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 20), LONGEST_RETRY_S)


def failed(pool: Pool, why: str, now: float) -> Pool:
    """The pool after it did not get a node. Failures at the same time are one: what they have in common failed."""
    failures = pool.failures + 1 if now >= pool.retry_at else pool.failures
    retry_at = now + retry_s(failures) if failures != pool.failures else pool.retry_at
    return replace(pool, failures=failures, retry_at=retry_at, trouble=why)


def due(pool: Pool, now: float) -> tuple[PoolMember, ...]:
    """The members for which the provider is to be asked now."""
    return tuple(m for m in pool.members if _due_at(pool, m) is not None and (_due_at(pool, m) or 0.0) <= now)


def next_due_at(pool: Pool, now: float) -> float | None:
    later = [at for m in pool.members if (at := _due_at(pool, m)) is not None and at > now]
    return min(later, default=None)


def _due_at(pool: Pool, member: PoolMember) -> float | None:
    match member.state:
        case MemberState.CREATING:
            return pool.retry_at
        case MemberState.DELETING:
            return member.retry_at
    return None


def created(pool: Pool, name: str, provider_id: str, now: float) -> list[Action]:
    """The provider says that it made the node."""
    member = _find(pool, name, MemberState.CREATING)
    if member is None:
        return []
    if not provider_id:
        return create_failed(pool, name, "the provider gave no id for it", now)
    holder = next((m for m in pool.members if m.provider_id == provider_id and m.name != name), None)
    if holder is not None:  # nothing was made, and what has that id must not be removed
        why = f"the provider gave {provider_id} for {name}, which is {holder.name} already"
        dropped = replace(pool, members=tuple(m for m in pool.members if m.name != name))
        return [SetPool(pool=failed(dropped, why, now), why=why)]
    joining = replace(
        member, state=MemberState.JOINING, provider_id=provider_id, changed_at=now, why="made; its agent is waited for"
    )
    return [SetPool(pool=_with(pool, joining))]


def create_failed(pool: Pool, name: str, why: str, now: float) -> list[Action]:
    """It may or may not have been made: the next attempt begins with the provider's list."""
    member = _find(pool, name, MemberState.CREATING)
    if member is None:
        return []
    told = f"could not make {name}: {why}"
    after = failed(_with(pool, replace(member, why=why)), told, now)
    repeated = after.failures == pool.failures
    event = "" if repeated else f"{told}; tries again in {after.retry_at - now:g} s"
    return [SetPool(pool=after, why=event)]


def deleted(view: PoolView, name: str, now: float) -> list[Action]:
    """The provider removed the node: its record goes too."""
    member = _find(view.pool, name, MemberState.DELETING)
    if member is None:
        return []
    after = replace(view.pool, members=tuple(m for m in view.pool.members if m.name != name), changed_at=now)
    nodes = [v.node for v in view.nodes.values() if is_member_node(view, v.node.id, name)]
    return [
        SetPool(pool=after, why=f"removed {name}: {member.why}"),
        *(ForgetNode(node=node, why=f"pool {view.pool.name} removed its machine") for node in nodes),
    ]


def is_member_node(view: PoolView, node_id: str, name: str) -> bool:
    return node_id in view.loads and any(v.node.id == node_id and v.node.name == name for v in view.nodes.values())


def delete_failed(pool: Pool, name: str, why: str, now: float) -> list[Action]:
    member = _find(pool, name, MemberState.DELETING)
    if member is None:
        return []
    attempts = member.attempts + 1
    after = replace(member, attempts=attempts, retry_at=now + retry_s(attempts), why=f"could not be removed: {why}")
    return [SetPool(pool=_with(pool, after), why=f"could not remove {name}: {why}; tries again in {retry_s(attempts):g} s")]


def listed(pool: Pool, found: Sequence[Listed], now: float) -> list[Action]:
    """What the provider's list tells: nodes that it had made before anyone heard of it, and what does not fit the records."""
    known = {m.name: m for m in pool.members}
    ids = {m.provider_id for m in pool.members if m.provider_id}
    after = pool
    for item in found:
        member = known.get(item.name)
        if member is not None and member.state is MemberState.CREATING and item.id not in ids:
            ids.add(item.id)
            why = "the provider had made it; its agent is waited for"
            known[item.name] = replace(member, state=MemberState.JOINING, provider_id=item.id, changed_at=now, why=why)
            after = _with(after, known[item.name])
    trouble = _odd(after, found)
    calm = not any(m.state in (MemberState.CREATING, MemberState.JOINING) for m in after.members)
    if pool.failures and calm and now >= pool.retry_at + LIST_EVERY_S:
        after = replace(after, failures=0, retry_at=0.0)
    if not after.failures:
        after = replace(after, trouble=trouble)
    if after == pool:
        return []
    return [SetPool(pool=after, why=trouble if trouble and trouble != pool.trouble else "")]


def list_failed(pool: Pool, why: str, now: float) -> list[Action]:
    told = f"the provider's nodes can't be listed: {why}"
    after = failed(pool, told, now)
    return [SetPool(pool=after, why=told if pool.trouble != told else "")]


def _odd(pool: Pool, found: Sequence[Listed]) -> str:
    """What is odd about a list, in words; empty where nothing is."""
    names = {m.name: m for m in pool.members}
    said = [
        f"the provider lists {i.id} ({i.name or 'no name'}), which is no node of this pool" for i in found if i.name not in names
    ]
    said += [f"the provider lists {id_} {n} times" for id_, n in Counter(i.id for i in found).items() if n > 1]
    for name in sorted({i.name for i in found if i.name in names}):
        same = sorted({i.id for i in found if i.name == name})
        if len(same) > 1:
            said.append(f"the provider lists {' and '.join(same)} as {name}; {names[name].provider_id or 'neither'} is used")
    there = {i.name for i in found}
    missing = [m.name for m in pool.members if m.state is MemberState.JOINED and m.name not in there]
    said += [f"the provider does not list {name}, which is in the cluster" for name in missing]
    more = [f"and {len(said) - MOST_SHOWN} more"] if len(said) > MOST_SHOWN else []
    return "; ".join([*said[:MOST_SHOWN], *more])


def _find(pool: Pool, name: str, state: MemberState) -> PoolMember | None:
    """The member, if it is still as it was when the provider was asked."""
    return next((m for m in pool.members if m.name == name and m.state is state), None)


def _with(pool: Pool, member: PoolMember) -> Pool:
    return replace(pool, members=tuple(member if m.name == member.name else m for m in pool.members))
