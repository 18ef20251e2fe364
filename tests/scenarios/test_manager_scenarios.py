"""The whole manager over real connections, with agents and a proxy that only speak: operators' and machines' days."""

import asyncio
import dataclasses
import time
from pathlib import Path

import pytest
from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from rookery.model import (
    Availability,
    ContainerSpec,
    Desired,
    FailureAction,
    NodeCondition,
    OnDisconnect,
    Port,
    Replicated,
    ServiceSpec,
    UpdateConfig,
)
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import message_class
from whole_manager import PATIENCE_S, Manager, manager, until


def web(image: str = "web:1", replicas: int = 4) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        container=ContainerSpec(image=image),
        mode=Replicated(replicas=replicas),
        ports=(Port(target=80, published=8080),),
        update=UpdateConfig(parallelism=2, monitor_s=0.05),
        rollback=UpdateConfig(parallelism=2, monitor_s=0.05, failure_action=FailureAction.PAUSE),
        drain_timeout_s=20.0,
    )


def test_a_deployed_service_is_spread_over_the_nodes_and_routed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            manager(tmp_path) as m,
            FakeAgent(m.address, "n1") as a,
            FakeAgent(m.address, "n2") as b,
            FakeProxy(m.address) as proxy,
        ):
            await m.deploy(web())
            await until(lambda: m.converged("web"))
            assert len(a.assignments) == len(b.assignments) == 2
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)

    asyncio.run(scene())


def test_a_silent_node_is_down_after_its_lease_and_its_replicas_run_elsewhere(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeAgent(m.address, "n2") as b:
            await m.deploy(web())
            await until(lambda: m.converged("web"))
            a.paused = True
            await until(lambda: len(b.running()) == 4)
            assert (await m.node("n1")).node.why.startswith("silent for")
            a.paused = False  # it comes back, and what it ran is no longer wanted
            await until(lambda: not a.assignments)
            assert len(b.running()) == 4

    asyncio.run(scene())


def test_what_must_not_run_twice_serves_again_when_its_node_is_heard_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            once = dataclasses.replace(web(replicas=1), on_disconnect=OnDisconnect.STOP, on_disconnect_after_s=60.0)
            await m.deploy(once)
            await until(lambda: m.converged("web"))
            a.paused = True
            await until(lambda: _is_ready(m, 0))
            a.paused = False  # on the same stream: it has nothing new to tell of the replica
            await until(lambda: _is_ready(m, 1))

    asyncio.run(scene())


async def _is_ready(m: Manager, number: int) -> bool:
    return (await m.status("web")).ready == number


def test_a_condition_that_passed_while_no_one_listened_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m:
            async with FakeAgent(m.address, "n1") as a:
                a.conditions = (NodeCondition(name="engine-away", why="Cannot connect to the Docker daemon"),)
                await until(lambda: _has_condition(m, True))
            async with FakeAgent(m.address, "n1"):
                await until(lambda: _has_condition(m, False))

    asyncio.run(scene())


async def _has_condition(m: Manager, wanted: bool) -> bool:
    return bool((await m.node("n1")).node.conditions) == wanted


def test_a_broken_connection_alone_is_not_death(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await m.deploy(web())
            await until(lambda: m.converged("web"))
            before = set(a.assignments)
            await a.die()
            a.start()
            await until(lambda: a.sets_received == 2)
            assert set(a.assignments) == before
            assert await m.converged("web")

    asyncio.run(scene())


def test_scale_in_waits_until_nothing_is_in_flight(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await m.deploy(web(replicas=2))
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 2)
            proxy.holds = True
            await m.control.Scale(control_pb2.ScaleRequest(app="shop", service="web", replicas=1), timeout=PATIENCE_S)
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 1)
            (gone,) = set(a.assignments) - proxy.endpoints("shop/web:8080")
            assert a.assignments[gone].desired is Desired.RUN  # not acknowledged
            proxy.in_flight = {gone: 1}
            proxy.acknowledge()
            await until(lambda: _acknowledged(m, proxy.version))
            assert a.assignments[gone].desired is Desired.RUN  # acknowledged, but in flight
            proxy.in_flight = {}
            proxy.tell()
            await until(lambda: gone not in a.assignments)

    asyncio.run(scene())


async def _acknowledged(m: Manager, version: int) -> bool:
    proxies = await m.control.ListProxies(control_pb2.ListProxiesRequest(), timeout=PATIENCE_S)
    return all(proxy.acked_version >= version for proxy in proxies.proxies)


def test_an_update_replaces_all_and_never_has_fewer_endpoints_than_wanted(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), FakeAgent(m.address, "n2"), FakeProxy(m.address) as proxy:
            await m.deploy(web())
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)
            before = proxy.endpoints("shop/web:8080")
            fewest = 4

            async def done() -> bool:
                nonlocal fewest
                fewest = min(fewest, len(proxy.endpoints("shop/web:8080")))
                return (await m.status("web")).updated == 4 and await m.converged("web")

            await m.deploy(web("web:2"))
            await until(done)
            assert fewest == 4
            assert not proxy.endpoints("shop/web:8080") & before

    asyncio.run(scene())


