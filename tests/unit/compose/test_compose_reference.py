"""The page about compose files says of every key what the description says."""

from pathlib import Path

from rookery.compose.reference import replaced

PAGE = Path(__file__).parents[3] / "docs" / "compose.md"


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text()
    assert written == replaced(written), "run: python -m rookery.compose.reference docs/compose.md"


def test_every_key_is_on_the_page() -> None:
    written = PAGE.read_text()
    for row in (
        "| `depends_on.NAME.condition` |",
        "| `restart_policy.window` |",
        "| `http[].strip_path` |",
        "| `ports[].app_protocol` |",
    ):
        assert row in written


def test_a_page_that_drifted_is_noticed() -> None:
    written = PAGE.read_text()
    assert replaced(written.replace("| `gpus` |", "| `gpu` |")) == written
