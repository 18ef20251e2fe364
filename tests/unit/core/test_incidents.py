"""Events in, printed stories out: the incidents that the events tell of."""

from dataclasses import dataclass, field

import pytest
from rookery.incidents import Incident, Outcome, find, story
from rookery.model import Event


@dataclass
class Log:
    """Events as a manager writes them, at seconds from 1000."""

    events: list[Event] = field(default_factory=list)

    def add(self, kind: str, at: float, subject: str, why: str, *, actor: str = "manager", **facts: object) -> None:
        made = Event(revision=len(self.events) + 1, at=1000 + at, actor=actor, kind=kind, subject=subject, why=why, **facts)  # type: ignore[arg-type]
        self.events.append(made)

    def replica(self, at: float, name: str, replica_id: str, state: str, why: str, node: str = "", restarts: int = 0) -> None:
        self.add("replica", at, name, why, id=replica_id, state=state, node=node, restarts=restarts)

    def node(self, at: float, name: str, state: str, why: str, *conditions: str) -> None:
        self.add("node", at, name, f"{state}: {why}", id=f"id-{name}", state=state, conditions=conditions)

    def service(self, at: float, key: str, state: str, why: str, actor: str = "manager") -> None:
        self.add("service", at, key, why, state=state, actor=actor)

    def runs(self, at: float, name: str, replica_id: str, node: str) -> None:
        self.replica(at, name, replica_id, "pending", "create: 2 replicas of shop/web are wanted")
        self.replica(at, name, replica_id, "assigned", f"assign to {node}: {node} has room", node)
        self.replica(at + 0.1, name, replica_id, "ready", "ready", node)

    def lost(self, at: float, name: str, replica_id: str, node: str) -> None:
        self.replica(at, name, replica_id, "lost", f"lose: node {node} was lost: silent for 3.0 s", node)

    def replaced(self, at: float, name: str, replica_id: str, node: str, *, ready_at: float) -> None:
        why = "create: takes the place of one that ended: node n2 was lost: silent for 3.0 s"
        self.replica(at, name, replica_id, "pending", why)
        self.replica(at, name, replica_id, "assigned", f"assign to {node}: {node} has room", node)
        self.replica(at + 0.2, name, replica_id, "running", "running, not yet healthy", node)
        self.replica(ready_at, name, replica_id, "ready", "ready", node)

    def crash(self, at: float, name: str, replica_id: str, node: str, restarts: int) -> None:
        self.replica(at, name, replica_id, "running", "restarting in 1 s: exited with status 3", node, restarts)

    def up(self, at: float, name: str, replica_id: str, node: str, restarts: int) -> None:
        self.replica(at, name, replica_id, "ready", "ready, restarted once", node, restarts)

    def told(self) -> str:
        return "\n".join(printed(one) for one in find(self.events))


def printed(one: Incident) -> str:
    told = story(one)
    recovered = f" in {one.recovered_in_s:.1f} s" if one.recovered_in_s is not None else ""
    lines = [f"{one.id} {one.what}: {one.outcome}{recovered}"]
    lines += [f"{line.offset_s:+.1f} {line.text}" for line in told.lines]
    lines += [f"took {', '.join(told.took)}"] if told.took else []
    lines += [f"open: {line}" for line in told.still_open]
    lines += [f"look at: {line}" for line in told.look_at]
    return "\n".join(lines)


def text(lines: str) -> str:
    return "\n".join(line.strip() for line in lines.strip().splitlines())


@pytest.fixture
def log() -> Log:
    made = Log()
    made.runs(0, "shop/web.1", "a1", "n1")
    made.runs(0, "shop/web.2", "a2", "n2")
    return made


def test_a_healthy_cluster_has_no_incidents(log: Log) -> None:
    log.node(1, "n1", "ready", "joined the cluster")
    log.service(2, "shop/web", "rolling", "revision 2: image web:1 -> web:2", "ann")
    log.service(3, "shop/web", "paused", "paused: the rollout of revision 2 is paused by ann", "ann")
    log.service(4, "shop/web", "rolling-back", "the rollout of revision 2 is aborted by ann", "ann")
    log.add("manager", 5, "manager", "was started")
    log.replica(6, "shop/web.1", "a1", "draining", "drain: 1 replica of shop/web is wanted, not 2", "n1")
    assert log.told() == ""