async def _rollback(m: Manager) -> tuple[int, int]:
    answer = await m.control.Rollback(control_pb2.RollbackRequest(app="shop", service="web"), timeout=PATIENCE_S)
    return answer.before, answer.after


def test_a_roll_back_by_hand_brings_the_old_image_back_and_never_has_fewer_endpoints(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await m.deploy(web())
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)
            await m.deploy(web("web:2"))
            await until(lambda: _rollout_is(m, types_pb2.ROLLOUT_STATE_DONE))
            fewest = 4

            async def back() -> bool:
                nonlocal fewest
                fewest = min(fewest, len(proxy.endpoints("shop/web:8080")))
                return await _rollout_is(m, types_pb2.ROLLOUT_STATE_DONE) and await m.converged("web")

            assert await _rollback(m) == (2, 1)
            await until(back)
            assert fewest == 4
            assert {x.spec.container.image for x in a.assignments.values() if x.desired is Desired.RUN} == {"web:1"}
            status = await m.status("web")
            assert (status.service.revision, status.updated) == (1, 4)

    asyncio.run(scene())


def test_a_roll_back_by_hand_that_fails_is_paused_and_takes_no_endpoint_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await m.deploy(web())
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)
            await m.deploy(web("web:2"))
            await until(lambda: _rollout_is(m, types_pb2.ROLLOUT_STATE_DONE))
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)
            before = proxy.endpoints("shop/web:8080")
            a.crashing = "web:1"
            await _rollback(m)

            async def paused() -> bool:
                assert proxy.endpoints("shop/web:8080") == before
                return await _rollout_is(m, types_pb2.ROLLOUT_STATE_PAUSED)

            await until(paused)
            status = await m.status("web")
            assert status.service.revision == 1
            assert status.service.rollout.why.startswith("the rollout of revision 1 is paused: ")

    asyncio.run(scene())


async def _rollout_is(m: Manager, state: types_pb2.RolloutState) -> bool:
    return (await m.status("web")).service.rollout.state == state


def test_a_bad_update_rolls_itself_back_and_takes_no_endpoint_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await m.deploy(web())
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)
            before = proxy.endpoints("shop/web:8080")
            a.crashing = "web:2"
            await m.deploy(web("web:2"))

            async def rolled_back() -> bool:
                assert proxy.endpoints("shop/web:8080") == before
                rollout = (await m.status("web")).service.rollout
                return rollout.state == types_pb2.ROLLOUT_STATE_ROLLED_BACK

            await until(rolled_back)
            status = await m.status("web")
            assert status.service.revision == 1
            assert status.converged
            assert "revision 2 is rolled back to 1" in status.service.rollout.why
            assert "exited with status 1" in status.service.rollout.why

    asyncio.run(scene())


