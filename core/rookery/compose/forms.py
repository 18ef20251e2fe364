"""The short forms of Compose: what `8080:80/tcp`, `data:/var/lib/db:ro` and their like stand for in long form.

Invariant: pure; a long form carries the mark of the short one.
"""

import re
from collections.abc import Hashable

from rookery.compose.diagnostics import Problems
from rookery.compose.nodes import Map, Node, Scalar, Seq, mapping, text

MAX_RANGE = 1000

_PORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.%]+\]|[0-9]+(?:\.[0-9]+){3}):)?(?:(?P<published>[0-9]*(?:-[0-9]+)?):)?(?P<target>[0-9]+(?:-[0-9]+)?)(?:/(?P<protocol>[a-z]+))?\Z"
)
_PROPAGATION = ("shared", "slave", "private", "rshared", "rslave", "rprivate")


def port(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """`[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`, each a port or a range."""
    if not isinstance(node, Scalar):
        problems.error(node.mark, path, "expected a port such as 8080:80 or a mapping")
        return ()
    found = _PORT.match(node.text.strip())
    if found is None:
        hint = "write PUBLISHED:TARGET, ADDRESS:PUBLISHED:TARGET, or either with /udp at its end"
        problems.error(node.mark, path, f"'{node.text}' is no port", hint)
        return ()
    targets = _range(found["target"])
    published = _range(found["published"]) if found["published"] else None
    if targets is None or (found["published"] and published is None):
        problems.error(node.mark, path, f"'{node.text}': a range goes up, and spans at most {MAX_RANGE} ports")
        return ()
    if published is not None and len(published) != len(targets):
        if len(targets) == 1:
            problems.error(
                node.mark,
                path,
                f"'{node.text}' leaves open which port is published",
                "name one published port, or none for any free one",
            )
        else:
            problems.error(node.mark, path, f"'{node.text}': {len(published)} published ports for {len(targets)} targets")
        return ()
    ip = (found["ip"] or "").strip("[]") or None
    protocol = found["protocol"] or None
    outside: list[int | None] = [*published] if published is not None else [None] * len(targets)
    return tuple(
        mapping(
            {
                "host_ip": ip,
                "target": str(target),
                "published": None if outer is None else str(outer),
                "protocol": protocol,
            },
            node.mark,
        )
        for target, outer in zip(targets, outside, strict=True)
    )


def _range(written: str) -> list[int] | None:
    low, _, high = written.partition("-")
    if len(low) > 6 or len(high) > 6 or not low:
        return None
    first, last = int(low), int(high or low)
    return list(range(first, last + 1)) if first <= last < first + MAX_RANGE else None


def port_key(port: Map) -> Hashable:
    """Two ports with the same key are one: the later one counts."""
    value = {key: node.text for key, node in port.entries.items() if isinstance(node, Scalar)}
    return (value.get("host_ip", ""), value.get("target"), value.get("published", ""), value.get("protocol", "tcp"))


def is_path(source: str) -> bool:
    """True for the source of a bind mount, false for the name of a volume."""
    return source.startswith(("/", ".", "~")) or re.match(r"[A-Za-z]:[\\/]", source) is not None


def volume(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """`[SOURCE:]TARGET[:OPTION,…]`; a source that begins with `.`, `/` or `~` is a path."""
    if not isinstance(node, Scalar):
        problems.error(node.mark, path, "expected a volume such as data:/var/lib/data or a mapping")
        return ()
    mark = node.mark
    parts = node.text.split(":")
    if len(parts) > 3 or not all(parts):
        problems.error(mark, path, f"'{node.text}' is no volume", "write SOURCE:TARGET or SOURCE:TARGET:ro")
        return ()
    if len(parts) == 1:
        return (mapping({"type": "volume", "target": parts[0]}, mark),)
    source, target = parts[0], parts[1]
    options = parts[2].split(",") if len(parts) == 3 else []
    bind = is_path(source)
    inner: dict[str, Node | str | None] = {"create_host_path": "true"} if bind else {}
    read_only = None
    for option in options:
        if option in ("ro", "rw"):
            read_only = "true" if option == "ro" else None
        elif option in _PROPAGATION and bind:
            inner["propagation"] = option
        elif option in ("z", "Z") and bind:
            inner["selinux"] = option
        elif option == "nocopy" and not bind:
            inner["nocopy"] = "true"
        elif option in ("cached", "delegated", "consistent"):
            problems.warn(mark, path, f"'{option}' has no effect: it is for desktop machines")
        else:
            problems.error(
                mark, path, f"unknown option '{option}' in '{node.text}'", "known are ro, rw, z, Z, nocopy and the propagations"
            )
    details = mapping(inner, mark) if inner else None
    kind = "bind" if bind else "volume"
    return (mapping({"type": kind, "source": source, "target": target, "read_only": read_only, kind: details}, mark),)


def target_key(mount: Map) -> Hashable:
    """Two things at one place in the container are one: the later one counts. Without a target the place is the source's name."""
    for key in ("target", "source"):
        value = mount.get(key)
        if isinstance(value, Scalar):
            return value.text.rstrip("/")
    return None


def source(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """The name of a secret or config."""
    return _one_text(node, path, problems, "source", "a name or a mapping")


def device(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """`SOURCE[:TARGET[:PERMISSIONS]]`."""
    if not isinstance(node, Scalar):
        problems.error(node.mark, path, "expected a device such as /dev/ttyUSB0:/dev/ttyUSB0 or a mapping")
        return ()
    parts = node.text.split(":")
    if len(parts) > 3 or not all(parts):
        problems.error(node.mark, path, f"'{node.text}' is no device", "write SOURCE:TARGET or SOURCE:TARGET:rwm")
        return ()
    if len(parts) == 2 and not parts[1].startswith("/"):
        parts = [parts[0], parts[0], parts[1]]
    values = dict(zip(("source", "target", "permissions"), parts, strict=False))
    return (mapping(dict(values), node.mark),)


def ulimit(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """One number for both bounds."""
    if not isinstance(node, Scalar):
        problems.error(node.mark, path, "expected a whole number, or a mapping with soft and hard")
        return ()
    return (mapping({"soft": node, "hard": node}, node.mark),)


def build(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    return _one_text(node, path, problems, "context", "a path or a mapping")


def extends(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    return _one_text(node, path, problems, "service", "the name of a service or a mapping")


def path_of(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """A file by its path alone."""
    return _one_text(node, path, problems, "path", "a path or a mapping")


def external(resource: Map) -> Map:
    """The older `external: {name: NAME}` as `external: true` and `name: NAME`."""
    value = resource.get("external")
    if not isinstance(value, Map):
        return resource
    entries = {**resource.entries, "external": Scalar(text="true", mark=value.mark, plain=True)}
    if (name := value.get("name")) is not None:
        entries.setdefault("name", name)
    return Map(entries=entries, mark=resource.mark, tag=resource.tag)


def disconnect(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """`keep` or `stop` for `{action: …}`."""
    return _one_text(node, path, problems, "action", "keep, stop or a mapping")


def balance(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """The name of a method for `{method: …}`."""
    return _one_text(node, path, problems, "method", "the name of a method or a mapping")


def redirect(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """`https` for `{scheme: https}`."""
    return _one_text(node, path, problems, "scheme", "http, https or a mapping")


def rollout(node: Node, path: str, problems: Problems) -> tuple[Node, ...]:
    """The name of a strategy for `{strategy: …}`."""
    return _one_text(node, path, problems, "strategy", "rolling, blue-green, canary or a mapping")


def _one_text(node: Node, path: str, problems: Problems, key: str, expected: str) -> tuple[Node, ...]:
    if isinstance(node, Scalar):
        return (mapping({key: node}, node.mark),)
    problems.error(node.mark, path, f"expected {expected}, got a list")
    return ()


def hosts(node: Node) -> Node:
    """`{NAME: ADDRESS}` or `{NAME: [ADDRESS, …]}` as a list of `NAME=ADDRESS`."""
    if not isinstance(node, Map):
        return node
    items: list[Node] = []
    for name, value in node.entries.items():
        items += [
            text(f"{name}={address.text}", address.mark) if isinstance(address, Scalar) else address
            for address in (value.items if isinstance(value, Seq) else (value,))
        ]
    return Seq(items=tuple(items), mark=node.mark)


def health_test(node: Node) -> Node:
    """One text is a command for the shell."""
    if isinstance(node, Scalar):
        return Seq(items=(text("CMD-SHELL", node.mark), text(node.text, node.mark)), mark=node.mark)
    return node
