"""Whatever the input: an AppSpec or a ComposeError, nothing else, and soon."""

from functools import partial, reduce
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rookery import wire
from rookery.compose import ComposeError, dump, load
from rookery.compose.keys_top import APP
from rookery.compose.schema import Command, Key, ListOf, Named, Object, Pairs, Type
from rookery.model import AppSpec
from rookery_manager.planners.validate import app_faults

WORDS = """
web db data 8080:80 1-9:1-9/udp 127.0.0.1::80 ./x:/y:ro data:/z /t:size=1m 10m 1h ${A} ${A:?no} ${B:-${C}} ${B:?no} $ $$ 0440
on-failure:3 canary blue-green 5% stop-first CMD global-job host true a=b service_healthy << compose.yml . / ~
"""
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from([*WORDS.split(), "node.labels.a == b", "\0"]),
)
LINES = """\
services:
  web:
    image: i
    image: *a
    <<: *a
    <<: [*a, *a]
x: &a {image: j}
x-y: &a [1, *a]
    ports: !reset
    ports: !override ['1:1']
  ? [a]
  : b
- a
{
}
[
'
"
---
...
%YAML 1.1
!!binary x
\t
    extends: web
    extends: {file: compose.yml, service: web}
include: [compose.yml]
include:
  - path: [compose.yml, over.yml]
    env_file: .env
&a *a
"""
ENV = {"A": "1", "API_KEY": "k"}
NAMES = st.sampled_from(["web", "db", "data", "default", "x-a", "a b"])


def described(type: Type, depth: int) -> st.SearchStrategy[object]:
    """Values that are right for a description, or wrong somewhere."""
    if depth == 0:
        return SCALARS
    inner = SCALARS
    match type:
        case Object(keys=keys):
            known = {name: described(key.type, depth - 1) for name, key in keys.items()}
            inner = st.one_of(
                st.lists(st.sampled_from(sorted(known)), max_size=6, unique=True).flatmap(
                    lambda names: st.fixed_dictionaries({name: known[name] for name in names})
                ),
                st.dictionaries(st.text(max_size=5), SCALARS, max_size=2),
            )
        case Named(value=value):
            inner = st.dictionaries(NAMES, described(value, depth - 1), max_size=3)
        case ListOf(item=item):
            inner = st.lists(described(item, depth - 1), max_size=3)
        case Pairs():
            inner = st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
        case Command():
            inner = st.lists(SCALARS, max_size=3)
    return st.one_of(inner, inner, inner, SCALARS, st.lists(SCALARS, max_size=2))


def refused_by_the_manager(app: AppSpec) -> list[str]:
    """What the loader let through and the manager would not take: an error without file and line."""
    return list(app_faults(app, others=(), stored=()))


def outcome(directory: Path, *contents: bytes) -> None:
    files = []
    for i, content in enumerate(contents):
        files.append(directory / ("compose.yml" if i == 0 else f"over{i}.yml"))
        files[-1].write_bytes(content)
    try:
        loaded = load(files, app="shop", env=ENV)
    except ComposeError as error:
        found = error.errors
    else:
        resolved = directory / "resolved.yml"
        resolved.write_text(dump(loaded.resolved))
        assert load([resolved], app="shop", env=ENV).app == loaded.app
        assert wire.from_bytes(AppSpec, wire.to_bytes(loaded.app)) == loaded.app
        assert refused_by_the_manager(loaded.app) == []
        return
    assert found
    assert all(str(finding) for finding in found)


