"""A minute of random faults on four real engines, from a new seed each time; `make chaos` has longer ones."""

import os
import time

import pytest
from cluster import Cluster, web
from storm import REPLICAS, Storm

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.timeout(300)]

SECONDS = 60.0


def test_a_storm_loses_nothing_that_was_acknowledged_and_no_request_once_a_fault_is_known(cluster: Cluster) -> None:
    seed = int(os.environ.get("STORM_SEED") or time.time())
    cluster.deploy(web(REPLICAS))
    report = Storm(cluster, seed).blow(SECONDS)
    print(report)
    assert not report.unexplained, report
    assert not report.writes_lost, report
    assert not report.restarted_needlessly, report
