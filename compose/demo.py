"""`make demo`: a cluster comes up, an app is deployed, a node dies, and the requests go on.

python compose/demo.py [--runtime auto|docker|process]
python compose/demo.py --remove-images
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from as_processes import Processes
from in_containers import APP, Containers, remove_images, why_not
from rookery.client import Client, ClientError
from rookery.model import NodeState, is_ended
from traffic import Answer, Background, longest_gap_s, send, spread

NODES = 3
REQUESTS = 300
HOST = "127.0.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=["auto", "docker", "process"], default="auto", help="(%(default)s)")
    parser.add_argument("--remove-images", action="store_true", help="only remove the images that earlier demos left")
    options = parser.parse_args()
    if options.remove_images:
        return remove_images() if not why_not() else None
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        run(choose(options.runtime))
    except KeyboardInterrupt:
        sys.exit("interrupted; everything was cleaned up")
    except (RuntimeError, ClientError) as error:
        sys.exit(f"demo: {error}")


def choose(runtime: str) -> Containers | Processes:
    """The kind of cluster that this machine can run."""
    ports = free_port(7070), free_port(8080)
    why = why_not() if runtime != "process" else ""
    if runtime == "process" or (runtime == "auto" and why):
        say(f"Runtime: plain processes, {f'because {why}' if why else 'as you asked'}.")
        return Processes(*ports)
    if why:
        raise RuntimeError(f"no containers here: {why}. Use --runtime process (make demo RUNTIME=process)")
    say("Runtime: Docker containers; the agents share this machine's engine, each with containers of its own.")
    return Containers(*ports)


def run(cluster: Containers | Processes) -> None:
    if isinstance(cluster, Containers):
        say("Building the images (the first time takes about a minute)")
        began = time.monotonic()
        cluster.build()
        print(f"  done in {time.monotonic() - began:.0f} s")
    try:
        cluster.start()
        os.environ["ROOKERY_CREDENTIAL"] = str(cluster.credential)  # the manager's admin, as 'rookery' finds it
        with Client(cluster.manager) as client:
            show(cluster, client)
    except (RuntimeError, ClientError):
        print(f"\nWhat the parts said last:\n{cluster.logs()}", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
        say("Cleaning up")
        cluster.clean()
    kept = "; the images stay for the next time (make clean removes them)" if isinstance(cluster, Containers) else ""
    say(f"Done. Nothing is left running{kept}.")


def show(cluster: Containers | Processes, client: Client) -> None:
    say(f"A manager, {NODES} agents and a proxy are starting")
    until(lambda: ready_nodes(client) == NODES, 60, f"{NODES} nodes to be ready")
    rookery(cluster, "nodes")

    say(f"rookery deploy {' '.join(f'-f {file.relative_to(Path(__file__).parents[1])}' for file in cluster.files)}")
    rookery(cluster, "deploy", *(word for file in cluster.files for word in ("-f", str(file))))
    rookery(cluster, "ps", APP)

    say(f"{REQUESTS} requests to http://{HOST}:{cluster.port}/ through the proxy")
    until(lambda: not send(HOST, cluster.port, 1)[0].why, 30, "the proxy to answer")
    print(spread(send(HOST, cluster.port, REQUESTS)))

    victim = node_of(client, "store")
    say(f"SIGKILL to the agent of {victim}, which runs the store, and to all that it runs, while requests go on")
    with Background(HOST, cluster.port) as background:
        until(lambda: len(background.answers) >= 50, 30, "background requests")
        began = time.monotonic()
        killed = cluster.kill_node(victim, client)
        print(f"  {killed} replicas and their agent are dead")
        until(lambda: node_down(client, victim), 60, f"{victim} to be judged down")
        print(f"  {time.monotonic() - began:5.1f} s: {victim} is judged down")
        until(lambda: recovered(client, victim), 120, "all replicas to be ready elsewhere")
        recovery_s = time.monotonic() - began
        print(f"  {recovery_s:5.1f} s: every replica is ready again, on the other nodes")
        until(
            lambda: any(good(answer) and answer.at > began + recovery_s for answer in background.answers),
            30,
            "an answer with a count",
        )
    report(background.answers, began)

    say(f"{REQUESTS} requests after the recovery")
    print(spread(send(HOST, cluster.port, REQUESTS)))
    rookery(cluster, "rm", APP, "--yes")


def report(answers: list[Answer], killed_at: float) -> None:
    after = [answer for answer in answers if answer.at >= killed_at]
    failed = [answer for answer in after if answer.why]
    partly = [answer for answer in after if not answer.why and answer.count is None]
    gap_s = longest_gap_s(after)
    print(f"  requests since the kill: {len(after)}, failed: {len(failed)}, longest time without a good answer: {gap_s:.2f} s")
    print(f"  answered without the api's part while the store was moving: {len(partly)}")
    for why in sorted({answer.why for answer in failed}):
        print(f"    {sum(1 for answer in failed if answer.why == why)} x {why}")
    before = max(answer.count for answer in answers if answer.count is not None and answer.at < killed_at)
    last = max(answer.count for answer in after if answer.count is not None)
    if last <= before:
        raise RuntimeError(f"the store counted {before} before the kill and only {last} after it")
    print(f"  the store counted {before} before the kill and goes on at {last}: what it kept came along")


def good(answer: Answer) -> bool:
    return answer.count is not None


def ready_nodes(client: Client) -> int:
    try:
        return client.get_cluster().nodes_ready
    except ClientError:
        return 0  # the manager is still starting


def node_of(client: Client, service: str) -> str:
    return next(detail.node_name for detail in client.list_replicas(APP, service) if not is_ended(detail.replica.state))


def node_down(client: Client, name: str) -> bool:
    return any(detail.node.name == name and detail.node.state is NodeState.DOWN for detail in client.list_nodes())


def recovered(client: Client, dead: str) -> bool:
    """True when every service has all its replicas ready, none of them on the dead node."""
    status = client.get_app(APP)
    on_dead = any(detail.node_name == dead and detail.replica.ready for detail in client.list_replicas(APP))
    return status.converged and not on_dead and all(service.ready >= service.wanted for service in status.services)


def rookery(cluster: Containers | Processes, *arguments: str) -> None:
    """Runs the command line as a user would."""
    command = [str(Path(sys.executable).with_name("rookery")), "--manager", cluster.manager, *arguments]
    sys.stdout.flush()
    if subprocess.run(command, env={**os.environ, **cluster.environment}).returncode != 0:
        raise RuntimeError(f"rookery {' '.join(arguments)} failed")


def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {within_s:g} s for {what}, in vain")
        time.sleep(0.05)


def free_port(wanted: int) -> int:
    """The wanted port, or any other where that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("no port is free")


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    main()