def test_a_node_that_went_down_until_all_it_ran_is_ready_elsewhere_and_its_return(log: Log) -> None:
    log.runs(1, "shop/web.3", "a3", "n2")
    log.node(10, "n2", "down", "silent for 3.0 s")
    log.lost(10, "shop/web.2", "a2", "n2")
    log.lost(10, "shop/web.3", "a3", "n2")
    log.replaced(10, "shop/web.2", "b2", "n1", ready_at=10.6)
    log.replaced(10, "shop/web.3", "b3", "n3", ready_at=11)
    log.node(20, "n2", "ready", "came back after it was down")
    why = "node n2 has 0 of shop/web and node n1 has 2"
    log.replica(25, "shop/web.2", "b2", "ready", f"move: {why}", "n1")
    log.replica(25, "shop/web.2", "c2", "pending", f"create: takes the place of shop/web.2: {why}")
    log.replica(25, "shop/web.2", "c2", "assigned", "assign to n2: n2 has room", "n2")
    log.replica(25.5, "shop/web.2", "c2", "ready", "ready", "n2")
    log.replica(25.5, "shop/web.2", "b2", "draining", f"drain: {why}", "n1")
    log.replica(26, "shop/web.2", "b2", "stopping", "stop: nothing is in flight on it", "n1")
    assert log.told() == text("""
        10 n2 went down: recovered in 4.0 s
        +0.0 n2 was heard for the last time
        +3.0 its lease ended, so n2 counts as down: silent for 3.0 s
        +3.0 shop/web.2 and shop/web.3 were lost
        +3.0 shop/web.2 was created anew
        +3.0 shop/web.2 was placed on n1: n1 has room
        +3.0 shop/web.3 was created anew
        +3.0 shop/web.3 was placed on n3: n3 has room
        +3.2 shop/web.2 and shop/web.3 run on n1, n3, not ready yet
        +3.6 shop/web.2 and shop/web.3 are ready on n1, n3, at most 1.0 s later
        +13.0 n2 came back after it was down
        +18.0 shop/web.2 moves to n2: node n2 has 0 of shop/web and node n1 has 2
        +18.0 shop/web.2 was placed on n2: n2 has room
        +18.5 shop/web.2 is ready on n2
        +18.5 shop/web.2 on n1 is to stop: node n2 has 0 of shop/web and node n1 has 2
        took noticed after 3.0 s, started after 0.2 s more, ready after 0.8 s more, 4.0 s in all
    """)
    (one,) = find(log.events)
    assert one.affected == ("shop/web.2", "shop/web.3")
    assert all(one.concerns(name) for name in ("n2", "shop", "shop/web", "shop/web.2"))
    assert not one.concerns("shop/we")


def test_a_node_that_stays_down_with_a_replica_that_no_node_takes(log: Log) -> None:
    log.node(10, "n2", "down", "silent for 3.0 s")
    log.lost(10, "shop/web.2", "a2", "n2")
    log.replica(10, "shop/web.2", "b2", "pending", "create: takes the place of one that ended: node n2 was lost")
    log.replica(10, "shop/web.2", "b2", "pending", "hold: no node fits: 1 has too little memory")
    assert log.told() == text("""
        7 n2 went down: open
        +0.0 n2 was heard for the last time
        +3.0 its lease ended, so n2 counts as down: silent for 3.0 s
        +3.0 shop/web.2 was lost
        +3.0 shop/web.2 was created anew
        +3.0 shop/web.2 waits for a node: no node fits: 1 has too little memory
        open: shop/web.2 is not ready: shop/web.2 waits for a node: no node fits: 1 has too little memory
        open: n2 is still down
        look at: rookery node inspect n2
        look at: rookery explain shop/web.2
    """)


def test_a_replica_that_must_not_run_twice_is_doubted_then_lost(log: Log) -> None:
    log.node(10, "n2", "down", "silent for 3.0 s")
    told = "doubt: node n2 was lost: silent for 3.0 s; it must not run twice and may still run for 8 s"
    log.replica(10, "shop/web.2", "a2", "running", told, "n2")
    log.lost(18, "shop/web.2", "a2", "n2")
    log.replaced(18, "shop/web.2", "b2", "n1", ready_at=19)
    lines = log.told().splitlines()
    assert lines[0] == "7 n2 went down: recovered in 12.0 s"
    assert "+3.0 shop/web.2 gets no more requests: it must not run twice and may still run for 8 s" in lines
    assert "+12.0 shop/web.2 is ready on n1, 9.0 s later" in lines


