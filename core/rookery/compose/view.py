"""A mapping of the checked tree, asked for values by key.

Invariant: never raises for a malformed value: it was reported by the check, and here it is as if left out.
"""

from dataclasses import dataclass, field

from rookery.compose import units
from rookery.compose.diagnostics import Mark, Problems
from rookery.compose.nodes import Map, Node, Scalar, Seq, is_null


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    node: Map
    path: str
    problems: Problems = field(repr=False)

    def get(self, key: str) -> Node | None:
        """The value; null is the same as the key left out."""
        found = self.node.entries.get(key)
        return None if found is None or is_null(found) else found

    def has(self, key: str) -> bool:
        return self.get(key) is not None

    def mark(self, key: str = "") -> Mark:
        found = self.node.entries.get(key)
        return self.node.mark if found is None else found.mark

    def where(self, key: str) -> str:
        if not key:
            return self.path
        return f"{self.path}.{key}" if self.path else key

    def error(self, key: str, message: str, hint: str = "") -> None:
        self.problems.error(self.mark(key), self.where(key), message, hint)

    def warn(self, key: str, message: str, hint: str = "") -> None:
        self.problems.warn(self.mark(key), self.where(key), message, hint)

    def text(self, key: str, default: str = "") -> str:
        found = self.get(key)
        return found.text if isinstance(found, Scalar) else default

    def whole(self, key: str) -> int | None:
        return units.whole(self.text(key))

    def number(self, key: str) -> float | None:
        return units.number(self.text(key))

    def flag(self, key: str, default: bool = False) -> bool:
        value = units.flag(self.text(key))
        return default if value is None else value

    def seconds(self, key: str) -> float | None:
        return units.duration_s(self.text(key))

    def bytes(self, key: str) -> int | None:
        return units.size_bytes(self.text(key))

    def mode(self, key: str) -> int | None:
        return units.file_mode(self.text(key))

    def scalars(self, key: str) -> tuple[Scalar, ...]:
        found = self.get(key)
        return tuple(item for item in found.items if isinstance(item, Scalar)) if isinstance(found, Seq) else ()

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(item.text for item in self.scalars(key))

    def pairs(self, key: str) -> dict[str, str | None]:
        found = self.get(key)
        if not isinstance(found, Map):
            return {}
        return {
            name: None if is_null(value) else value.text for name, value in found.entries.items() if isinstance(value, Scalar)
        }

    def labels(self, key: str) -> dict[str, str]:
        """Pairs where a name alone stands for an empty text."""
        return {name: value or "" for name, value in self.pairs(key).items()}

    def child(self, key: str) -> "View":
        found = self.get(key)
        node = found if isinstance(found, Map) else Map(entries={}, mark=self.mark(key))
        return View(node=node, path=self.where(key), problems=self.problems)

    def items(self, key: str) -> tuple["View", ...]:
        """The mappings of a list."""
        found = self.get(key)
        if not isinstance(found, Seq):
            return ()
        return tuple(
            View(node=item, path=f"{self.where(key)}[{i}]", problems=self.problems)
            for i, item in enumerate(found.items)
            if isinstance(item, Map)
        )

    def children(self, key: str) -> dict[str, "View"]:
        """The entries of a mapping by name; one with nothing in it is an empty mapping."""
        found = self.get(key)
        if not isinstance(found, Map):
            return {}
        here = View(node=found, path=self.where(key), problems=self.problems)
        return {name: here.child(name) for name, value in found.entries.items() if isinstance(value, Map) or is_null(value)}
