"""What an operator does to a service of twenty replicas on real engines, under load: no request fails, by the client's count."""

from collections.abc import Mapping

import pytest
from load import Load
from rookery.model import RolloutState
from shop import ENOUGH, REPLICAS, Shop

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_an_update_and_its_roll_back_fail_no_request(shop: Shop) -> None:
    old = shop.settle()
    before = shop.revision
    with shop.load() as load:
        shop.cluster.apply(shop.compose())
        assert shop.wait_over().state is RolloutState.DONE
        ready = shop.wait_all_served(load)
    new = _all_are_new(shop, old, ready, load)
    assert shop.revision > before

    with shop.load() as load:
        shop.cluster.client.rollback("shop", "web")
        assert shop.wait_over().state is RolloutState.DONE
        ready = shop.wait_all_served(load)
    _all_are_new(shop, new, ready, load)
    assert shop.revision == before


def test_scaling_in_and_out_fails_no_request(shop: Shop) -> None:
    old = shop.settle()
    with shop.load() as load:
        shop.cluster.client.scale("shop", "web", 5)
        shop.wait_converged(what="fifteen of twenty containers to be gone")
        kept = shop.cluster.started()
        shop.cluster.client.scale("shop", "web", REPLICAS)
        shop.wait_converged(what="fifteen new containers")
        load.wait(ENOUGH)
    assert kept.items() <= old.items()
    now = shop.cluster.started()
    assert kept.items() <= now.items()
    assert len(now.keys() - old.keys()) == REPLICAS - 5


def test_draining_a_node_and_taking_it_back_fails_no_request(shop: Shop) -> None:
    old = shop.settle()
    host = shop.cluster.hosts[2]
    there, share = shop.containers_on(host), REPLICAS // len(shop.cluster.hosts)
    assert there
    with shop.load() as load:
        shop.cluster.drain(host)
        shop.cluster.wait(lambda: shop.containers_on(host) == 0, what="the drained node to run nothing", within_s=60)
        shop.wait_converged(what="twenty replicas elsewhere")
        load.wait(ENOUGH)
        shop.cluster.activate(host)
        shop.cluster.wait(lambda: shop.containers_on(host) == share, what="the node to have its share again", within_s=60)
        shop.wait_converged(what="those whose place was taken to be gone")
        load.wait(ENOUGH)
    assert len(old.items() & shop.cluster.started().items()) >= REPLICAS - there - share, "more was moved than had to be"


def test_an_update_whose_manager_is_killed_fails_no_request(shop: Shop) -> None:
    old = shop.settle()
    manager = shop.cluster.manager
    with shop.load() as load:
        shop.cluster.apply(shop.compose())
        for gone in (2, 9):
            shop.cluster.wait(
                lambda gone=gone: len(old.keys() - shop.cluster.started().keys()) >= gone,
                what=f"{gone} of the old containers to be gone",
            )
            manager.kill()
            load.wait(100)
            manager.start()
        assert shop.wait_over().state is RolloutState.DONE
        ready = shop.wait_all_served(load)
    _all_are_new(shop, old, ready, load)


def test_a_blue_green_update_fails_no_request(shop: Shop) -> None:
    old = shop.settle()
    with shop.load() as load:
        shop.cluster.apply(shop.compose(rollout={"strategy": "blue-green", "keep": "2s"}))
        assert shop.wait_over().state is RolloutState.DONE
        ready = shop.wait_all_served(load)
    _all_are_new(shop, old, ready, load)


def test_a_canary_that_is_as_good_takes_over_and_fails_no_request(shop: Shop) -> None:
    old = shop.settle()
    with shop.load() as load:
        shop.cluster.apply(shop.compose(rollout={"strategy": "canary", "steps": [10, 50, 100], "interval": "2s"}))
        assert shop.wait_over().state is RolloutState.DONE
        ready = shop.wait_all_served(load)
    _all_are_new(shop, old, ready, load)


def test_a_restart_fails_no_request(shop: Shop) -> None:
    old = shop.settle()
    before = shop.revision
    with shop.load() as load:
        shop.cluster.client.restart("shop", "web")
        assert shop.wait_over().state is RolloutState.DONE
        ready = shop.wait_all_served(load)
    _all_are_new(shop, old, ready, load)
    assert shop.revision == before


def _all_are_new(shop: Shop, old: Mapping[str, str], ready: set[str], load: Load) -> dict[str, str]:
    """Nothing old is left, all that runs is of the revision in force, and what was `ready` has served; when each was started."""
    assert len(ready) >= REPLICAS
    assert ready <= {answer.split()[0] for answer in load.whose}
    assert {replica.revision for replica in shop.cluster.replicas()} == {shop.revision}
    now = shop.cluster.started()
    assert len(now) >= REPLICAS  # one more while one is moved to make the spread even
    assert not now.keys() & old.keys()
    return now
