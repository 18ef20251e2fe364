"""A store that went back in time under real agents and a real proxy: they follow it again, and it is obeyed."""

import asyncio
import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ports import free_port
from rookery.client import AsyncClient, Unreachable
from rookery.identity import load
from rookery.model import AppSpec, Argv, ContainerSpec, Port, Replicated, RuntimeKind, ServiceSpec, UpdateConfig

PATIENCE_S = 60.0
SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(os.environ["SAYS"].encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


class Machine:
    """The parts as processes, their data in one directory; `rookery ARGS` is run beside them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.manager_data = place / "manager"
        self.address = f"127.0.0.1:{free_port()}"
        self.port = free_port()
        self.running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, part: str, *arguments: str) -> None:
        with (self.place / f"{part}.log").open("ab") as log:
            command = ["-m", f"rookery_{part}.main", "--data", str(self.place / part), *arguments]
            self.running[part] = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=log)

    def joining(self, part: str) -> tuple[str, ...]:
        return "--manager", self.address, "--token-file", str(self.manager_data / f"{part}.token")

    async def listens(self) -> bool:
        return (self.manager_data / "address").exists()  # which comes after the tokens

    def client(self) -> AsyncClient:
        return AsyncClient(self.address, identity=load(self.manager_data / "admin.pem"))

    async def start_manager(self) -> None:
        (self.manager_data / "address").unlink(missing_ok=True)
        await self.start("manager", "--listen", self.address)

    async def stop(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        process = self.running.pop(part)
        process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()

    async def rookery(self, *arguments: str) -> tuple[int, str]:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "rookery.cli.main", "--manager", self.address, *arguments]
        environment = {**os.environ, "ROOKERY_CREDENTIAL": str(self.manager_data / "admin.pem")}
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=environment)
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    def log(self, part: str) -> str:
        return (self.place / f"{part}.log").read_text()

    def ask(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2) as answer:
                return str(answer.read().decode())
        except OSError as error:
            return str(error)


@asynccontextmanager
async def machine(place: Path) -> AsyncIterator[Machine]:
    """A manager, an agent for plain processes, a proxy."""
    made = Machine(place)
    (place / "serve.py").write_text(SERVER)
    try:
        await made.start_manager()
        await until(made.listens, made)
        agent = (*made.joining("agent"), "--name", "n1", "--address", "127.0.0.1", "--runtime", "process")
        await made.start("agent", *agent, "--on-stop", "drain")
        await made.start("proxy", *made.joining("proxy"), "--bind", "127.0.0.1", "--workers", "1")
        yield made
    finally:
        for part, number in (("agent", signal.SIGTERM), ("proxy", signal.SIGTERM), ("manager", signal.SIGKILL)):
            if part in made.running:
                await made.stop(part, number)


def shop(made: Machine, says: str, replicas: int) -> AppSpec:
    container = ContainerSpec(command=Argv(args=(sys.executable, str(made.place / "serve.py"))), environment={"SAYS": says})
    web = ServiceSpec(
        name="web", container=container, mode=Replicated(replicas=replicas), runtime=RuntimeKind.PROCESS,
        ports=(Port(target=80, published=made.port),), update=UpdateConfig(parallelism=0, monitor_s=0.1), drain_timeout_s=1.0,
    )  # fmt: skip
    return AppSpec(name="shop", services=(web,))


async def until(condition: Callable[[], Awaitable[bool]], made: Machine) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if await condition():
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail("\n".join(made.log(part)[-3000:] for part in ("manager", "agent", "proxy")))


async def serves(made: Machine, client: AsyncClient, says: str, replicas: int) -> None:
    """Returns when the app is so many replicas that say so, to the proxy's users as well."""

    async def so() -> bool:
        try:
            status = await client.get_app("shop")
        except Unreachable:
            return False  # it starts
        there = await client.list_replicas("shop")
        return status.converged and len(there) == replicas and await asyncio.to_thread(made.ask) == says

    await until(so, made)


async def ready(client: AsyncClient, made: Machine) -> None:
    async def so() -> bool:
        try:
            return (await client.get_cluster()).nodes_ready == 1
        except Unreachable:
            return False

    await until(so, made)


async def by_command(made: Machine, file: Path) -> None:
    await made.stop("manager")
    status, said = await made.rookery("admin", "restore", str(file), "--data", str(made.manager_data))
    assert (status, "what was there is kept as" in said) == (0, True), said


async def by_hand(made: Machine, file: Path) -> None:
    await made.stop("manager", signal.SIGTERM)
    shutil.copyfile(file, made.manager_data / "store.db")


@pytest.mark.parametrize("put_back", [by_command, by_hand])
def test_agents_and_proxies_follow_an_older_store(put_back: Callable[[Machine, Path], Awaitable[None]], tmp_path: Path) -> None:
    async def scene() -> None:
        async with machine(tmp_path) as made, made.client() as client:
            await ready(client, made)
            await client.apply(shop(made, "old", 2))
            await serves(made, client, "old", 2)
            status, said = await made.rookery("admin", "backup", str(tmp_path / "backup.db"))
            assert status == 0, said
            await client.apply(shop(made, "new", 3))
            await serves(made, client, "new", 3)
            seen = (await client.get_cluster()).revision
            await put_back(made, tmp_path / "backup.db")
            await made.start_manager()
            await serves(made, client, "old", 2)
            assert (await client.get_cluster()).revision > seen + 100_000
            await client.apply(shop(made, "newest", 1))
            await serves(made, client, "newest", 1)
            assert "older than" not in made.log("agent")

    asyncio.run(scene())


def test_old_nodes_join_a_store_that_was_begun_anew(tmp_path: Path) -> None:
    async def scene() -> None:
        async with machine(tmp_path) as made:
            async with made.client() as client:
                await ready(client, made)
                await client.apply(shop(made, "old", 2))
                await serves(made, client, "old", 2)
            await made.stop("manager")
            for path in made.manager_data.glob("store.db*"):
                os.rename(path, tmp_path / path.name)
            await made.start_manager()
            await until(made.listens, made)
            async with made.client() as client:  # what was known of people has gone with the store: this is another admin
                await ready(client, made)
                await client.apply(shop(made, "new", 1))
                await serves(made, client, "new", 1)

    asyncio.run(scene())
