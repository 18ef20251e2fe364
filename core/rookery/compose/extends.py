"""`extends`: a service on top of another one, of the same file or of another.

Invariant: ends for every input: a cycle is an error, and each service of each file is worked out once.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from rookery.compose.check import check, did_you_mean
from rookery.compose.diagnostics import Problems
from rookery.compose.files import located, shown
from rookery.compose.keys_service import SERVICE
from rookery.compose.merge import merge
from rookery.compose.nodes import Map, Node, Scalar, drop, put

MAX_CHAIN = 50

ReadFile = Callable[[Path, Node, str], Map | None]
"""The document of a file that a node at a path of keys names, or None and a finding."""


class Extender:
    """Works out the services of one document; `before` are the services of the files merged so far."""

    def __init__(self, document: Map, before: Map | None, file: str, read: ReadFile, problems: Problems) -> None:
        self._services = _services(document)
        self._before = _services(before) if before is not None else {}
        self._file = file
        self._read = read
        self._problems = problems
        self._done: dict[str, Node] = {}
        self._others: dict[Path, Extender | None] = {}

    def service(self, name: str, chain: tuple[str, ...] = ()) -> Node | None:
        """The service with what it extends below it; None if there is none of the name."""
        if name in self._done:
            return self._done[name]
        node = self._services.get(name)
        if node is None:
            return self._before.get(name)
        done = self._extended(name, node, (*chain, f"{self._file}:{name}")) if isinstance(node, Map) else node
        self._done[name] = done
        return done

    def _extended(self, name: str, node: Map, chain: tuple[str, ...]) -> Node:
        extends = node.get("extends")
        own = drop(node, "extends")
        where = f"services.{name}.extends"
        if extends is not None:
            check(extends, SERVICE.keys["extends"].type, where, self._problems)
        if not isinstance(extends, Map):
            return own
        target, file = extends.get("service"), extends.get("file")
        if not isinstance(target, Scalar) or not target.text:
            return own
        other: Extender | None = self
        if file is not None:
            if not isinstance(file, Scalar) or not file.text:
                return own
            other = self._other(located(file.text, file.mark), file, f"{where}.file")
        if other is None:
            return own
        if len(chain) > MAX_CHAIN:
            self._problems.error(extends.mark, where, f"a chain of more than {MAX_CHAIN} services")
            return own
        step = f"{other._file}:{target.text}"
        if step in chain[:-1]:
            names = [link.rpartition(":")[2] for link in (*chain[chain.index(step) :], step)]
            self._problems.error(extends.mark, where, f"services extend each other: {' -> '.join(names)}")
            return own
        is_own = other is self and target.text == name
        base = self._before.get(name) if is_own else other.service(target.text, chain)
        if base is None and is_own:
            self._problems.error(extends.mark, where, f"'{name}' extends itself")
            return own
        if base is None:
            known = (*other._services, *other._before)
            place = f"in {other._file}" if other is not self else "in this file"
            self._problems.error(
                extends.mark, where, f"there is no service '{target.text}' {place}", did_you_mean(target.text, known)
            )
            return own
        return merge(base, own, SERVICE)

    def _other(self, path: Path, node: Node, where: str) -> "Extender | None":
        if path not in self._others:
            document = self._read(path, node, where)
            if document is None:
                self._others[path] = None
            else:
                made = Extender(document, None, shown(path), self._read, self._problems)
                made._others = self._others  # shared, so that files are read once however they name each other
                self._others[path] = made
        return self._others[path]


def extend_all(document: Map, before: Map | None, file: str, read: ReadFile, problems: Problems) -> Map:
    """The document with every `extends` worked out."""
    services = document.get("services")
    if not isinstance(services, Map):
        return document
    extender = Extender(document, before, file, read, problems)
    done: dict[str, Node] = {name: extender.service(name) or node for name, node in services.entries.items()}
    return put(document, "services", Map(entries=done, mark=services.mark, tag=services.tag))


def _services(document: Map) -> Mapping[str, Node]:
    services = document.get("services")
    return services.entries if isinstance(services, Map) else {}
