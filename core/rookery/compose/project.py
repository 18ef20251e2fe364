"""From files to one tree: read, put variables in, long forms, extends, merge, include.

Invariant: nothing here knows what a key does; the description does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rookery.compose import dotenv
from rookery.compose.canonical import canonical
from rookery.compose.diagnostics import Mark, Problems, Source
from rookery.compose.extends import extend_all
from rookery.compose.files import exists, located, read_bytes, read_text, shown, source_of
from rookery.compose.interpolate import interpolate_tree
from rookery.compose.keys_top import APP
from rookery.compose.merge import merge
from rookery.compose.nodes import Map, Node, Scalar, Seq, drop, empty, put
from rookery.compose.reader import read

SECTIONS = ("services", "networks", "volumes", "secrets", "configs")
MAX_FILES = 500
MAX_DEPTH = 50


@dataclass(slots=True)
class Loading:
    """What all files of one load share."""

    problems: Problems
    warned: set[str] = field(default_factory=set)  # unset variables already told of
    files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A file that was parsed, but whose variables are not put in yet."""

    source: Source
    documents: tuple[Map, ...]


def read_variables(paths: Sequence[Path], mark: Mark, where: str, env: Mapping[str, str], loading: Loading) -> dict[str, str]:
    """The variables of several files, later ones over earlier ones, and `env` over all."""
    found: dict[str, str] = {}
    for path in paths:
        content = read_text(path, mark, where, loading.problems, "env file")
        if content is not None:
            found.update(dotenv.parse(content, source_of(path), {**found, **env}, loading.problems))
    return {**found, **env}


def parse_file(path: Path, base: Path, mark: Mark, where: str, loading: Loading, what: str = "compose file") -> Unread | None:
    """The documents of one file whose relative paths start at `base`."""
    loading.files += 1
    if loading.files > MAX_FILES:
        loading.problems.error(mark, where, f"more than {MAX_FILES} files")
        return None
    content = read_bytes(path, mark, where, loading.problems, what)
    if content is None:
        return None
    source = source_of(path, base)
    return Unread(source=source, documents=read(content, source, loading.problems))


def fill(unread: Unread, env: Mapping[str, str], loading: Loading) -> tuple[Map, ...]:
    """The documents with variables put in, in long form."""
    done: list[Map] = []
    for document in unread.documents:
        filled = interpolate_tree(document, env, loading.problems, loading.warned)
        long = canonical(filled, APP, "", loading.problems)
        assert isinstance(long, Map)
        done.append(long)
    return tuple(done)


def combine(files: Sequence[Unread], env: Mapping[str, str], loading: Loading, inside: tuple[Path, ...] = ()) -> Map | None:
    """One tree of several files, with what they extend and include; None if there is nothing at all."""

    def read_other(path: Path, node: Node, where: str) -> Map | None:
        unread = parse_file(path, path.parent, node.mark, where, loading)
        if unread is None:
            return None
        whole: Map | None = None
        for document in fill(unread, env, loading):
            whole = _merged(whole, document)
        return whole if whole is not None else empty(node.mark)

    tree: Map | None = None
    for file in files:
        for document in fill(file, env, loading):
            tree = _merged(tree, extend_all(document, tree, file.source.name, read_other, loading.problems))
    return _with_included(tree, env, loading, inside) if tree is not None else None


def _merged(base: Map | None, over: Map) -> Map:
    merged = merge(base, over, APP)
    assert isinstance(merged, Map)
    return merged


def _with_included(tree: Map, env: Mapping[str, str], loading: Loading, inside: tuple[Path, ...]) -> Map:
    include = tree.get("include")
    tree = drop(tree, "include")
    if not isinstance(include, Seq):
        if include is not None and not (isinstance(include, Scalar) and not include.text):
            loading.problems.error(include.mark, "include", "expected a list of files")
        return tree
    for i, item in enumerate(include.items):
        if isinstance(item, Map):
            included = _included(item, f"include[{i}]", env, loading, inside)
            if included is not None:
                tree = _joined(tree, included, loading.problems)
    return tree


def _included(item: Map, where: str, env: Mapping[str, str], loading: Loading, inside: tuple[Path, ...]) -> Map | None:
    problems = loading.problems
    written = _paths(item.get("path"))
    for key in item.entries:
        if key not in ("path", "project_directory", "env_file"):
            problems.error(
                item.entries[key].mark, f"{where}.{key}", "unknown key", "known are path, project_directory and env_file"
            )
    if not written:
        problems.error(item.mark, where, "'path' is missing")
        return None
    if any("://" in text.text or text.text.startswith("git@") for text in written):
        problems.error(item.mark, where, "only local files can be included", "fetch it first, and include the copy")
        return None
    paths = [located(text.text, text.mark) for text in written]
    again = next((path for path in paths if path in inside), None)
    if again is not None:
        steps = (*inside[inside.index(again) :], again)
        problems.error(item.mark, where, f"files include each other: {' -> '.join(shown(path) for path in steps)}")
        return None
    if len(inside) > MAX_DEPTH:
        problems.error(item.mark, where, f"files include each other deeper than {MAX_DEPTH} levels")
        return None
    directory = item.get("project_directory")
    base = located(directory.text, directory.mark) if isinstance(directory, Scalar) and directory.text else paths[0].parent
    variables = [located(text.text, text.mark) for text in _paths(item.get("env_file"))]
    if not variables and exists(base / ".env"):
        variables = [base / ".env"]
    inner_env = read_variables(variables, item.mark, f"{where}.env_file", env, loading)
    files = [parse_file(path, base, item.mark, where, loading, "included file") for path in paths]
    return combine([file for file in files if file is not None], inner_env, loading, (*inside, *paths))


def _paths(node: Node | None) -> tuple[Scalar, ...]:
    items = node.items if isinstance(node, Seq) else (node,) if node is not None else ()
    return tuple(item for item in items if isinstance(item, Scalar) and item.text)


def _joined(tree: Map, included: Map, problems: Problems) -> Map:
    """The tree with the resources of an included one beside its own; the same name for different things is an error."""
    for section in SECTIONS:
        new = included.get(section)
        if not isinstance(new, Map):
            continue
        own = tree.get(section)
        if not isinstance(own, Map):
            tree = put(tree, section, new)
            continue
        for name, node in new.entries.items():
            mine = own.entries.get(name)
            if mine is None:
                own = put(own, name, node)
            elif mine != node:
                place = f"{mine.mark.source.name}:{mine.mark.line}"
                problems.error(
                    node.mark, f"{section}.{name}", f"'{name}' is defined in {place} too, and differently", "rename one of them"
                )
        tree = put(tree, section, own)
    return tree
