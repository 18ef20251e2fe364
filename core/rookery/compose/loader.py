"""The way from compose files to an AppSpec: one tree, checked, then resolved.

Invariant: returns what was asked for or raises a ComposeError with everything that is wrong; nothing is half done.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rookery.compose.absolute import absolute
from rookery.compose.check import check
from rookery.compose.diagnostics import ComposeError, Diagnostic, Mark, Problems, Source
from rookery.compose.files import exists, is_stream, source_of
from rookery.compose.interpolate import interpolate_tree
from rookery.compose.judges import APP_NAME, app_name
from rookery.compose.keys_top import APP
from rookery.compose.nodes import Map, Node, Scalar, drop, plain, put, text
from rookery.compose.project import Loading, Unread, combine, parse_file, read_variables
from rookery.compose.resolve.app import app_spec
from rookery.compose.view import View
from rookery.model import AppSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`resolved` is the merged document with its variables put in; it describes the same app wherever it is read."""

    app: AppSpec
    warnings: tuple[Diagnostic, ...]
    resolved: Mapping[str, object]


def load(
    files: Sequence[Path],
    *,
    app: str | None,
    env: Mapping[str, str],
    env_files: Sequence[Path],
    profiles: Sequence[str],
    project_dir: Path | None,
) -> Loaded:
    problems = Problems()
    loading = Loading(problems=problems)
    try:
        base = _base(files, project_dir)
    except FileNotFoundError as error:
        raise ComposeError((Diagnostic(file=".", line=0, path="", message="the current directory is gone"),)) from error
    whole = Mark(source=source_of(files[0], base) if files else Source(name=str(base), base=base), line=0)
    if not files:
        problems.error(whole, "", "there is no compose file", "name one with -f")
    problems.stop_if_any()
    variables = list(env_files) or ([base / ".env"] if exists(base / ".env") else [])
    known = read_variables(variables, whole, "", env, loading)
    unread = [parse_file(path, base, Mark(source=source_of(path, base), line=0), "", loading) for path in files]
    found = [file for file in unread if file is not None]
    name = _name(app, found, known, base, whole, loading)
    known = {**known, "COMPOSE_PROJECT_NAME": name}
    tree = combine(found, known, loading)
    if tree is None:
        if not problems.errors:
            problems.error(whole, "", "is empty", "add a service under `services:`")
        raise ComposeError(problems.errors, problems.warnings)
    check(tree, APP, "", problems)
    active = frozenset(profiles) or frozenset(filter(None, re.split(r"[,\s]+", known.get("COMPOSE_PROFILES", ""))))
    document = View(node=tree, path="", problems=problems)
    spec = app_spec(name, document, known, active)
    problems.stop_if_any()
    return Loaded(app=spec, warnings=problems.warnings, resolved=_resolved(tree, spec))


def _base(files: Sequence[Path], project_dir: Path | None) -> Path:
    """The directory that relative paths of all files given start from: that of the first one, unless told otherwise."""
    if project_dir is not None:
        return project_dir.absolute()
    if files and not is_stream(files[0]):
        return files[0].absolute().parent
    return Path.cwd()


def _name(app: str | None, files: Sequence[Unread], env: Mapping[str, str], base: Path, whole: Mark, loading: Loading) -> str:
    """The app's name: as asked for, else COMPOSE_PROJECT_NAME, else the last `name:`, else the directory's made valid."""
    given = app or env.get("COMPOSE_PROJECT_NAME")
    if given:
        fault = app_name(given)
        if fault is not None:
            loading.problems.error(whole, "", fault.message + ("" if app else " (from COMPOSE_PROJECT_NAME)"), fault.hint)
        return given
    written: Node | None = None
    for file in files:
        for document in file.documents:
            written = document.get("name") or written
    if isinstance(written, Scalar):
        filled = interpolate_tree(written, env, Problems(), set())
        if isinstance(filled, Scalar) and filled.text:
            return filled.text  # judged with the rest of the tree
    made = re.sub(r"[^a-z0-9_-]", "", base.name.lower()).lstrip("_-")[:63]
    return made if APP_NAME.match(made) else "app"


def _resolved(tree: Map, app: AppSpec) -> Mapping[str, object]:
    """The document with absolute paths, the app's services only, and all their variables and labels in place."""
    done = absolute(tree)
    services = done.entries["services"]
    assert isinstance(services, Map)
    kept: dict[str, Node] = {}
    for spec in app.services:
        node = services.entries[spec.name]
        assert isinstance(node, Map)
        mark = node.mark
        for key, values in (("environment", spec.container.environment), ("labels", spec.container.labels)):
            if values:
                entries: dict[str, Node] = {name: text(value, mark) for name, value in values.items()}
                node = put(node, key, Map(entries=entries, mark=mark))
        kept[spec.name] = drop(node, "env_file", "label_file")
    done = put(done, "services", Map(entries=kept, mark=services.mark))
    value = plain(put(drop(done, "name", "version"), "name", text(app.name, tree.mark)))
    assert isinstance(value, dict)
    return {"name": value.pop("name"), **value}
