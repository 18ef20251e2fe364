"""What the kernel is told of replicas, and that it stays told; without a kernel."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rookery.model import Opening, OpenPort, PortProtocol, Reach
from rookery.refusals import Refused
from rookery.v1 import types_pb2
from rookery_agent.home import Home
from rookery_agent.isolation import keeper
from rookery_agent.isolation.keeper import Isolation
from rookery_agent.isolation.nft import Nft, NftFailure, NoSuchTable
from rookery_agent.isolation.ruleset import Inside, Seat, bridges_in, ruleset, table_name
from rookery_agent.manager_messages import read_reach

HERE = socket.if_nameindex()[0][1]  # a bridge that this machine has, as far as these tests go
WEB = Seat(app="shop", service="web", addresses=("172.18.0.2", "fd00::2"))
DB = Seat(app="shop", service="db", addresses=("172.18.0.3",))
REACH = Reach(
    machines=("10.0.0.2", "10.0.0.1", "fd00:1::1", "not an address", "127.0.0.1"),
    openings=(
        Opening(app="shop", ports=(OpenPort(port=8080), OpenPort(port=53, protocol=PortProtocol.UDP))),
        Opening(app="shop", service="web", ports=(OpenPort(port=81),)),
        Opening(app="*", ports=(OpenPort(port=82),)),
        Opening(app="blog", ports=(OpenPort(port=99),)),
    ),
)


def elements(script: str, name: str) -> set[str]:
    found = re.search(rf"set {name} {{ type [^;]+; elements = {{ (.*?) }} }}", script)
    return set(found[1].split(", ")) if found else set()


def test_the_rules_say_what_each_replica_may_reach() -> None:
    script = ruleset("rookery-1", Inside(bridges={"br-b": "shop", "br-a": "bank"}, seats=(WEB, DB)), REACH, ports=(9100,))
    assert elements(script, "bridges") == {'"br-a"', '"br-b"'}
    assert elements(script, "pairs") == {'"br-a" . "br-a"', '"br-b" . "br-b"'}
    assert elements(script, "machines4") == {"10.0.0.1", "10.0.0.2"}
    assert elements(script, "machines6") == {"fd00:1::1"}
    shop = {f'"br-b" . {port}' for port in ("tcp . 8080", "udp . 53", "tcp . 82")}
    assert elements(script, "open") == {*shop, '"br-a" . tcp . 82'}
    assert elements(script, "open4") == {"172.18.0.2 . tcp . 81"}
    assert elements(script, "open6") == {"fd00::2 . tcp . 81"}
    assert "th dport { 53, 9100 } accept" in script
    assert ruleset("rookery-1", Inside(bridges={"br-a": "bank", "br-b": "shop"}, seats=(DB, WEB)), REACH, ports=(9100,)) == script


def test_nothing_from_outside_gets_into_the_script() -> None:
    hostile = 'x"; } flush ruleset; #'
    seat = Seat(app="shop", service="web", addresses=(hostile,))
    script = ruleset(table_name(hostile), Inside(bridges={hostile: hostile}, seats=(seat,)), Reach(machines=(hostile,)))
    assert "flush" not in script.replace("rookery-xflushruleset", "")
    assert table_name(hostile) == "rookery-xflushruleset"


@dataclass
class FakeNft(Nft):
    """A kernel that holds one script a table, or refuses with `broken`."""

    held: dict[str, str] = field(default_factory=dict)
    broken: str = ""
    puts: int = 0

    async def put(self, script: str) -> None:
        if self.broken:
            raise NftFailure(self.broken)
        self.puts += 1
        table = script.split()[2]
        self.held.pop(table, None)
        if "set bridges" in script:
            self.held[table] = script

    async def listed(self, table: str) -> str:
        if self.broken:
            raise NftFailure(self.broken)
        if table not in self.held:
            raise NoSuchTable(table)
        return self.held[table].replace("; elements", ";\n elements").replace(" } }", " }\n}\n")

    async def tables(self, prefix: str) -> tuple[str, ...]:
        return tuple(name for name in self.held if name.startswith(prefix))

    def close(self) -> None:
        return


class World:
    def __init__(self, **more: str) -> None:
        self.nft = FakeNft()
        self.own = Inside(bridges={HERE: "shop"}, seats=(WEB,))
        self.others: tuple[Seat, ...] = ()
        self.kept: list[Reach] = []
        given = {"manager": "10.0.0.9:7070", "shared": "", **more}
        self.isolation = Isolation("n1", Reach(), ports=(), keep=self._keep, nft=self.nft, **given)  # type: ignore[arg-type]

    async def _keep(self, reach: Reach) -> None:
        self.kept.append(reach)

    async def inside(self) -> Inside:
        return self.own

    async def neighbours(self) -> tuple[Seat, ...]:
        return self.others

    @property
    def script(self) -> str:
        return self.nft.held.get("rookery-n1", "")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.01)


def play(world: World, act: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_LOOK_S", 0.05)

    async def main() -> None:
        running = asyncio.create_task(world.isolation.run(world))
        await act()
        running.cancel()

    asyncio.run(main())


def test_the_rules_follow_what_the_manager_says_and_go_with_the_last_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def act() -> None:
        await world.until(lambda: elements(world.script, "machines4") == {"10.0.0.9"})
        world.isolation.take(REACH)
        await world.until(lambda: "172.18.0.2 . tcp . 81" in elements(world.script, "open4"))
        await world.until(lambda: world.kept == [REACH])
        # Another agent of this cluster shares the engine, and the network: what its replicas send is judged here, too.
        world.others = (Seat(app="shop", service="web", addresses=("172.18.0.9",)),)
        await world.until(lambda: "172.18.0.9 . tcp . 81" in elements(world.script, "open4"))
        puts = world.nft.puts
        await asyncio.sleep(0.3)
        assert world.nft.puts == puts  # nothing is said twice
        assert world.isolation.why == ""
        world.own = Inside()
        await world.until(lambda: not world.nft.held)

    play(world, act, monkeypatch)


def test_rules_that_somebody_removes_or_changes_are_put_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()

    async def act() -> None:
        await world.until(lambda: bool(world.script))
        script = world.script
        world.nft.held.clear()
        await world.until(lambda: world.script == script)
        world.nft.held["rookery-n1"] = script.replace("reject with tcp reset", "accept")
        await world.until(lambda: world.script == script)

    play(world, act, monkeypatch)
    assert caplog.text.count("somebody changed the table rookery-n1") == 2


def test_a_replica_starts_when_its_network_is_covered() -> None:
    world = World()

    async def main() -> None:
        await world.isolation.cover({HERE: "shop"})
        assert elements(world.script, "bridges") == {f'"{HERE}"'}
        puts = world.nft.puts
        await world.isolation.cover({HERE: "shop"})
        assert world.nft.puts == puts
        await world.isolation.remove()
        assert not world.nft.held

    asyncio.run(main())


def test_what_is_not_enforced_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(shared="demo")

    async def act() -> None:
        await world.until(lambda: bool(world.script))
        assert world.isolation.why == "replicas of all apps are on the network demo (--endpoints network:demo)"
        world.nft.broken = "this agent may not change the kernel's rules"
        world.own = Inside(bridges={HERE: "shop", "br-elsewhere": "shop"})
        await world.until(lambda: "may not change" in world.isolation.why)
        assert "the engine's networks (br-elsewhere) are not in this agent's network namespace" in world.isolation.why
        await world.isolation.cover({"br-other": "shop"})  # a replica starts all the same
        world.nft.broken = ""
        world.own = Inside(bridges={HERE: "shop"}, seats=(WEB,))
        await world.until(lambda: world.isolation.why.startswith("replicas of all apps"))

    play(world, act, monkeypatch)


def test_tables_of_agents_that_are_gone_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.nft.held = {
        "rookery-gone": ruleset("rookery-gone", Inside(bridges={"br-gone": "shop"}), Reach()),
        "rookery-there": ruleset("rookery-there", Inside(bridges={HERE: "shop", "br-gone": "shop"}), Reach()),
        "strangers": "table inet strangers",
    }

    async def act() -> None:
        await world.until(lambda: world.nft.held.keys() == {"rookery-there", "rookery-n1", "strangers"})
        assert bridges_in(await world.nft.listed("rookery-there")) == {HERE, "br-gone"}

    play(world, act, monkeypatch)


def test_what_nft_says_is_one_line_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rookery_agent.isolation import nft

    def says(text: str, status: int = 1) -> str:
        program = tmp_path / "nft"
        program.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit {status}\n")
        program.chmod(0o755)
        try:
            return asyncio.run(Nft().listed("t"))
        except NftFailure as error:
            return f"{type(error).__name__}: {error}"

    monkeypatch.setattr(nft, "_PLACES", str(tmp_path))
    with pytest.raises(NftFailure, match="the program nft is missing; install nftables"):
        asyncio.run(Nft().put(""))
    assert says("Error: No such file or directory").startswith("NoSuchTable")
    assert "run it as root, or with the capability NET_ADMIN" in says(
        "netlink: Error: Operation not permitted (you must be root)"
    )
    assert says("Error: syntax error") == "NftFailure: nft refuses: Error: syntax error"
    assert says("a warning", status=0) == ""


def test_what_the_manager_said_outlives_the_agent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def keep() -> None:
        await home.keep_reach(REACH)

    home = Home(tmp_path)
    assert home.reach() == Reach()
    asyncio.run(keep())
    assert home.reach() == REACH
    assert not caplog.text
    (tmp_path / "reach").write_bytes(b"\xff\xff")
    assert home.reach() == Reach()
    assert "it is nothing until the manager says it anew" in caplog.text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (types_pb2.Reach(machines=["10.0.0.1"] * 50_001), "tells of 50001 machines"),
        (
            types_pb2.Reach(openings=[types_pb2.Opening(app="a", ports=[types_pb2.OpenPort(port=70_000, protocol=1)])]),
            "a port that is none",
        ),
    ],
)
def test_what_no_manager_says_is_refused(message: types_pb2.Reach, words: str) -> None:
    with pytest.raises(Refused, match=words):
        read_reach(message)
