"""Several hosts on one machine, each a network namespace with a real Docker engine, and the faults one can do to them.

Needs root, `ip`, `nsenter`, `iptables` and `dockerd`. Whatever a rig makes carries its number in its name, so it can be taken
down whatever happened to the process that made it: `python -m rig clean`.
"""

from rig.engine import Engine
from rig.host import Host
from rig.machine import missing
from rig.parts import Agent, Manager, Part, Proxy
from rig.rig import Rig
from rig.waiting import Late, wait_until

__all__ = ["Agent", "Engine", "Host", "Late", "Manager", "Part", "Proxy", "Rig", "missing", "wait_until"]
