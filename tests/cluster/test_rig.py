"""The rig itself: its hosts are real hosts, its faults real faults, and nothing of it is left behind."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rig import Rig, wait_until
from rig.image import IMAGE
from rig.ledger import Ledger
from rig.machine import run

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_a_host_can_be_cut_off_and_comes_back(engines: Rig) -> None:
    host = engines.hosts[0]
    client = host.engine.client
    page = ["sh", "-c", "echo here > /www/index.html; exec httpd -f -p 80 -h /www"]
    container = client.containers.run(IMAGE, page, detach=True, ports={"80/tcp": (host.address, None)})
    try:
        container.reload()
        address = (host.address, int(container.ports["80/tcp"][0]["HostPort"]))
        wait_until(lambda: _connects(address), within_s=10, what="the container to be reached from the gateway")
        host.cut()
        wait_until(lambda: not _connects(address), within_s=10, what="the host to be cut off")
        assert client.containers.get(container.id).status == "running"
        host.restore()
        wait_until(lambda: _connects(address), within_s=10, what="the host to be reached again")
    finally:
        host.restore()
        container.remove(force=True)


def test_a_killed_container_is_a_crash_to_its_engine(engines: Rig) -> None:
    engine = engines.hosts[1].engine
    container = engine.client.containers.run(IMAGE, detach=True)
    try:
        assert container.id in engine.started()
        engine.kill_container(container.id)
        wait_until(lambda: container.id not in engine.started(), within_s=10, what="the engine to see it end")
        assert engine.client.api.inspect_container(container.id)["State"]["ExitCode"] == 137
    finally:
        container.remove(force=True)


def test_an_engine_comes_back_after_it_was_killed(engines: Rig) -> None:
    engine = engines.hosts[2].engine
    engine.kill()
    assert not engine.ready()
    engine.start()
    engine.wait_ready()
    assert engine.client.images.get(IMAGE).id == engines.hosts[0].engine.client.images.get(IMAGE).id


def test_the_rig_of_a_killed_owner_is_taken_down(engines: Rig) -> None:
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-m", "rig", "up", "1"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        line = owner.stdout.readline()
        namespace = line.split("namespace ")[1].split()[0]
        assert namespace in run("ip", "netns", "list")
        owner.send_signal(signal.SIGKILL)
        owner.wait(timeout=10)
    assert namespace in run("ip", "netns", "list"), "the kill came too late to test anything"
    for abandoned in Ledger.abandoned():
        abandoned.take_down()
    assert namespace not in run("ip", "netns", "list")
    number = namespace.removeprefix("rk").removesuffix("h1")
    assert not Path(f"/var/tmp/rookery-rig-{number}").exists()
    assert f"/rookery-rig-{number}/" not in Path("/proc/self/mountinfo").read_text()
    assert engines.ledger.bridge in run("ip", "link", "show", "type", "bridge"), "a living rig was touched"


def _connects(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=0.5):
            return True
    except OSError:
        return False
