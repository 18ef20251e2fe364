"""Four engines for the whole session; what runs on them is each test's own."""

from collections.abc import Iterator

import pytest
from cluster import Cluster
from rig import Rig, missing

HOSTS = 4


@pytest.fixture(scope="session")
def engines() -> Iterator[Rig]:
    """A rig of four hosts with engines and nothing else."""
    why = missing()
    if why:
        pytest.skip(f"no engines in network namespaces: {why}")
    with Rig(HOSTS) as rig:
        yield rig


@pytest.fixture
def cluster(engines: Rig) -> Iterator[Cluster]:
    """A new manager, an agent on each host, and a proxy."""
    with Cluster(engines) as made:
        yield made
