"""`rookery incidents`, `rookery incident`, and events without the steps between, at a fake control service."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runner import Rookery
from fake_control import FakeControl, serving
from rookery.cli.event_lines import folded
from rookery.cli.incident_text import after


@pytest.fixture
def control() -> Iterator[FakeControl]:
    fake = FakeControl()
    with serving(fake):
        yield fake


@pytest.fixture
def rookery(control: FakeControl, home: Path) -> Rookery:  # noqa: ARG001 (it works there)
    return Rookery(control)


def _went_down(control: FakeControl) -> None:
    control.add_event("node", "n2", "down: silent for 3.0 s", id="n2-id", state="down")
    lost = {"id": "a2", "state": "lost", "node": "n2"}
    control.add_event("replica", "shop/web.2", "lose: node n2 was lost: silent for 3.0 s", **lost)
    control.add_event("replica", "shop/web.2", "create: takes the place of one that ended", id="b2", state="pending")
    control.add_event("replica", "shop/web.2", "assign to n1: n1 has room", id="b2", state="assigned", node="n1")
    control.add_event("replica", "shop/web.2", "running, not yet healthy", id="b2", state="running", node="n1")
    control.add_event("replica", "shop/web.2", "ready", id="b2", state="ready", node="n1")


def test_incidents_are_a_table(rookery: Rookery, control: FakeControl) -> None:
    assert "No incidents." in rookery("incidents").stderr
    _went_down(control)
    shown = rookery("incidents")
    header, row = shown.stdout.splitlines()
    assert header.split() == ["ID", "WHEN", "WHAT", "AFFECTED", "NOTICED", "AFTER", "RECOVERED", "IN", "STATE"]
    assert "n2 went down  shop/web.2          3.0 s         8.0 s  recovered; n2 is still down" in row
    (one,) = rookery.json("incidents", "shop/web")
    assert f"rookery incident {one['id']}" in shown.stderr
    assert (one["kind"], one["outcome"], one["affected"]) == ("node-down", "recovered", ["shop/web.2"])
    assert rookery.json("incidents", "n2") == [one]
    assert rookery.json("incidents", "n1") == []
    assert rookery.json("incidents", "--since", "1s") == []
    assert "--since: expected a span" in rookery("incidents", "--since", "soon", status=2).stderr


def test_an_incident_is_a_story(rookery: Rookery, control: FakeControl) -> None:
    _went_down(control)
    (one,) = rookery.json("incidents")
    title, _, *lines = rookery("incident", one["id"]).stdout.splitlines()
    assert title == f"incident {one['id']}: n2 went down; recovered in 8.0 s"
    assert lines[0].endswith("+0.0 s  n2 was heard for the last time")
    assert lines[6].endswith("+8.0 s  shop/web.2 is ready on n1, 4.0 s later")
    assert lines[7:] == [
        "",
        "Took: noticed after 3.0 s, placed after 3.0 s more, started after 1.0 s more, ready after 1.0 s more, 8.0 s in all",
        "",
        "Still open:",
        "  n2 is still down",
        "",
        "Look at:",
        "  rookery node inspect n2",
    ]
    assert json.loads(rookery("incident", one["id"], "--json").stdout)["incident"] == one
    assert "no incident 999" in rookery("incident", "999", status=1).stderr


def test_events_leave_out_what_the_next_step_makes_plain(rookery: Rookery, control: FakeControl) -> None:
    _went_down(control)
    shown = [line.partition("shop/web.2: ")[2] for line in rookery("events", "shop/web.2").stdout.splitlines()]
    assert shown == [
        "lose: node n2 was lost: silent for 3.0 s",
        "create on n1: takes the place of one that ended; n1 has room",
        "ready",
    ]
    assert len(rookery("events", "shop/web.2", "--all").stdout.splitlines()) == 5
    assert len(rookery.json("events", "shop/web.2")) == 5


def test_a_step_that_nothing_followed_is_shown(control: FakeControl) -> None:
    _went_down(control)
    control.events.pop()
    assert [event.verb for event in folded(control.events)][-1] == "running"


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.0, "-"), (3.14, "3.1 s"), (75.0, "1m 15s")])
def test_how_long_it_took(seconds: float | None, text: str) -> None:
    assert after(seconds) == text