BOUNDED = settings(
    max_examples=200, deadline=5_000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@BOUNDED
@given(document=described(APP, 7))
def test_any_document(tmp_path: Path, document: object) -> None:
    outcome(tmp_path, yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"))


@BOUNDED
@given(service=described(APP.keys["services"].type.value, 6))  # type: ignore[union-attr]
def test_any_service(tmp_path: Path, service: object) -> None:
    document = {"services": {"web": service, "db": {"image": "i"}}, "volumes": {"data": None}}
    outcome(tmp_path, yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"))


@BOUNDED
@given(documents=st.lists(described(Object(keys={"services": Key(type=APP.keys["services"].type)}), 6), min_size=2, max_size=3))
def test_any_files_over_each_other(tmp_path: Path, documents: list[object]) -> None:
    outcome(tmp_path, *(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace") for document in documents))


ROLLOUTS = st.fixed_dictionaries(
    {"strategy": st.sampled_from(["canary", "canary", "blue-green", "rolling"])},
    optional={
        "steps": st.lists(st.sampled_from([1, 5, "25%", 50, 99, 100, 101]), max_size=4) | st.just([5, 10]),
        "interval": st.sampled_from(["0s", "30s", "15000w"]),
        "min_requests": st.sampled_from([0, 50, 2**31 - 1, 2**31]),
        "sticky": st.dictionaries(st.sampled_from(["cookie", "header"]), st.sampled_from(["shop", "a b", "x" * 128, "é"])),
        "keep": st.sampled_from(["0s", "60s"]),
        "progress_deadline": st.sampled_from(["0s", "1ms", "10m"]),
        "no_room": st.sampled_from(["wait", "fall-back"]),
    },
)
WITH_ROLLOUTS = st.fixed_dictionaries(
    {"image": st.just("i"), "x-rookery": st.fixed_dictionaries({"rollout": ROLLOUTS}, optional={"http": st.just({"port": 80})})},
    optional={
        "ports": st.lists(
            st.sampled_from([80, "53/udp", {"target": 81, "mode": "host"}, {"target": 82, "published": 82, "mode": "host"}]),
            max_size=2,
            unique_by=str,
        ),
        "volumes": st.sampled_from([["data:/d"], ["data:/d:ro"], ["/d"]]),
        "deploy": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from(["replicated", "global", "replicated-job"]),
                "replicas": st.integers(0, 3),
                "update_config": st.sampled_from([{"order": "stop-first"}, {"order": "start-first"}, {"parallelism": 2}]),
            },
        ),
    },
)


@BOUNDED
@given(service=WITH_ROLLOUTS)
def test_any_rollout(tmp_path: Path, service: object) -> None:
    document = {"services": {"web": service}, "volumes": {"data": None}}
    outcome(tmp_path, yaml.safe_dump(document, allow_unicode=True).encode())


@BOUNDED
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    outcome(tmp_path, content)


@BOUNDED
@given(lines=st.lists(st.sampled_from(LINES.splitlines()), max_size=10))
def test_any_lines(tmp_path: Path, lines: list[str]) -> None:
    outcome(tmp_path, "\n".join(lines).encode())


@BOUNDED
@given(content=st.one_of(st.binary(max_size=100), st.text(alphabet="AB=' \"\\\n#${}:-?export", max_size=60).map(str.encode)))
def test_any_env_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    outcome(tmp_path, b"services: {web: {image: i, env_file: .env, label_file: .env}}")


DOCUMENTS = [yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "files").glob("*.yml"))]


def places(node: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Where each value of a document is, as the keys and indices on the way to it."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(node: object, path: tuple[object, ...], value: object) -> object:
    """The document with another value at a place."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(node, dict):
        return {name: changed(inner, rest, value) if name == key else inner for name, inner in node.items()}
    assert isinstance(node, list)
    return [changed(inner, rest, value) if i == key else inner for i, inner in enumerate(node)]


@st.composite
def nearly_right(draw: st.DrawFn) -> object:
    """A compose file as people have them, with a few values that others have there, taken from elsewhere, or made up."""
    document = draw(st.sampled_from(DOCUMENTS))
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.sampled_from(places(document)))
        usual = VALUES.get(where[-1] if where else "", [None])
        value = draw(
            st.sampled_from(usual)
            | st.sampled_from(usual)
            | SCALARS
            | st.sampled_from(places(document)).map(partial(at, document))
        )
        document = changed(document, where, value)
    return document


def at(document: object, path: tuple[object, ...]) -> object:
    return reduce(lambda node, key: node[key], path, document)  # type: ignore[index]


VALUES: dict[object, list[object]] = {}
for _document in DOCUMENTS:
    for _place in places(_document)[1:]:
        VALUES.setdefault(_place[-1], []).append(at(_document, _place))


@BOUNDED
@given(document=nearly_right())
def test_nearly_right_documents(tmp_path: Path, document: object) -> None:
    for name in ("nginx.conf", "db_password.txt"):
        (tmp_path / name).write_text(name)
    outcome(tmp_path, yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"))
