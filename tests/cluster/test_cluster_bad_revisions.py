"""Revisions that are bad in every way we know, rolled out over twenty good replicas under load: the old revision goes on serving.

Each bad one has to end in the old revision in force, with the reason told, and with no old container restarted. No request fails
where health can tell; a canary whose answers are bad is found by its answers, so some of its own requests fail.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from load import KEEP_ALIVE, KINDS, PER_REQUEST, Kind, Load
from rookery.model import RolloutState
from shop import Shop

pytestmark = [pytest.mark.root, pytest.mark.docker]

CANARY = {"strategy": "canary", "steps": [20, 100], "interval": "3s"}


@contextmanager
def stays(shop: Shop, *why: str, kinds: Sequence[Kind] = KINDS, may_fail: bool = False) -> Iterator[Load]:
    """What is rolled out within is rolled back, for a reason with these words, and the old containers have run all the while."""
    old = shop.settle()
    before = shop.revision
    with shop.load(kinds=kinds, may_fail=may_fail) as load:
        yield load
        rollout = shop.wait_over()
        load.wait(100)
    assert rollout.state is RolloutState.ROLLED_BACK
    assert rollout.before == shop.revision == before
    assert shop.cluster.started() == old, "an old container was restarted or replaced"
    said = f"revision {rollout.after} is rolled back to {before}: "
    assert rollout.why.startswith(said), rollout.why
    assert all(words in rollout.why for words in why), rollout.why


def test_a_revision_that_crashes_at_start(shop: Shop) -> None:
    with stays(shop, "of 20 new replicas failed: shop/web.", "status 3"):
        shop.cluster.apply(shop.compose(command=["sh", "-c", "exit 3"]))


def test_a_revision_that_is_never_ready(shop: Shop) -> None:
    """Within ten seconds all that are begun at once have been started and asked, and none is restarted for its health before."""
    never = shop.compose(command=["sleep", "1000000"], rollout={"progress_deadline": "10s"}, retries=1000)
    why = "was not ready within 10 s: not yet healthy: port 8000"
    with stays(shop, "of 20 new replicas failed: shop/web.", why, "connection refused"):
        shop.cluster.apply(never)


def test_a_revision_that_is_ready_and_then_crashes(shop: Shop) -> None:
    served = {replica.id for replica in shop.cluster.replicas()} if shop.settle() else set()
    dies = ["sh", "-c", "nc -llllllll -p 8000 -e sh /bin/web & sleep 3; exit 4"]  # in which it is ready on any machine
    # Whatever a replica has not answered when it dies may be sent again only where that is harmless: a POST is lost with it.
    with stays(shop, "of 20 new replicas failed: shop/web.", "status 4", kinds=(KEEP_ALIVE, PER_REQUEST)) as load:
        shop.cluster.apply(shop.compose(command=dies, update={"parallelism": 5, "monitor": "5s"}))
    assert {answer.split()[0] for answer in load.whose} > served, "none of the bad ones was ready"


def test_a_revision_whose_image_is_missing(shop: Shop) -> None:
    with stays(shop, "of 20 new replicas failed: shop/web.", "was not ready within 5 s", "nowhere/nothing"):
        shop.cluster.apply(shop.compose(image="nowhere/nothing:1", rollout={"progress_deadline": "5s"}))


def test_a_revision_that_answers_5xx_is_found_by_its_canary(shop: Shop) -> None:
    with stays(shop, "requests to revision", "failed", may_fail=True) as load:
        shop.cluster.apply(shop.compose(environment={"STATUS": "500 Broken"}, rollout=CANARY))
    assert load.failed == sum(result.refused for result in load.results) > 0, "something else failed than the canary's answers"
    assert load.failed < load.sent / 4


def test_a_revision_that_is_slower_is_found_by_its_canary(shop: Shop) -> None:
    with stays(shop, "took longer than"):
        shop.cluster.apply(shop.compose(environment={"DELAY_S": "0.5"}, rollout=CANARY))
