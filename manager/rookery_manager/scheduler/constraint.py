"""Placement constraints (`node.labels.zone == a`), and the properties of nodes that they and spread preferences name.

As in Swarm, values are compared without regard to case, and a label that a node does not have is an empty one.
"""

import re
from dataclasses import dataclass

from rookery.model import Node

_FORM = re.compile(r"\s*(?P<name>[^\s=!]+)\s*(?P<sign>==|!=)\s*(?P<value>.*?)\s*", re.DOTALL)
_PLAIN = ("node.id", "node.hostname", "node.platform.os", "node.platform.arch")
_LABELS = ("node.labels.", "engine.labels.")
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armv8": "arm64", "i386": "386", "i686": "386"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    attribute: str
    equal: bool
    value: str

    def refusal(self, node: Node) -> str:
        """Why the node does not meet it; empty when it does."""
        actual = attribute(node, self.attribute)
        if (_comparable(self.attribute, actual) == _comparable(self.attribute, self.value)) is self.equal:
            return ""
        if not self.equal:
            return f"its {self.attribute} is {actual or 'empty'}"
        return f"its {self.attribute} is {actual}, not {self.value}" if actual else f"it has no {self.attribute}"


def parse_constraint(text: str) -> Constraint:
    """Raises ValueError where the text is no constraint or names nothing that nodes have."""
    found = _FORM.fullmatch(text)
    if found is None or not found["value"]:
        raise ValueError(f"'{text}' is no constraint: write KEY == VALUE or KEY != VALUE, such as node.labels.zone == a")
    check_attribute(found["name"])
    return Constraint(attribute=found["name"], equal=found["sign"] == "==", value=found["value"])


def check_attribute(name: str) -> None:
    """Raises ValueError where nodes have no such property."""
    if name == "node.role":
        raise ValueError(
            "node.role: nodes have no roles, every one with an agent runs replicas; label nodes and use node.labels.NAME"
        )
    if name not in _PLAIN and not any(name.startswith(prefix) and name != prefix for prefix in _LABELS):
        known = ", ".join([*_PLAIN, *(prefix + "NAME" for prefix in _LABELS)])
        raise ValueError(f"{name}: no property of a node; known are {known}")


def attribute(node: Node, name: str) -> str:
    """A node's value of a property that `check_attribute` lets pass; empty where it has none."""
    match name:
        case "node.id":
            return node.id
        case "node.hostname":
            return node.info.hostname
        case "node.platform.os":
            return node.info.os
        case "node.platform.arch":
            return node.info.arch
    if name.startswith("node.labels."):
        label = name.removeprefix("node.labels.")
        return node.labels.get(label, node.info.labels.get(label, ""))
    return node.info.labels.get(name.removeprefix("engine.labels."), "")


def architecture(name: str) -> str:
    """The one name of an architecture that has several (`x86_64` is `amd64`)."""
    return _ARCHITECTURES.get(name.casefold(), name.casefold())


def _comparable(attribute_name: str, value: str) -> str:
    return architecture(value) if attribute_name == "node.platform.arch" else value.casefold()
