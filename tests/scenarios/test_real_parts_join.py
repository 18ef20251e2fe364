"""The agent and the proxy as processes, joined to a manager: certificates of seconds, a removed node, tokens that are no good."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from certificates import authority_of
from ports import free_port
from rookery.client import AsyncClient, ClientError, LogLine
from rookery.identity import load
from rookery.model import AppSpec, Argv, ContainerSpec, NodeState, Port, Replicated, RuntimeKind, ServiceSpec
from whole_manager import manager

PATIENCE_S = 60.0


class Part:
    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self.data = folder / name
        self._log = folder / f"{name}.log"
        self._command = [sys.executable, "-m", f"rookery_{name}.main", "--data", str(self.data), *arguments]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            if process.returncode is None:
                process.send_signal(number)
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def status(self) -> int | None:
        return self._process.returncode if self._process else None


@asynccontextmanager
async def parts(folder: Path, address: str) -> AsyncIterator[tuple[Part, Part]]:
    """An agent for plain processes, and a proxy, started with the manager's tokens."""
    data = folder / "m"
    agent = Part(
        "agent", folder, "--manager", address, "--token-file", str(data / "agent.token"), "--name", "n1", "--runtime", "process",
        "--address", "127.0.0.1",
    )  # fmt: skip
    proxy = Part(
        "proxy", folder, "--manager", address, "--token-file", str(data / "proxy.token"), "--bind", "127.0.0.1", "--workers", "1"
    )
    try:
        await agent.start()
        await proxy.start()
        yield agent, proxy
    finally:
        await proxy.end()
        await agent.end()


async def until(condition: Callable[[], Awaitable[bool]], *told: Part) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    if await condition():
                        return
                except ClientError:
                    pass
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError("\n".join(part.log for part in told)) from None


def sleeper() -> AppSpec:
    container = ContainerSpec(command=Argv(args=("sh", "-c", "echo hello; exec sleep 600")))
    return AppSpec(
        name="shop",
        services=(
            ServiceSpec(
                name="web",
                container=container,
                mode=Replicated(replicas=2),
                runtime=RuntimeKind.PROCESS,
                ports=(Port(target=80, published=free_port()),),
            ),
        ),
    )


def test_certificates_of_seconds_lose_no_heartbeat(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            manager(tmp_path / "m", "--certificate-life", "10", secure=True) as made,
            AsyncClient(made.address, identity=load(tmp_path / "m" / "admin.pem")) as client,
            parts(tmp_path, made.address) as (agent, proxy),
        ):

            async def complete() -> bool:
                nodes = await client.list_nodes()
                return [n.node.state for n in nodes] == [NodeState.READY] and any(
                    p.connected for p in await client.list_proxies()
                )

            await until(complete, agent, proxy)
            await client.apply(sleeper())
            await until(lambda: _ready(client, 2), agent)
            first = [load(part.data / "identity.pem") for part in (agent, proxy)]

            async def renewed() -> bool:
                now = [load(part.data / "identity.pem") for part in (agent, proxy)]
                pairs = list(zip(first, now, strict=True))
                return all(before and later and before.ends_at + 1 < time.time() < later.ends_at for before, later in pairs)

            await until(renewed, agent, proxy)
            assert await complete()
            assert agent.log.count("connected to the manager") == 1, agent.log
            assert proxy.log.count("following manager") == 1, proxy.log
            assert not [event for event in await client.list_events(limit=1000) if event.why.startswith("down")]
            # Another call on a connection whose own certificate has ended:
            said = [entry async for entry in client.logs("shop", "web")]
            assert [entry.text for entry in said if isinstance(entry, LogLine)] == ["hello", "hello"], said
            await client.remove_proxy(next(iter(await client.list_proxies())).info.id)

            async def out() -> bool:
                return "it serves nothing any more" in proxy.log and not any(p.connected for p in await client.list_proxies())

            await until(out, proxy)

    asyncio.run(scene())


def test_a_removed_node_stops_what_it_ran_and_joins_again_when_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            manager(tmp_path / "m", secure=True) as made,
            AsyncClient(made.address, identity=load(tmp_path / "m" / "admin.pem")) as client,
            parts(tmp_path, made.address) as (agent, _),
        ):
            await until(lambda: _nodes(client, 1), agent)
            await client.apply(sleeper())
            await until(lambda: _ready(client, 2), agent)
            await agent.end(signal.SIGKILL)
            await until(lambda: _state(client, NodeState.DOWN), agent)
            await client.remove_node("n1")
            await agent.start()

            async def stopped() -> bool:
                return "what runs here for it is stopped" in agent.log and not _running(agent.data)

            await until(stopped, agent)
            assert await _nodes(client, 0)
            assert "was removed from the cluster; to join again, remove its identity.pem" in agent.log
            await agent.end()
            os.unlink(agent.data / "identity.pem")
            await agent.start()
            await until(lambda: _ready(client, 2), agent)

    asyncio.run(scene())


async def _nodes(client: AsyncClient, count: int) -> bool:
    return len(await client.list_nodes()) == count


async def _state(client: AsyncClient, state: NodeState) -> bool:
    return [detail.node.state for detail in await client.list_nodes()] == [state]


async def _ready(client: AsyncClient, count: int) -> bool:
    return (await client.get_app("shop")).services[0].ready == count


def _running(data: Path) -> list[str]:
    """The supervisors of replicas of this data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"{data}/" in line and "supervisor" in line:
            found.append(line)
    return found


def test_who_may_not_join_is_told_and_one_that_has_joined_goes_on(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path / "m", secure=True) as made:
            agent = Part("agent", tmp_path, "--manager", made.address, "--runtime", "process", "--address", "127.0.0.1")
            await agent.start()
            await until(lambda: _ended(agent, 2), agent)
            assert (
                "this agent has not joined a cluster; give it a join token with --token-file FILE or ROOKERY_TOKEN" in agent.log
            )

            authority_of(tmp_path / "other")
            wrong = tmp_path / "wrong.token"
            token = (tmp_path / "m" / "agent.token").read_text()
            wrong.write_text(token[:5] + ("a" if token[5] != "a" else "b") + token[6:])
            agent = Part(
                "agent", tmp_path, "--manager", made.address, "--runtime", "process", "--address", "127.0.0.1", "--token-file",
                str(wrong),
            )  # fmt: skip
            await agent.start()
            await until(lambda: _ended(agent, 1), agent)
            assert "is not of the cluster that the token is for: the token's secret was not sent" in agent.log
            wrong.write_text(token[:-3] + "\n")
            await agent.end()
            await agent.start()
            await until(lambda: _ended(agent, 1), agent)
            assert "this manager knows no such join token" in agent.log
            assert token.strip()[-20:] not in agent.log

    asyncio.run(scene())


async def _ended(part: Part, status: int) -> bool:
    if part.status is not None:
        assert part.status == status, part.log
    return part.status is not None
