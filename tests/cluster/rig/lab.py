"""A rig to play with: hosts with engines, a manager, an agent on each host, a proxy, and a prompt for the faults."""

from collections.abc import Callable
from typing import cast

from rig.engine import Engine
from rig.host import Host
from rig.parts import Part
from rig.rig import Rig

Victim = Part | Engine

ON_PARTS = ("kill", "stop", "start", "freeze", "thaw")
ON_LINKS = {"cut": Host.cut, "mute": Host.mute, "deafen": Host.deafen, "restore": Host.restore}
HELP = f"""\
  {" | ".join(ON_PARTS)}  manager | proxy | agent HOST | engine HOST
  containers HOST          kills all containers of a host, as a crash of each
  {" | ".join(ON_LINKS)}  HOST      the host's link: off, nothing out, nothing in, as it was
  lose HOST PERCENT        of its packets, both ways
  show                     addresses and what runs
  quit                     takes all of it down"""


class Lab:
    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._hosts = {host.name: host for host in rig.hosts}
        self._manager = rig.manager()
        self._agents = {host.name: rig.agent(host, self._manager) for host in rig.hosts}
        self._proxy = rig.proxy(self._manager)

    def show(self) -> None:
        print(f"manager {self._manager.address} ({_state(self._manager)})    export ROOKERY_MANAGER={self._manager.address}")
        print(f"                                      export ROOKERY_CREDENTIAL={self._manager.credential}")
        print(f"proxy   {self._rig.gateway} ({_state(self._proxy)}), on the ports that apps publish")
        for name, host in self._hosts.items():
            print(f"{name}      {host.address}  agent {_state(self._agents[name])}  DOCKER_HOST={host.engine.url}")
        print(f"logs    {self._rig.folder}/*/log")

    def obey(self, line: str) -> bool:
        """Does what a line says; False where it ends the lab. What makes no sense is answered with how to say it."""
        match line.split():
            case []:
                pass
            case ["quit" | "exit"]:
                return False
            case ["show"]:
                self.show()
            case [verb, *what] if verb in ON_PARTS and (victim := self._victim(what)) is not None:
                cast(Callable[[], object], getattr(victim, verb))()
            case [verb, name] if verb in ON_LINKS and name in self._hosts:
                ON_LINKS[verb](self._hosts[name])
            case ["lose", name, percent] if name in self._hosts and percent.replace(".", "", 1).isdigit():
                self._hosts[name].lose(float(percent))
            case ["containers", name] if name in self._hosts:
                engine = self._hosts[name].engine
                for container_id in engine.started(label="rookery.app"):
                    engine.kill_container(container_id)
            case _:
                print(HELP)
        return True

    def _victim(self, what: list[str]) -> Victim | None:
        match what:
            case ["manager"]:
                return self._manager
            case ["proxy"]:
                return self._proxy
            case ["agent", name] if name in self._agents:
                return self._agents[name]
            case ["engine", name] if name in self._hosts:
                return self._hosts[name].engine
        return None


def run(hosts: int) -> None:
    print(f"making {hosts} hosts with an engine each", flush=True)
    with Rig(hosts) as rig:
        lab = Lab(rig)
        lab.show()
        print(HELP)
        try:
            while lab.obey(input("lab> ")):
                pass
        except (EOFError, KeyboardInterrupt):
            print()
        print("taking it down")


def _state(part: Part) -> str:
    return "up" if part.running else "down"
