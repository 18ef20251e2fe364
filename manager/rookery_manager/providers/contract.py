"""The contract with a provider: what it is given on standard input, and what it may answer. Written down in docs/pools.md."""

import json
from pathlib import Path
from typing import Any

from rookery.model import POOL_LABEL, Pool, PoolMember

from rookery_manager.planners.pool_calls import Listed

VERSION = 1
MOST_NODES = 10_000


class Failed(Exception):
    """A call that did not do what it was to do; its message says why."""


def agent_arguments(pool: Pool, member: PoolMember, manager: str, *, insecure: bool = False) -> tuple[str, ...]:
    """What the agent of a new node is started with. The join token is no part of it: other users see a process's arguments."""
    arguments = ["--manager", pool.spec.manager or manager, "--name", member.name]
    for key, value in sorted({**pool.spec.labels, POOL_LABEL: pool.name}.items()):
        arguments += ["--label", f"{key}={value}"]
    if insecure:
        arguments.append("--insecure")
    return tuple(arguments)


def request(action: str, pool: Pool, member: PoolMember | None, *, cluster: str, manager: str, data: Path, token: str) -> bytes:
    """`token` is what agents join with; empty where the manager was started with --insecure."""
    spec = pool.spec
    asked: dict[str, Any] = {
        "version": VERSION,
        "action": action,
        "cluster": cluster,
        "pool": pool.name,
        "settings": dict(spec.settings),
        "data": str(data),
    }
    if member is not None:
        asked["node"] = {"name": member.name, "id": member.provider_id}
    if member is not None and action == "create":
        asked["size"] = {"cpus": spec.size.cpus, "memory_bytes": spec.size.memory_bytes}
        asked["labels"] = dict(spec.labels)
        asked["runtime"] = str(spec.runtime)
        asked["agent"] = list(agent_arguments(pool, member, manager, insecure=not token))
        if token:
            asked["token"] = token
    return json.dumps(asked).encode()


def read_created(output: bytes) -> str:
    """The id of the new machine. Raises Failed for an answer that is none."""
    return _text(_object(output), "id")


def read_listed(output: bytes) -> tuple[Listed, ...]:
    """Raises Failed for an answer that is no list of nodes."""
    nodes = _object(output).get("nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise Failed('it did not answer {"nodes": [{"id": …, "name": …}, …]}')
    if len(nodes) > MOST_NODES:
        raise Failed(f"it lists {len(nodes)} nodes, more than {MOST_NODES}")
    return tuple(Listed(id=_text(node, "id"), name=str(node.get("name", ""))[:253]) for node in nodes)


def _object(output: bytes) -> dict[str, Any]:
    try:
        found = json.loads(output)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Failed(f"its answer is no JSON object: {output[:80].decode(errors='replace')!r}")
    return found


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value or len(value) > 253 or not value.isprintable():
        raise Failed(f'its answer has no "{key}" (a text of 1 to 253 printable characters)')
    return value
