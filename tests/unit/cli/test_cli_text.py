"""How values become words, tables and JSON."""

import contextlib
import json
from dataclasses import replace

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery import model
from rookery.cli.changes import change_lines
from rookery.cli.commands.inspect import outline
from rookery.cli.commands.scale import parse_wish
from rookery.cli.grid import Cell, Column, render
from rookery.cli.jsonable import jsonable, to_json
from rookery.cli.rollout_text import status_lines
from rookery.cli.targets import ReplicaTarget, ServiceTarget, match, split
from rookery.cli.text import ago, clock_time, one_line, parse_since, plural, size, span
from rookery.client import ClientError, parse_address


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (250 << 20, "250 MiB")]
)
def test_size(count: int, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0s"), (0.9, "0s"), (61, "1m 1s"), (3600, "1h"), (90061, "1d 1h"), (86405, "1d")]
)
def test_span(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_ago_and_clock_time() -> None:
    assert ago(0, 100) == "-"
    assert ago(40, 100) == "1m"
    assert ago(200, 100) == "0s"  # the manager's clock is ahead
    assert len(clock_time(1_700_000_000, 1_700_000_001)) == len("12:00:00")
    assert clock_time(1_600_000_000, 1_700_000_000).startswith("2020-09-1")


def test_plural() -> None:
    assert [plural(1, "proxy"), plural(2, "proxy"), plural(0, "node")] == ["1 proxy", "2 proxies", "0 nodes"]


@pytest.mark.parametrize(
    ("text", "at"),
    [("10m", 9400.0), ("1h30m", 4600.0), ("1.5s", 9998.5), ("1700000000", 1.7e9), ("2023-11-14T22:13:20Z", 1.7e9)],
)
def test_since(text: str, at: float) -> None:
    assert parse_since(text, 10_000.0) == at


@pytest.mark.parametrize("text", ["", "m", "10", "10x", "yesterday", "10m ago", "2023-13-01", "9" * 400, "9" * 400 + "d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a span"):
        parse_since(text, 0.0)


@given(st.text())
def test_what_others_wrote_never_steers_the_terminal(text: str) -> None:
    assert all(c.isprintable() or c == "\u00a0" for c in one_line(text))


COLUMNS = [
    Column("NAME"),
    Column("N", right=True),
    Column("X", rank=2),
    Column("Y", rank=1),
    Column("WHY", flexible=True, rank=1),
]


def test_a_table_is_aligned_and_drops_what_is_empty() -> None:
    assert render(COLUMNS, [["web", "7", "", "a", "it runs"], ["longer", "10", "-", "b", ""]]) == [
        click.style("NAME", fg="bright_black") + "     " + click.style("N", fg="bright_black") + "  "
        + click.style("Y", fg="bright_black") + "  " + click.style("WHY", fg="bright_black"),
        "web      7  a  it runs",
        "longer  10  b",
    ]  # fmt: skip


def test_a_table_shrinks_before_it_drops_columns_and_drops_by_rank() -> None:
    rows = [["web", "1", "xxxxxxxx", "yyyyyyyy", "w" * 40]]
    plain = [click.unstyle(line) for line in render(COLUMNS, rows, 60)]
    assert plain[1] == "web   1  xxxxxxxx  yyyyyyyy  " + "w" * 30 + "…"
    narrow = [click.unstyle(line) for line in render(COLUMNS, rows, 32)]
    assert narrow[0].split() == ["NAME", "N", "Y", "WHY"]
    assert click.unstyle(render(COLUMNS, rows, 5)[0]) == "NAME  N"
    assert render(COLUMNS, rows)[1].endswith("w" * 40)


@given(st.lists(st.lists(st.text(max_size=30), min_size=5, max_size=5), max_size=5), st.integers(1, 200))
def test_a_table_fits_whatever_is_in_it(rows: list[list[str]], width: int) -> None:
    lines = [click.unstyle(line) for line in render(COLUMNS, rows, width)]
    assert len(lines) == len(rows) + 1
    widest = max([len("NAME"), *(len(row[0]) for row in rows)]) + max([1, *(len(row[1]) for row in rows)]) + 2
    assert all(len(line) <= max(width, widest) for line in lines)


def test_colours_are_put_on_what_is_left_after_cutting() -> None:
    [_, line] = render([Column("A", flexible=True)], [[Cell("x" * 30, "red")]], 12)
    assert line == click.style("x" * 11 + "…", fg="red")


def test_json_says_kinds_and_words() -> None:
    spec = model.ServiceSpec(
        name="a",
        mode=model.Global(),
        probe=model.TcpProbe(port=5),
        container=model.ContainerSpec(mounts=(model.TmpfsMount(target="/t"),), environment={"A": "1"}),
    )
    made = jsonable(spec)
    assert made["mode"] == {"kind": "global"}
    assert made["probe"]["kind"] == "tcp-probe"
    assert made["container"]["mounts"][0] == {"kind": "tmpfs-mount", "target": "/t", "size_bytes": 0, "mode": 0}
    assert made["restart"]["condition"] == "any"
    assert json.loads(to_json(spec)) == made
    assert to_json(model.Score(name="a", value=float("inf")), one_line=True) == '{"name": "a", "value": null}'


def test_the_content_of_a_secret_is_in_no_json() -> None:
    secret = model.FileContent(kind=model.FileKind.SECRET, name="key", content=b"hunter2", digest="d")
    assert "hunter2" not in to_json(model.AppSpec(name="a", files=(secret,)))


def test_an_outline_leaves_out_what_is_empty() -> None:
    value = {"a": "", "b": [], "c": {"d": None}, "e": [{"f": 1.5, "g": {"h_s": 2.0}}, {"i": True}], "j_at": 0.0, "k_bytes": 1024}
    assert list(outline(value)) == ["e:", "  - f: 1.5", "    g:", "      h_s: 2 s", "  - i: yes", "k_bytes: 1.0 KiB"]


def test_an_outline_tells_sentences_apart_and_leaves_words_together() -> None:
    value = {"command": ["sleep", "9"], "unserved": ["port 80 is taken", "no certificate"]}
    assert list(outline(value)) == ["command: sleep 9", "unserved: port 80 is taken; no certificate"]


def rollout_words(state: model.RolloutState, **given: object) -> list[str]:
    rollout = model.Rollout(before=3, after=4, state=state, started_at=10.0, changed_at=17.0, why="told\x1bso", actor="ann")
    status = model.RolloutStatus(
        app="shop",
        service="web",
        rollout=replace(rollout, **given),
        strategy="canary",
        steps=(5, 100),
        wanted=2,  # type: ignore[arg-type]
    )
    return [line.strip() for line in status_lines(status, 77.0)]


def test_a_rollout_in_words() -> None:
    lines = rollout_words(model.RolloutState.PAUSED, share=5, step_at=12.0)
    assert lines[0] == "shop/web: revision 3 -> 4, paused"
    assert lines[1].endswith(" by ann")
    assert lines[2].endswith("(1m)")
    assert lines[3:5] == ["why       told so", "strategy  canary: [5], 100 %"]
    assert lines[5].startswith("share     5 % of the requests go to revision 4, since ")
    assert "canary: 5, [100] % (this step is being prepared)" in rollout_words(model.RolloutState.ROLLING, step=1)[4]
    over = rollout_words(model.RolloutState.ROLLED_BACK, before=4)
    assert over[0] == "shop/web: restart of revision 4, rolled back"
    assert over[4:] == ["strategy  canary: 5, 100 %", "replicas  0 of 2 updated, 0 ready"]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("web", ServiceTarget("shop", "web")),
        ("web.v2", ServiceTarget("shop", "web.v2")),
        ("web.3", ReplicaTarget("shop", "web", "shop/web.3")),
        ("web.v2.3", ReplicaTarget("shop", "web.v2", "shop/web.v2.3")),
        ("web.n1.example.org", ReplicaTarget("shop", "web", "shop/web.n1.example.org")),
        ("webb", None),
    ],
)
def test_names_with_dots_are_told_apart(rest: str, expected: object) -> None:
    assert match("shop", rest, ["web", "web.v2"]) == expected


