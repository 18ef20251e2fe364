"""Pools over gRPC, with a provider that fails, hangs and lies: each is named, none stops the pool or the manager."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pool_command
import pytest
from fake_agent import FakeAgent
from manager_process import process
from rookery.client import AsyncClient, BadRequest, ClientError, NotFound
from rookery.model import POOL_LABEL, AppSpec, ContainerSpec, MemberState, Pool, PoolSpec, ProviderKind, Replicated, ServiceSpec
from rookery_manager.planners import pool_calls
from whole_manager import manager

PATIENCE_S = 60.0


class Machines:
    """The program's directory; and its machines' agents, which join for as long as `come` is set."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.come = True
        self.agents: dict[str, FakeAgent] = {}
        (home / "machines").mkdir(parents=True)
        self.mode("")

    def mode(self, text: str) -> None:
        (self.home / "mode").write_text(text)

    def calls(self, action: str) -> list[str]:
        lines = (self.home / "calls").read_text().splitlines() if (self.home / "calls").exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(action)]

    def spec(self, **changes: object) -> PoolSpec:
        command = (sys.executable, pool_command.__file__, str(self.home))
        wanted = {"provider": ProviderKind.COMMAND, "min": 1, "max": 3, "command": command, "shrink_after_s": 0.0, **changes}
        return PoolSpec(**wanted)  # type: ignore[arg-type]

    @asynccontextmanager
    async def running(self, address: Callable[[], str]) -> AsyncIterator[None]:
        async with AsyncExitStack() as cleanup:
            following = asyncio.create_task(self._follow(address))
            cleanup.callback(following.cancel)
            yield
            for agent in self.agents.values():
                await agent.die()

    async def _follow(self, address: Callable[[], str]) -> None:
        """Each machine has an agent, whose life ends with the machine's."""
        while True:
            there = {path.name for path in (self.home / "machines").iterdir()}
            for name in there - self.agents.keys() if self.come else ():
                self.agents[name] = FakeAgent(address(), name, labels={POOL_LABEL: "small"})
                self.agents[name].start()
            for name in self.agents.keys() - there:
                await self.agents.pop(name).die()
            await asyncio.sleep(0.02)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    monkeypatch.setattr(pool_calls, "FIRST_RETRY_S", 0.3)
    monkeypatch.setattr("rookery_manager.pools.LIST_EVERY_S", 0.5)
    (tmp_path / "data").mkdir()
    return Machines(tmp_path / "provider")


