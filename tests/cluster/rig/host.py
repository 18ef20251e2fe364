"""One host of a rig: a namespace with an address, a link that can be cut, and an engine."""

from pathlib import Path

from rig.engine import Engine
from rig.ledger import Ledger
from rig.machine import run


class Host:
    def __init__(self, ledger: Ledger, index: int, storage_driver: str) -> None:
        self.name = f"h{index}"
        self.index = index
        self.namespace = ledger.namespace(index)
        self.address = ledger.address(index)
        self.folder: Path = ledger.folder / self.name
        self.engine = Engine(
            namespace=self.namespace,
            folder=self.folder / "engine",
            index=index,
            cgroup=ledger.cgroup(index),
            storage_driver=storage_driver,
        )
        self._ledger = ledger

    def plug_in(self) -> None:
        """Makes the namespace and its link to the bridge."""
        veth, inner = self._ledger.veth(self.index), f"{self._ledger.veth(self.index)}i"
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", veth, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", self.namespace, "name", "eth0")
        run("ip", "link", "set", veth, "master", self._ledger.bridge, "up")
        inside = ["ip", "-n", self.namespace]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", self._ledger.gateway)

    def cut(self) -> None:
        """Takes the host off the network, as a pulled cable would; all on it goes on."""
        run("ip", "link", "set", self._ledger.veth(self.index), "down")

    def restore(self) -> None:
        run("ip", "link", "set", self._ledger.veth(self.index), "up")