def test_a_doubted_replica_whose_node_returns_in_time_is_ready_again(log: Log) -> None:
    log.node(10, "n2", "down", "silent for 3.0 s")
    log.replica(10, "shop/web.2", "a2", "running", "doubt: node n2 was lost; it must not run twice", "n2")
    log.node(12, "n2", "ready", "came back after it was down")
    log.replica(12.5, "shop/web.2", "a2", "ready", "ready", "n2")
    assert log.told().splitlines()[0] == "7 n2 went down: recovered in 5.5 s"


def test_a_global_service_has_no_other_node_to_go_to(log: Log) -> None:
    log.replica(1, "shop/log.n2", "g2", "ready", "ready", "n2")
    log.node(10, "n2", "down", "silent for 3.0 s")
    log.lost(10, "shop/log.n2", "g2", "n2")
    (one,) = find(log.events)
    assert (one.outcome, one.recovered_in_s, one.note) == (Outcome.RECOVERED, 3.0, "n2 is still down")
    log.node(20, "n2", "ready", "came back after it was down")
    log.replica(20, "shop/log.n2", "h2", "assigned", "create: takes the place of one that ended", "n2")
    log.replica(20.5, "shop/log.n2", "h2", "ready", "ready", "n2")
    assert log.told().splitlines()[4:] == [
        "+13.0 n2 came back after it was down",
        "+13.0 shop/log.n2 was created anew",
        "+13.5 shop/log.n2 is ready on n2, 10.5 s later",
        "took noticed after 3.0 s, 3.0 s in all",
    ]


def test_a_node_that_ran_nothing_is_an_incident_until_it_is_back() -> None:
    log = Log()
    log.node(0, "n9", "ready", "joined the cluster")
    log.node(10, "n9", "down", "silent for 3.0 s")
    assert find(log.events)[0].outcome is Outcome.OPEN
    log.node(15, "n9", "ready", "came back after it was down")
    assert find(log.events)[0].recovered_in_s == 8.0


def test_a_crash_until_it_is_ready_again(log: Log) -> None:
    log.replica(10, "shop/web.1", "a1", "running", "restarting: exited with status 137", "n1", 1)
    log.up(10.4, "shop/web.1", "a1", "n1", 1)
    assert log.told() == text("""
        7 shop/web.1 crashed: recovered in 0.4 s
        +0.0 shop/web.1 on n1 exited with status 137; restarting
        +0.4 shop/web.1 is ready on n1, 0.4 s later
        look at: rookery logs shop/web.1 --tail 50
    """)


def test_crashes_with_a_quiet_time_between_are_two_incidents(log: Log) -> None:
    for count, at in enumerate((10.0, 100.0), 1):
        log.crash(at, "shop/web.1", "a1", "n1", count)
        log.up(at + 1, "shop/web.1", "a1", "n1", count)
    assert [one.times for one in find(log.events)] == [1, 1]


def test_a_crash_loop_is_one_incident_and_its_move_belongs_to_it(log: Log) -> None:
    for count in range(1, 6):
        log.crash(10 + 3 * count, "shop/web.1", "a1", "n1", count)
        if count < 5:
            log.up(11 + 3 * count, "shop/web.1", "a1", "n1", count)
    log.replica(26, "shop/web.1", "b1", "pending", "create: takes the place of shop/web.1: it failed 5 times on node n1")
    log.replica(26, "shop/web.1", "b1", "assigned", "assign to n2: n2 has room", "n2")
    log.replica(27, "shop/web.1", "b1", "ready", "ready", "n2")
    log.replica(27, "shop/web.1", "a1", "stopping", "stop: it failed 5 times on node n1", "n1", 5)
    assert log.told() == text("""
        7 shop/web.1 crashed 5 times, and was moved: recovered in 14.0 s
        +0.0 shop/web.1 on n1 exited with status 3; restarting in 1 s
        +1.0 shop/web.1 is ready on n1, 1.0 s later
        +3.0 shop/web.1 on n1 exited with status 3; restarting in 1 s
        +4.0 shop/web.1 is ready on n1, 1.0 s later
        +6.0 it crashed 3 times more, over 6 s; the last: shop/web.1 on n1 exited with status 3; restarting in 1 s
        +13.0 shop/web.1 was created anew
        +13.0 shop/web.1 was placed on n2: n2 has room
        +14.0 shop/web.1 is ready on n2, 2.0 s later
        +14.0 shop/web.1 on n1 is to stop: it failed 5 times on node n1
        look at: rookery logs shop/web.1 --tail 50
    """)


