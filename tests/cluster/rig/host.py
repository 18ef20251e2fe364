"""One host of a rig: a namespace with an address, a link that can be cut both ways or one way, and an engine."""

from pathlib import Path

from rig.engine import Engine
from rig.ledger import Ledger
from rig.machine import in_namespace, run


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

    def mute(self) -> None:
        """Drops what the host and its containers send; what is sent to them still arrives."""
        self._filter(*_OUTWARD, "-j", "DROP")

    def deafen(self) -> None:
        """Drops what is sent to the host and its containers; what they send still arrives."""
        self._filter(*_INWARD, "-j", "DROP")

    def lose(self, percent: float) -> None:
        """Drops so many of the packets, both ways. Raises RuntimeError where the kernel has no such match."""
        some = ("-m", "statistic", "--mode", "random", "--probability", f"{percent / 100:g}", "-j", "DROP")
        self._filter(*_INWARD, *some)
        self._filter(*_OUTWARD, *some)

    def restore(self) -> None:
        """The link as it was made: up, and nothing dropped."""
        run("ip", "link", "set", self._ledger.veth(self.index), "up")
        self._filter("-t", "raw", "-F", "PREROUTING")
        self._filter("-t", "mangle", "-F", "POSTROUTING")

    def _filter(self, *rule: str) -> None:
        """In tables of the host that its engine leaves alone."""
        run(*in_namespace(self.namespace, ["iptables", "-w", *rule]))


_INWARD = ("-t", "raw", "-A", "PREROUTING", "-i", "eth0")
_OUTWARD = ("-t", "mangle", "-A", "POSTROUTING", "-o", "eth0")