def test_a_drained_node_is_emptied_and_gets_work_again_when_active(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeAgent(m.address, "n2") as b:
            await m.deploy(web())
            await until(lambda: m.converged("web"))
            number = message_class("Node").DESCRIPTOR.fields_by_name["availability"].enum_type.values_by_name
            drained = number["AVAILABILITY_DRAINED"].number
            await m.control.UpdateNode(control_pb2.UpdateNodeRequest(node="n1", availability=drained), timeout=PATIENCE_S)
            await until(lambda: not a.assignments and len(b.running()) == 4)
            active = number["AVAILABILITY_ACTIVE"].number
            await m.control.UpdateNode(control_pb2.UpdateNodeRequest(node="n1", availability=active), timeout=PATIENCE_S)
            await m.deploy(web(replicas=8))
            await until(lambda: len(a.running()) == 4)
            assert Availability.ACTIVE.value == "active"

    asyncio.run(scene())


def test_goodbye_moves_all_away_and_ends_with_a_farewell(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeAgent(m.address, "n2") as b:
            await m.deploy(web())
            await until(lambda: m.converged("web"))
            a.goodbye()
            await until(lambda: bool(a.farewell))
            assert not a.assignments
            await until(lambda: len(b.running()) == 4)

    asyncio.run(scene())


def test_the_last_node_may_leave_too(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await m.deploy(web(replicas=2))
            await until(lambda: m.converged("web"))
            a.goodbye()
            await until(lambda: bool(a.farewell))

    asyncio.run(scene())


def test_a_removed_app_leaves_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await m.deploy(web())
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)
            await m.control.RemoveApp(control_pb2.RemoveAppRequest(app="shop"), timeout=PATIENCE_S)

            async def gone() -> bool:
                return not (await m.control.ListApps(control_pb2.ListAppsRequest(), timeout=PATIENCE_S)).apps

            await until(gone)
            await until(lambda: not a.assignments and not proxy.routes)

    asyncio.run(scene())


def test_a_restarted_manager_takes_up_where_it_was(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m:
            agent = FakeAgent(m.address, "n1")
            port = int(m.address.rpartition(":")[2])
            async with agent:
                await m.deploy(web())
                await until(lambda: m.converged("web"))
                before = set(agent.assignments)
        async with manager(tmp_path, port=port) as m, agent:
            assert agent.sets_received >= 2
            assert set(agent.assignments) == before
            assert await m.converged("web")

    asyncio.run(scene())


def test_a_clock_that_was_set_back_between_two_managers_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        now = time.time
        with monkeypatch.context() as ahead:
            ahead.setattr("time.time", lambda: now() + 3600)
            async with manager(tmp_path) as m:
                agent, proxy = FakeAgent(m.address, "n1"), FakeProxy(m.address)
                port = int(m.address.rpartition(":")[2])
                async with agent, proxy:
                    await m.deploy(dataclasses.replace(web(replicas=2), drain_timeout_s=2.0))
                    await until(lambda: len(proxy.endpoints("shop/web:8080")) == 2)
                    proxy.in_flight = dict.fromkeys(agent.assignments, 1)
                    await m.control.Scale(control_pb2.ScaleRequest(app="shop", service="web", replicas=1), timeout=PATIENCE_S)
                    await until(lambda: len(proxy.endpoints("shop/web:8080")) == 1)
        async with manager(tmp_path, port=port), agent, proxy:
            assert len(agent.assignments) == 2
            await until(lambda: len(agent.assignments) == 1)  # its drain timeout has passed, whatever the clock says

    asyncio.run(scene())


@pytest.mark.parametrize("argument", [["--lease", "1", "--heartbeat", "1"], ["--lease", "nan"], ["--heartbeat", "-1"]])
def test_senseless_flags_are_refused(argument: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from rookery_manager.main import parse

    with pytest.raises(SystemExit) as exit_info:
        parse(argument)
    assert exit_info.value.code == 2
    assert "--lease" in capsys.readouterr().err or "--heartbeat" in argument[0]


def test_a_node_that_comes_late_gets_its_share_and_no_endpoint_is_missed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await m.deploy(web())
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 4)
            async with FakeAgent(m.address, "n2") as b:

                def is_even() -> bool:
                    assert len(proxy.endpoints("shop/web:8080")) >= 4
                    return len(a.running()) == len(b.running()) == 2

                await until(is_even)
                await until(lambda: m.converged("web"))

    asyncio.run(scene())