def test_a_replica_whose_restarts_are_used_up_is_given_up(log: Log) -> None:
    log.crash(10, "shop/web.1", "a1", "n1", 1)
    log.replica(11, "shop/web.1", "a1", "failed", "failed: exited with status 3; restarted once, no more are allowed", "n1", 1)
    assert log.told() == text("""
        7 shop/web.1 crashed: gave up
        +0.0 shop/web.1 on n1 exited with status 3; restarting in 1 s
        +1.0 shop/web.1 failed: exited with status 3; restarted once, no more are allowed
        open: shop/web.1 is not ready: shop/web.1 failed: exited with status 3; restarted once, no more are allowed
        look at: rookery logs shop/web.1 --tail 50
        look at: rookery explain shop/web.1
    """)


def test_a_crash_loop_of_a_service_that_is_removed_is_over(log: Log) -> None:
    log.crash(10, "shop/web.1", "a1", "n1", 1)
    log.service(20, "shop/web", "removing", "app shop is removed", "ann")
    assert log.told().splitlines()[:3] == [
        "7 shop/web.1 crashed: recovered in 10.0 s",
        "+0.0 shop/web.1 on n1 exited with status 3; restarting in 1 s",
        "+10.0 shop/web.1 is no longer wanted: app shop is removed",
    ]


def test_a_crash_loop_that_is_lost_with_its_node_goes_on_in_that_story(log: Log) -> None:
    log.crash(10, "shop/web.2", "a2", "n2", 1)
    log.node(13, "n2", "down", "silent for 3.0 s")
    log.lost(13, "shop/web.2", "a2", "n2")
    log.replaced(13, "shop/web.2", "b2", "n1", ready_at=14)
    (one,) = find(log.events)
    assert (one.what, one.times, one.recovered_in_s) == ("n2 went down", 1, 4.0)


def failed_rollout(log: Log) -> None:
    log.service(10, "shop/web", "rolling", "revision 2: image web:1 -> web:2", "ann")
    log.replica(10, "shop/web.1", "b1", "pending", "create: revision 1 of shop/web is replaced by 2")
    log.replica(10, "shop/web.1", "b1", "assigned", "assign to n1: n1 has room", "n1")
    log.replica(11, "shop/web.1", "b1", "running", "restarting: exited with status 1", "n1", 1)


def test_a_rollout_that_was_rolled_back_has_the_crashes_of_its_replicas_in_its_story(log: Log) -> None:
    failed_rollout(log)
    log.service(11, "shop/web", "rolling-back", "rolling-back: revision 2 is rolled back to 1: 1 of 2 new replicas failed")
    log.replica(12, "shop/web.1", "b1", "running", "restarting in 1 s: exited with status 1", "n1", 2)
    log.replica(12.5, "shop/web.1", "b1", "stopping", "stop: revision 2 of shop/web is replaced by 1", "n1", 2)
    log.replica(12.6, "shop/web.1", "b1", "stopped", "stopped", "n1", 2)
    log.service(13, "shop/web", "rolled-back", "rolled-back: revision 1 is back after 2.0 s")
    assert log.told() == text("""
        11 shop/web: revision 2 is rolled back to 1: recovered in 3.0 s
        +0.0 a rollout of shop/web began
        +1.0 shop/web.1 on n1 exited with status 1; restarting
        +1.0 revision 2 is rolled back to 1: 1 of 2 new replicas failed
        +2.0 shop/web.1 on n1 exited with status 1; restarting in 1 s
        +2.5 shop/web.1 on n1 is to stop: revision 2 of shop/web is replaced by 1
        +3.0 revision 1 is back after 2.0 s
        took noticed after 1.0 s, 3.0 s in all
        look at: rookery history shop/web
    """)


def test_a_rollout_that_paused_itself_is_open_until_somebody_does_something(log: Log) -> None:
    failed_rollout(log)
    log.service(11, "shop/web", "paused", "paused: the rollout of revision 2 is paused: 1 of 2 new replicas failed")
    (one,) = find(log.events)
    assert one.outcome is Outcome.OPEN
    assert story(one).still_open == ("the rollout of shop/web is not over",)
    assert "rookery rollout status shop/web" in story(one).look_at
    log.service(60, "shop/web", "rolling", "the rollout of revision 2 is resumed by ann", "ann")
    log.service(70, "shop/web", "done", "done: revision 2 is rolled out in 60.0 s")
    assert find(log.events)[0].recovered_in_s == 60.0


