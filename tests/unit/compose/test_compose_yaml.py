"""Reading YAML: what scalars mean, anchors, duplicate keys, and input made to hurt."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rookery.compose import ComposeError, load
from rookery.compose.loader import Loaded
from rookery.compose.nodes import Kind, kind_of
from rookery.model import ServiceSpec

Load = Callable[..., Loaded]
Errors = Callable[..., list[str]]
Service = Callable[..., ServiceSpec]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Kind.NULL), ("~", Kind.NULL), ("null", Kind.NULL), ("true", Kind.BOOL), ("False", Kind.BOOL), ("yes", Kind.TEXT),
        ("no", Kind.TEXT), ("on", Kind.TEXT), ("off", Kind.TEXT), ("22:22", Kind.TEXT), ("1_000", Kind.TEXT), ("0", Kind.INT),
        ("-3", Kind.INT), ("0444", Kind.INT), ("0o444", Kind.INT), ("0x1f", Kind.INT), ("09", Kind.FLOAT), ("1.10", Kind.FLOAT),
        ("1e3", Kind.FLOAT), (".5", Kind.FLOAT), (".", Kind.TEXT), (".nan", Kind.TEXT), ("2026-01-01", Kind.TEXT),
    ],
)  # fmt: skip
def test_kinds_of_plain_scalars(text: str, kind: Kind) -> None:
    assert kind_of(text) is kind


def test_values_keep_their_text(service: Service) -> None:
    spec = service("environment: {A: 0123, B: 1.10, C: yes, D: true, E: '', F: 1e3, G: 22:22, H: ~}\nrestart: no\nports: [22:22]")
    assert spec.container.environment == {"A": "0123", "B": "1.10", "C": "yes", "D": "true", "E": "", "F": "1e3", "G": "22:22"}
    assert spec.ports[0].published == 22


def test_anchors_and_merge_keys(loaded: Load) -> None:
    """What is written goes before what is merged, and the first merged before the second."""
    text = """
x-one: &one {user: first}
x-two: &two {user: second, hostname: h}
x-env: &env {A: "1", B: theirs}
services:
  web:
    <<: [*one, *two]
    image: i
    environment: {<<: *env, B: mine}
"""
    container = loaded(text).app.services[0].container
    assert (container.user, container.hostname) == ("first", "h")
    assert container.environment == {"A": "1", "B": "mine"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("services:\n  a: {image: i}\n  a: {image: j}\n", "compose.yml:3: services.a: key 'a' is given twice (first on line 2)"),
        ("services:\n  a: {image: *x}\n", "compose.yml:2: services.a.image: alias '*x' has no anchor '&x' before it"),
        ("x: &a [*a]\n", "compose.yml:1: x[0]: alias '*a' is inside the value that its anchor names"),
        (
            "services: [\n",
            "compose.yml:2: not valid YAML: did not find expected node content while parsing a flow node",
        ),
        ("services:\n  a: !new {image: i}\n", "compose.yml:2: services.a: unknown tag '!new' (known are !reset and !override)"),
        ("services:\n  ? [a]\n  : b\n", "compose.yml:2: services: a key must be text, not a list or a mapping"),
        ("services:\n  a: {<<: 3, image: i}\n", "compose.yml:2: services.a.<<: '<<' takes a mapping or a list of mappings"),
        ("- a\n", "compose.yml:1: expected a mapping with `services:`"),
        ("", "compose.yml: is empty (add a service under `services:`)"),
        ("# nothing\n---\n", "compose.yml: is empty (add a service under `services:`)"),
        ("services:\n", "compose.yml:1: services: there are no services (add one under `services:`)"),
        ("services: {}\n", "compose.yml:1: services: there are no services (add one under `services:`)"),
        ("a: \x07\n", "compose.yml:1: not valid YAML: character U+0007 is not allowed"),
    ],
)
def test_what_is_no_compose_file(errors: Errors, text: str, expected: str) -> None:
    assert expected in errors(text)


def test_bytes_that_are_no_text(directory: Path) -> None:
    (directory / "compose.yml").write_bytes(b"services:\n  a: \xff\n")
    with pytest.raises(ComposeError, match=r"^compose\.yml:2: not UTF-8 text"):
        load([Path("compose.yml")], env={})


def test_documents_of_one_file_are_merged(loaded: Load) -> None:
    spec = loaded("services: {a: {image: i}}\n---\nservices: {a: {image: j, user: u}}\n").app.services[0]
    assert (spec.container.image, spec.container.user) == ("j", "u")


def test_a_billion_laughs(errors: Errors) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    assert errors("\n".join(lines))[0].endswith("more than 200000 values once aliases are expanded")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting(errors: Errors, opening: str) -> None:
    text = "services:\n  " + opening * 50_000
    assert errors(text) == [errors(text)[0]]


def test_a_file_too_large(errors: Errors) -> None:
    assert errors("#" * (8 * 1024 * 1024 + 1)) == ["compose.yml: larger than 8 MiB"]


def test_a_missing_file(directory: Path) -> None:
    with pytest.raises(ComposeError) as raised:
        load([Path("no.yml"), directory], env={})
    assert [str(error) for error in raised.value.errors] == [
        "no.yml: compose file 'no.yml' does not exist",
        f"{'.'}: compose file '.' is not a file",
    ]


def test_no_file_at_all(directory: Path) -> None:
    with pytest.raises(ComposeError, match="there is no compose file"):
        load([], env={}, project_dir=directory)
