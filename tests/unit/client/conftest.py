"""What tests of the clients have in common."""

import pytest


@pytest.fixture(autouse=True)
def plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake managers know no identities."""
    monkeypatch.setenv("ROOKERY_INSECURE", "1")