def test_a_condition_lasts_until_its_node_no_longer_has_it(log: Log) -> None:
    log.node(10, "n2", "ready", "disk-full: 99 % of /var are in use", "disk-full")
    log.node(20, "n2", "ready", "disk-full: 99 % of /var are in use; engine-away: no answer", "disk-full", "engine-away")
    log.node(30, "n2", "ready", "engine-away: no answer", "engine-away")
    first, second = find(log.events)
    assert printed(first) == text("""
        7 n2: disk-full: recovered in 20.0 s
        +0.0 disk-full: 99 % of /var are in use
        +20.0 disk-full of n2 is over
    """)
    assert (second.what, second.outcome) == ("n2: engine-away", Outcome.OPEN)
    assert story(second).still_open == ("n2: engine-away goes on",)


def test_a_node_is_held_off_until_it_gets_work_again(log: Log) -> None:
    log.node(10, "n2", "down", "silent for 3.0 s")
    log.node(12, "n2", "ready", "came back after it was down, 2 times now: it is given no work for a while", "held-off")
    log.node(22, "n2", "ready", "gets work again, 10 s after it came back")
    down, held = find(log.events)
    assert down.what == "n2 went down"
    assert printed(held) == text("""
        8 n2 is held off: recovered in 10.0 s
        +0.0 n2 came back after it was down, 2 times now: it is given no work for a while
        +10.0 n2 gets work again, 10 s after it came back
    """)


def test_a_manager_that_was_away(log: Log) -> None:
    log.add("manager", 10, "manager", "was started: it was away for 3.6 s")
    assert log.told() == text("""
        7 the manager was away: recovered in 3.6 s
        +0.0 the manager was there for the last time; agents and proxies go on by themselves
        +3.6 the manager was started
    """)


def test_two_that_are_noticed_at_one_revision_have_different_ids(log: Log) -> None:
    log.crash(10, "shop/web.1", "a1", "n1", 1)
    log.crash(10, "shop/web.2", "a2", "n2", 1)
    last = log.events.pop()
    log.events.append(type(last)(**{**{f: getattr(last, f) for f in last.__slots__}, "revision": last.revision - 1}))
    assert [one.id for one in find(log.events)] == ["7", "7.2"]


def test_fifty_lost_replicas_are_a_few_lines(log: Log) -> None:
    log.node(10, "n2", "down", "silent for 3.0 s")
    for slot in range(10, 60):
        log.lost(10, f"shop/web.{slot}", f"a{slot}", "n2")
    for slot in range(10, 60):
        log.replica(10.1, f"shop/web.{slot}", f"b{slot}", "pending", "create: takes the place of one that ended")
    for slot in range(10, 60):
        log.replica(10.2, f"shop/web.{slot}", f"b{slot}", "assigned", f"assign to n1: n1 has {slot}", "n1")
    for slot in range(10, 60):
        log.replica(10.5, f"shop/web.{slot}", f"b{slot}", "ready", "ready", "n1")
    assert log.told().splitlines()[3:7] == [
        "+3.0 shop/web.10, shop/web.11, shop/web.12 and 47 more were lost",
        "+3.1 shop/web.10, shop/web.11, shop/web.12 and 47 more were created anew",
        "+3.2 shop/web.10, shop/web.11, shop/web.12 and 47 more were placed on n1",
        "+3.5 shop/web.10, shop/web.11, shop/web.12 and 47 more are ready on n1, at most 0.5 s later",
    ]


@pytest.mark.parametrize("cut", range(40))
def test_a_history_that_begins_anywhere_is_read(cut: int) -> None:
    log = Log()
    log.runs(0, "shop/web.1", "a1", "n1")
    log.runs(0, "shop/web.2", "a2", "n2")
    failed_rollout(log)
    log.service(11, "shop/web", "rolling-back", "rolling-back: revision 2 is rolled back to 1: 1 of 2 new replicas failed")
    log.node(20, "n2", "down", "silent for 3.0 s", "disk-full")
    log.lost(20, "shop/web.2", "a2", "n2")
    log.replaced(20, "shop/web.2", "b2", "n1", ready_at=21)
    log.node(30, "n2", "ready", "came back after it was down", "held-off")
    for one in find(log.events[cut:]):
        assert story(one).lines
