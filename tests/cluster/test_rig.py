"""The rig itself: its hosts are real hosts, its faults real faults, and nothing of it is left behind."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rig import Rig, clock, wait_until
from rig.image import IMAGE
from rig.ledger import Ledger
from rig.machine import in_namespace, run
from rookery.client import Client, ClientError

pytestmark = [pytest.mark.root, pytest.mark.docker]

ECHO = """
import contextlib, socket, sys
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
here.bind((sys.argv[1], 7))
while True:
    data, peer = here.recvfrom(9)
    with contextlib.suppress(PermissionError):  # what the kernel says of packets that are dropped on their way out
        here.sendto(data, peer)
"""


def test_a_host_can_be_cut_off_and_comes_back(engines: Rig) -> None:
    host = engines.hosts[0]
    client = host.engine.client
    page = ["sh", "-c", "echo here > /www/index.html; exec httpd -f -p 80 -h /www"]
    container = client.containers.run(IMAGE, page, detach=True, ports={"80/tcp": (host.address, None)})
    try:
        container.reload()
        address = (host.address, int(container.ports["80/tcp"][0]["HostPort"]))
        wait_until(lambda: _connects(address), within_s=30, what="the container to be reached from the gateway")
        host.cut()
        wait_until(lambda: not _connects(address), within_s=30, what="the host to be cut off")
        assert client.containers.get(container.id).status == "running"
        host.restore()
        wait_until(lambda: _connects(address), within_s=30, what="the host to be reached again")
    finally:
        host.restore()
        container.remove(force=True)


def test_a_killed_container_is_a_crash_to_its_engine(engines: Rig) -> None:
    engine = engines.hosts[1].engine
    container = engine.client.containers.run(IMAGE, detach=True)
    try:
        assert container.id in engine.started()
        engine.kill_container(container.id)
        wait_until(lambda: container.id not in engine.started(), within_s=30, what="the engine to see it end")
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


def test_a_link_can_be_cut_in_one_direction(engines: Rig) -> None:
    host = engines.hosts[0]
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.settimeout(0.2)
    here.bind((engines.gateway, 0))
    echo = subprocess.Popen(in_namespace(host.namespace, [sys.executable, "-c", ECHO, host.address]))
    try:
        wait_until(lambda: _echoes(here, host.address), within_s=30, what="an echo")
        for fault in (host.mute, host.deafen, lambda: host.lose(100)):
            fault()
            wait_until(lambda: not _echoes(here, host.address), within_s=30, what="the echo to end")
            host.restore()
            wait_until(lambda: _echoes(here, host.address), within_s=30, what="the echo to be back")
    finally:
        host.restore()
        echo.kill()
        echo.wait()
        here.close()


def test_a_frozen_engine_answers_nothing_and_its_containers_go_on(engines: Rig) -> None:
    engine = engines.hosts[3].engine
    container = engine.client.containers.run(IMAGE, detach=True)
    pid = engine.client.api.inspect_container(container.id)["State"]["Pid"]
    try:
        engine.freeze()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0.5)
            probe.connect(engine.url.removeprefix("unix://"))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                probe.recv(1)
        assert psutil.Process(pid).status() != psutil.STATUS_STOPPED
        engine.thaw()
        engine.wait_ready()
    finally:
        engine.thaw()
        container.remove(force=True)


def test_a_part_can_be_frozen_lose_its_disk_and_have_its_clock_set(engines: Rig) -> None:
    manager = engines.manager(name="faults", disk_bytes=8 * 2**20, own_clock=True)
    try:
        with (
            Client(manager.address, identity=manager.admin) as client,
            Client(manager.address, identity=manager.admin, timeout_s=1.0) as hasty,
        ):
            started_at = client.get_cluster().started_at
            manager.fill_disk()
            with pytest.raises(OSError, match="No space left"):
                (manager.data / "more").write_bytes(bytes(65536))
            manager.free_disk()
            manager.freeze()
            with pytest.raises(ClientError):
                hasty.get_cluster()
            manager.thaw()
            assert client.get_cluster().started_at == started_at
        if not clock.missing():
            manager.stop()
            manager.set_clock(86_400)
            manager.start()
            with Client(manager.address, identity=manager.admin) as client:
                assert client.get_cluster().started_at > started_at + 80_000
    finally:
        engines.discard(manager)


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


def _echoes(here: socket.socket, address: str) -> bool:
    try:
        here.sendto(b"x", (address, 7))
        return here.recv(1) == b"x"
    except OSError:
        return False


def _connects(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=0.5):
            return True
    except OSError:
        return False
