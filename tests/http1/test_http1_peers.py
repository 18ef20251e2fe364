"""Every difference from HAProxy and nginx has an explanation. Runs with the versions that docs/http1-peers.md is of."""

import asyncio
import shutil

import pytest
from compare import PACKAGES, PAGE, page, run_all, version

_MISSING = [
    f"{name} (apt-get install {package})"
    for name, package in PACKAGES.items()
    if shutil.which(name) is None or version(name) not in PAGE.read_text()
]


@pytest.mark.skipif(bool(_MISSING), reason=f"not installed, or of another version: {', '.join(_MISSING)}")
def test_every_difference_from_the_peers_is_explained() -> None:
    _, unexplained = page(*asyncio.run(run_all(list(PACKAGES))))
    assert unexplained == []
