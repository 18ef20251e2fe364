"""Four engines for the whole session; what runs on them is each test's own."""

from collections.abc import Iterator

import load
import pytest
from cluster import Cluster
from rig import Rig, missing
from shop import Shop

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


@pytest.fixture(scope="module")
def shop(engines: Rig) -> Iterator[Shop]:
    """A cluster with a second proxy, for all tests of a module; each begins with `settle`."""
    why = load.missing()
    if why:
        pytest.skip(f"no load on the proxies: {why}")
    with Cluster(engines) as made:
        made.add_proxy(made.hosts[1])
        yield Shop(made)
