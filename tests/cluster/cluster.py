"""A cluster on the rig's hosts as the tests see it: deploy, ask, count."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from rig import Agent, Host, Proxy, Rig, wait_until
from rig.image import IMAGE
from rookery.client import Client, ClientError
from rookery.compose import load
from rookery.model import Availability, NodeState, Replica, is_ended

PORT = 8080
# Says which replica and node answer. SIGKILL, since a shell or httpd as a container's first process does not heed SIGTERM.
WEB = f"""
    image: {IMAGE}
    pull_policy: never
    stop_signal: SIGKILL
    command: ["sh", "-c", "echo $$ROOKERY_REPLICA $$ROOKERY_NODE > /www/index.html; exec httpd -f -p 8000 -h /www"]
    x-rookery:
      health: {{ http: {{ port: 8000 }}, interval: 2s, start_interval: 100ms }}
"""


def web(replicas: int, *, port: int = PORT) -> str:
    """A compose file of one service that answers over HTTP on a published port."""
    return f"services:\n  web:{WEB}    ports: ['{port}:8000']\n    deploy: {{ replicas: {replicas} }}\n"


class Cluster:
    """A manager, an agent on each host and a proxy, all new; nothing runs on the engines before or after."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.hosts = rig.hosts
        self.agents: dict[str, Agent] = {}
        self.proxies: list[Proxy] = []
        self.addresses: list[str] = []  # of the proxies, in the same order

    def __enter__(self) -> "Cluster":
        self._folder = f"t{time.monotonic_ns()}"
        self.manager = self.rig.manager(name=f"{self._folder}/manager")
        for host in self.hosts:
            self.agents[host.name] = self.rig.agent(host, self.manager, name=host.name, folder=f"{self._folder}/{host.name}")
        self.add_proxy()
        self.client = Client(self.manager.address, identity=self.manager.admin)
        self.wait(lambda: self.ready_nodes() == len(self.hosts), what="all nodes to be ready", within_s=60)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()
        if error is not None:
            self.tell()
        for part in [*self.agents.values(), *self.proxies, self.manager]:
            self.rig.discard(part)
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(_restore, self.hosts))

    def add_proxy(self, host: Host | None = None) -> None:
        """One more proxy: at the gateway's address, or on a host."""
        self.proxies.append(self.rig.proxy(self.manager, host=host, name=f"{self._folder}/proxy{len(self.proxies)}"))
        self.addresses.append(host.address if host else self.rig.gateway)

    def tell(self) -> None:
        """Prints the end of every part's log."""
        for part in [self.manager, *self.proxies, *self.agents.values()]:
            print(f"--- {part.name}\n" + "\n".join(part.log.splitlines()[-60:]))

    def wait(self, condition: object, *, what: str, within_s: float = 30) -> None:
        """Waits as `wait_until`, but a part that ended by itself is told at once."""

        def checked() -> bool:
            for part in self.rig.parts:
                part.check()
            return bool(condition())  # type: ignore[operator]

        wait_until(checked, within_s=within_s, what=what)

    def ready_nodes(self) -> int:
        try:
            return self.client.get_cluster().nodes_ready
        except ClientError:
            return 0

    def apply(self, compose: str, *, app: str = "shop") -> None:
        file = Path(self.rig.folder / "compose.yml")
        file.write_text(compose)
        self.client.apply(load([file], app=app, env={}).app)

    def deploy(self, compose: str, *, app: str = "shop", within_s: float = 60) -> None:
        """Applies and waits until all is ready."""
        self.apply(compose, app=app)
        self.wait(lambda: self.converged(app), what=f"{app} to be ready", within_s=within_s)

    def converged(self, app: str = "shop") -> bool:
        try:
            status = self.client.get_app(app)
        except ClientError:
            return False
        return status.converged and all(service.ready == service.wanted for service in status.services)

    def replicas(self, app: str = "shop") -> list[Replica]:
        return [detail.replica for detail in self.client.list_replicas(app) if not is_ended(detail.replica.state)]

    def ready_on(self, app: str = "shop") -> Counter[str]:
        """Ready replicas by node."""
        return Counter(replica.node_name for replica in self.replicas(app) if replica.ready)

    def node_state(self, name: str) -> NodeState:
        return next(detail.node.state for detail in self.client.list_nodes() if detail.node.name == name)

    def drain(self, host: Host) -> None:
        self.client.update_node(host.name, availability=Availability.DRAINED)

    def activate(self, host: Host) -> None:
        self.client.update_node(host.name, availability=Availability.ACTIVE)

    def started(self, hosts: Iterable[Host] | None = None, app: str = "shop") -> dict[str, str]:
        """When each running container of an app was started, by id, as the engines say."""
        chosen = self.hosts if hosts is None else hosts
        return {key: at for host in chosen for key, at in host.engine.started(label=f"rookery.app={app}").items()}

    def ask(self, port: int = PORT) -> str:
        """What a replica answers through the proxy: its id and its node's name. Raises OSError for anything but 200."""
        connection = http.client.HTTPConnection(self.rig.gateway, port, timeout=10)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            body = response.read().decode().strip()
            if response.status != 200:
                raise ConnectionError(f"{response.status} {body}")
            return body
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()


class Traffic:
    """Requests that go on while a context lasts, with what became of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.good: list[tuple[float, str]] = []
        self.failed: list[tuple[float, str]] = []
        self._cluster = cluster
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                answer = self._cluster.ask()
                self.good.append((time.monotonic(), answer))
            except OSError as error:
                self.failed.append((time.monotonic(), f"{type(error).__name__}: {error}"))

    def answers_since(self, at: float) -> int:
        return sum(1 for when, _ in self.good if when > at)


def _restore(host: Host) -> None:
    """Makes a host as it was: on the network, its engine running and empty."""
    host.restore()
    try:
        runs = host.engine.ready()
    except RuntimeError as error:  # it ended by itself: one test's trouble is not to be that of all others
        print(error)
        runs = False
    if not runs:
        host.engine.start()
        host.engine.wait_ready()
    for container in host.engine.containers(everything=True):
        host.engine.client.api.remove_container(container["Id"], force=True, v=True)
    host.engine.client.networks.prune()
    host.engine.client.volumes.prune()