@given(st.text() | st.from_regex(r"[a-z/=.0-9]*", fullmatch=True))
def test_whatever_is_typed_is_read_or_refused_in_words(text: str) -> None:
    for read in (split, parse_wish, parse_address, lambda given: parse_since(given, 0.0)):
        with contextlib.suppress(ValueError, ClientError, click.ClickException):
            read(text)


def test_changes_in_words() -> None:
    fields = (
        model.FieldChange(path="a", before="", after="1"),
        model.FieldChange(path="b", before="1", after=""),
        model.FieldChange(path="c", before="x" * 200, after="2\n3"),
    )
    changes = [
        model.ServiceChange(service="web", kind=model.ChangeKind.UPDATE, revision=4, replicas=2, fields=fields),
        model.ServiceChange(service="old", kind=model.ChangeKind.REMOVE),
        model.ServiceChange(service="db", kind=model.ChangeKind.SCALE, replicas=1),
    ]
    assert [click.unstyle(line) for line in change_lines("shop", changes, fields=True)] == [
        "~ shop/web  updated to revision 4: its replicas are replaced (2 replicas wanted)",
        "    a: 1",
        "    b: 1 removed",
        f"    c: {'x' * 99}… -> 2 3",
        "- shop/old  removed",
        "~ shop/db  scaled to 1 replica, none is replaced",
    ]