async def until(client: AsyncClient, holds: Callable[[Pool], bool], name: str = "small") -> Pool:
    """The pool, once that holds of it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                pool = await client.get_pool(name)
            except NotFound:
                pool = Pool(name="", spec=PoolSpec(provider=ProviderKind.COMMAND))
            if holds(pool):
                return pool
            await asyncio.sleep(0.05)


def joined(count: int) -> Callable[[Pool], bool]:
    return lambda pool: [m.state for m in pool.members] == [MemberState.JOINED] * count


def scenario(machines: Machines, play: Callable[[AsyncClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with (
            manager(machines.home.parent / "data") as cluster,
            AsyncClient(cluster.address, insecure=True) as client,
            machines.running(lambda: cluster.address),
        ):
            await play(client)

    asyncio.run(main())


def test_a_node_comes_and_goes(machines: Machines) -> None:
    async def play(client: AsyncClient) -> None:
        await client.create_pool("small", machines.spec())
        pool = await until(client, joined(1))
        assert (pool.members[0].name, pool.members[0].provider_id, pool.trouble) == ("small-1", "i-small-1", "")
        assert (await client.get_node("small-1")).node.all_labels[POOL_LABEL] == "small"
        await client.update_pool("small", min=3)
        await until(client, joined(3))
        await client.update_pool("small", min=0)
        await until(client, joined(0))
        await client.remove_pool("small")
        await until(client, lambda pool: not pool.name)
        assert await client.list_nodes() == ()
        assert sorted(machines.calls("create")) == sorted(machines.calls("delete")) == ["small-1", "small-2", "small-3"]

    scenario(machines, play)


@pytest.mark.parametrize(
    ("mode", "trouble"),
    [
        ("create=fail", "could not make small-1: it ended with status 1: out of stock"),
        ("create=hang", "could not make small-1: no answer within 1 s"),
        ("create=garbage", "could not make small-1: its answer is no JSON object: 'Creating...\\n'"),
        ("list=fail", "the provider's nodes can't be listed: it ended with status 1: out of stock"),
    ],
    ids=["fails", "hangs", "garbage", "can't list"],
)
def test_a_provider_that_fails_and_works_again(machines: Machines, mode: str, trouble: str) -> None:
    async def play(client: AsyncClient) -> None:
        machines.mode(mode)
        await client.create_pool("small", machines.spec(call_timeout_s=1.0 if "hang" in mode else 30.0))
        pool = await until(client, lambda pool: pool.failures >= 2)
        assert pool.trouble == trouble
        assert pool.retry_at > 0
        machines.mode("")
        pool = await until(client, joined(1))
        assert (pool.trouble, pool.failures, pool.members[0].name) == ("", 0, "small-1")
        said = [event.why for event in await client.list_events("small")]
        assert any(trouble in why for why in said)

    scenario(machines, play)


def test_nobody_waits_for_a_provider_that_hangs(machines: Machines) -> None:
    async def play(client: AsyncClient) -> None:
        machines.mode("create=hang")
        await client.create_pool("small", machines.spec(call_timeout_s=600.0))
        await until(client, lambda _: machines.calls("create") == ["small-1"])
        await client.create_pool("other", machines.spec(min=0))
        assert (await client.get_pool("small")).failures == 0, "the call is not over"

    scenario(machines, play)


def test_a_node_that_never_joins(machines: Machines) -> None:
    async def play(client: AsyncClient) -> None:
        machines.mode("create=lie")
        await client.create_pool("small", machines.spec(join_timeout_s=1.0))
        pool = await until(client, lambda pool: pool.failures >= 2)
        assert pool.trouble == "small-2 did not join within 1 s"
        machines.mode("")
        await until(client, joined(1))
        assert {"small-1", "small-2"} <= set(machines.calls("delete"))

    scenario(machines, play)


def test_the_same_machine_for_two_nodes(machines: Machines) -> None:
    async def play(client: AsyncClient) -> None:
        machines.mode("create=same")
        await client.create_pool("small", machines.spec())
        await until(client, joined(1))
        machines.mode("create=same")
        await client.update_pool("small", min=2)
        pool = await until(client, lambda pool: bool(pool.failures))
        assert pool.trouble == "the provider gave i-same for small-2, which is small-1 already"
        assert machines.calls("delete") == [], "what has the id is in use"

    scenario(machines, play)


@pytest.mark.parametrize(
    ("mode", "trouble"),
    [
        ("list=twice", "the provider lists i-small-1 and j-small-1 as small-1; i-small-1 is used"),
        ("list=strange", "the provider lists i-99 (other-9), which is no node of this pool"),
    ],
    ids=["two as one", "unknown"],
)
def test_a_list_that_is_odd(machines: Machines, mode: str, trouble: str) -> None:
    async def play(client: AsyncClient) -> None:
        await client.create_pool("small", machines.spec())
        await until(client, joined(1))
        machines.mode(mode)
        pool = await until(client, lambda pool: bool(pool.trouble))
        assert pool.trouble == trouble
        machines.mode("")
        await until(client, lambda pool: not pool.trouble)
        assert machines.calls("delete") == []

    scenario(machines, play)


def test_a_machine_that_can_not_be_removed(machines: Machines) -> None:
    async def play(client: AsyncClient) -> None:
        await client.create_pool("small", machines.spec())
        await until(client, joined(1))
        machines.mode("delete=fail")
        await client.remove_pool("small")
        pool = await until(client, lambda pool: any(m.attempts >= 2 for m in pool.members))
        assert pool.members[0].why == "could not be removed: it ended with status 1: out of stock"
        machines.mode("")
        await until(client, lambda pool: not pool.name)

    scenario(machines, play)


def test_what_can_not_be_meant_is_refused(machines: Machines) -> None:
    async def play(client: AsyncClient) -> None:
        for name, spec, words in (
            ("Small", machines.spec(), "name: must be"),
            ("small", machines.spec(min=4), "min: 4 is more than max, which is 3"),
            ("small", machines.spec(spare=2), "spare: must be 0 or 1, got 2"),
            ("small", machines.spec(command=()), "command: the provider command needs the path"),
            ("small", machines.spec(join_timeout_s=float("nan")), "join_timeout_s: must be from 1 to 86400 seconds, got nan"),
            ("small", PoolSpec(provider=ProviderKind.DOCKER), "settings.image: the provider docker needs an image"),
        ):
            with pytest.raises(BadRequest, match=words):
                await client.create_pool(name, spec)
        await client.create_pool("small", machines.spec())
        await client.create_pool("small", machines.spec())
        with pytest.raises(ClientError, match="is there already, with another spec"):
            await client.create_pool("small", machines.spec(max=2))
        with pytest.raises(BadRequest, match="min: 9 is more than max"):
            await client.update_pool("small", min=9)
        with pytest.raises(NotFound, match="did you mean small"):
            await client.get_pool("smal")
        await client.remove_pool("small")
        await until(client, lambda pool: not pool.name)

    scenario(machines, play)


def test_a_manager_killed_between_the_call_and_its_record(machines: Machines) -> None:
    """The machine is there and nobody was told: the next manager takes it over, and makes no other one."""

    async def main() -> None:
        machines.mode("create=slow")
        async with process(machines.home.parent / "data", "--heartbeat", "0.1", "--lease", "0.6") as running:
            async with AsyncClient(running.address, insecure=True) as client:
                await client.create_pool("small", machines.spec())
                made = machines.home / "machines" / "small-1"
                await until(client, lambda _: made.exists())
                await running.kill()
            machines.mode("")
            await running.start()
            async with AsyncClient(running.address, insecure=True) as client, machines.running(lambda: running.address):
                pool = await until(client, joined(1))
        assert (pool.members[0].name, pool.members[0].provider_id) == ("small-1", "i-small-1")
        assert machines.calls("create") == ["small-1"]

    asyncio.run(main())


def test_two_pools_do_not_both_answer_for_the_same_replicas(machines: Machines) -> None:
    """And what the first can't get, the second does."""

    async def play(client: AsyncClient) -> None:
        machines.come = False
        await client.create_pool("small", machines.spec(min=0))
        machines.mode("")
        service = ServiceSpec(name="web", container=ContainerSpec(image="i"), mode=Replicated(replicas=2))
        await client.apply(AppSpec(name="shop", services=(service,)))
        await until(client, lambda pool: [m.state for m in pool.members] == [MemberState.JOINING])
        await client.create_pool("other", machines.spec(min=0))
        await client.scale("shop", "web", 3)
        await until(client, lambda _: machines.calls("list").count("") >= 4)
        assert (await client.get_pool("other")).members == ()
        said = [event.why for event in await client.list_events("small")]
        assert said[-1] == "0 -> 1: 2 replicas wait for room"
        await client.update_pool("small", join_timeout_s=1.0)
        other = await until(client, lambda pool: bool(pool.members), "other")
        assert other.why == "0 -> 1: 3 replicas wait for room"

    scenario(machines, play)
