"""The policy file: read, judged with places, and read anew when it changes.

Invariant: a file that can't be used changes nothing: what held before goes on to hold, and it is said why.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml
from rookery.model import PERMISSIONS, Grant, Policy, PolicyRule, Role
from rookery.model.policy import BIND_MOUNTS, CAPABILITIES, DEFAULT_RULES, DEVICES, HOST_NAMESPACES
from rookery.process import Stop
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

log = logging.getLogger("rookery.manager")

NAME = "policy.yml"
MAX_BYTES = 1_000_000
_NAMESPACES = ("network", "pid", "ipc", "userns", "cgroup")
_ABSOLUTE = re.compile(r"/[^\x00-\x1f]*")


class Faulty(ValueError):
    """No policy; the message says where and why."""


class PolicyFile:
    """What holds now. Without a file the built-in rules do: operators and admins may all, others nothing."""

    def __init__(self, path: Path | None = None, *, must_exist: bool = False) -> None:
        """Raises Stop for a file that can't be used: a manager does not start with other rules than were written down."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._policy = Policy(rules=DEFAULT_RULES, path=str(path or ""), is_default=True)
        if path is None:
            return
        try:
            self._seen = _mark(path)
            if self._seen is not None:
                self._policy = Policy(rules=_read(path), path=str(path))
            elif must_exist:
                raise Faulty(f"{path}: no such file")
        except Faulty as error:
            raise Stop(f"{error}; mend the policy file, or name another one with --policy") from error

    def current(self) -> Policy:
        """The policy as the file says it now, or said it when it was last in order."""
        if self._path is None:
            return self._policy
        try:
            mark = _mark(self._path)
            if mark == self._seen:
                return self._policy
            self._seen = mark
            if mark is None:
                raise Faulty(f"{self._path}: is gone; what it said holds until the manager is started anew")
            self._policy = Policy(rules=_read(self._path), path=str(self._path))
            log.info("the policy in %s is in force: %d rules", self._path, len(self._policy.rules))
        except Faulty as error:
            self._policy = replace(self._policy, trouble=str(error))
            log.error("%s; the policy from before goes on to hold", error)
        return self._policy


def parse(text: str, name: str) -> tuple[PolicyRule, ...]:
    """The rules. Raises Faulty with the line."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise Faulty(f"{where}: {getattr(error, 'problem', None) or 'no YAML'}") from error
    reader = _Reader(name)
    if root is None:
        raise Faulty(f"{name}: is empty; to allow nobody anything, write `rules: []`")
    keys = reader.mapping(root, "", {"rules"})
    if "rules" not in keys:
        raise reader.fault(root, "", "'rules' is missing")
    rules = keys["rules"]
    return tuple(reader.rule(node, f"rules[{i}]") for i, node in enumerate(reader.items(rules, "rules")))


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name

    def fault(self, node: Node, path: str, why: str) -> Faulty:
        where = f"{path}: " if path else ""
        return Faulty(f"{self._name}:{node.start_mark.line + 1}: {where}{why}")

    def rule(self, node: Node, path: str) -> PolicyRule:
        keys = self.mapping(node, path, {"role", "people", "apps", "may"})
        role = None
        if "role" in keys:
            text = self.text(keys["role"], f"{path}.role")
            if text not in set(Role):
                raise self.fault(keys["role"], f"{path}.role", f"expected viewer, deployer, operator or admin, got '{text[:80]}'")
            role = Role(text)
        if "may" not in keys:
            raise self.fault(node, path, "'may' is missing")
        may = tuple(self.grants(keys["may"], f"{path}.may"))
        people, apps = (self.texts(keys[key], f"{path}.{key}") if key in keys else () for key in ("people", "apps"))
        return PolicyRule(role=role, people=people, apps=apps, may=may)

    def grants(self, node: Node, path: str) -> Iterator[Grant]:
        if isinstance(node, ScalarNode) and node.value == "all":
            yield from (Grant(permission=name) for name in PERMISSIONS)
            return
        for i, item in enumerate(self.items(node, path)):
            here = f"{path}[{i}]"
            if isinstance(item, ScalarNode):
                yield Grant(permission=self.permission(item, here))
                continue
            if not isinstance(item, MappingNode) or len(item.value) != 1:
                raise self.fault(item, here, "expected a permission, or one with a list of what it is for")
            key, values = item.value[0]
            name = self.permission(key, here)
            if not PERMISSIONS[name]:
                raise self.fault(key, here, f"{name} takes no list; write it alone")
            given = self.texts(values, f"{here}.{name}")
            if not given:
                raise self.fault(values, f"{here}.{name}", "the list is empty; leave the permission out to give none")
            for text in given:
                why = _value_fault(name, text)
                if why:
                    raise self.fault(values, f"{here}.{name}", why)
            yield Grant(permission=name, values=tuple(_tidy(name, text) for text in given))

    def permission(self, node: Node, path: str) -> str:
        text = self.text(node, path)
        if text not in PERMISSIONS:
            raise self.fault(node, path, f"'{text[:80]}' is no permission; there are {', '.join(PERMISSIONS)}")
        return text

    def mapping(self, node: Node, path: str, known: set[str]) -> dict[str, Node]:
        if not isinstance(node, MappingNode):
            raise self.fault(node, path, "expected a mapping")
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = self.text(key, path)
            if name not in known:
                raise self.fault(key, path, f"unknown key '{name[:80]}'; known are {', '.join(sorted(known))}")
            if name in found:
                raise self.fault(key, path, f"'{name}' is given twice")
            found[name] = value
        return found

    def items(self, node: Node, path: str) -> list[Node]:
        if not isinstance(node, SequenceNode):
            raise self.fault(node, path, "expected a list")
        return list(node.value)

    def texts(self, node: Node, path: str) -> tuple[str, ...]:
        return tuple(self.text(item, f"{path}[{i}]") for i, item in enumerate(self.items(node, path)))

    def text(self, node: Node, path: str) -> str:
        if not isinstance(node, ScalarNode) or not node.value:
            raise self.fault(node, path, "expected a text")
        return str(node.value)


def _value_fault(permission: str, text: str) -> str:
    match permission:
        case _ if permission in (BIND_MOUNTS, DEVICES):
            bare = text.removesuffix(":ro") if permission == BIND_MOUNTS else text
            if not _ABSOLUTE.fullmatch(bare) or "/../" in f"{bare}/":
                return f"expected an absolute path without '..', got '{text[:80]}'"
        case _ if permission == HOST_NAMESPACES and text not in _NAMESPACES:
            return f"expected {', '.join(_NAMESPACES)}, got '{text[:80]}'"
    return ""


def _tidy(permission: str, text: str) -> str:
    return text.upper().removeprefix("CAP_") if permission == CAPABILITIES else text


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What tells one content of the file from another; None where there is none. Raises Faulty."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Faulty(f"{path}: can't be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[PolicyRule, ...]:
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise Faulty(f"{path}: is larger than {MAX_BYTES // 1000} kB")
        return parse(data.decode(), str(path))
    except OSError as error:
        raise Faulty(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Faulty(f"{path}: is no text in UTF-8") from error
