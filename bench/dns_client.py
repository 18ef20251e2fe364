"""A client that finds a service by Docker's DNS before every request: python dns_client.py NAME PORT FAST SLOW PAUSE_MS

FAST connections ask for /, SLOW ones for /slow. Runs in the network namespace of a container on the service's network. Prints
`answered` after the first answer, and when its standard input has a line, what became of all requests. Any answer but 200 within
10 s counts as failed.
"""

import http.client
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter

DNS = ("127.0.0.11", 53)
DEADLINE_S = 10.0


def main() -> None:
    name, port, fast, slow, pause_ms = sys.argv[1], *map(int, sys.argv[2:])
    ended, answered = threading.Event(), threading.Event()
    counts: list[Counter[str]] = [Counter() for _ in range(fast + slow)]

    def run(counted: Counter[str], path: str) -> None:
        while not ended.wait(pause_ms / 1000):
            why = ask(name, port, path)
            counted[why] += 1
            if not why and not answered.is_set():
                answered.set()
                print("answered", flush=True)

    paths = ["/"] * fast + ["/slow"] * slow
    threads = [threading.Thread(target=run, args=one) for one in zip(counts, paths, strict=True)]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    ended.set()
    for thread in threads:
        thread.join()
    total = sum(counts, Counter())
    failed = {why: count for why, count in total.items() if why}
    print(json.dumps({"sent": total.total(), "failed": sum(failed.values()), "reasons": failed}))


def ask(name: str, port: int, path: str) -> str:
    """Why a request failed; empty where it did not."""
    deadline = time.monotonic() + DEADLINE_S
    try:
        address = resolve(name)
        connection = http.client.HTTPConnection(address, port, timeout=max(0.1, deadline - time.monotonic()))
        try:
            connection.request("POST", path)
            response = connection.getresponse()
            response.read()
            return "" if response.status == 200 else f"status {response.status}"
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def resolve(name: str) -> str:
    """The first address that Docker's DNS tells; it turns them round. Raises OSError where there is none."""
    number = random.randrange(1 << 16)
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S / 2)
        sock.sendto(struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question + struct.pack(">2H", 1, 1), DNS)
        answer = sock.recv(4096)
    _, _, _, answers, _, _ = struct.unpack(">6H", answer[:12])
    at = 12 + len(question) + 4
    for _ in range(answers):
        at += 2 if answer[at] >= 0xC0 else answer.index(b"\0", at) + 1 - at
        kind, _, _, length = struct.unpack(">HHIH", answer[at : at + 10])
        at += 10
        if kind == 1:
            return socket.inet_ntoa(answer[at : at + 4])
        at += length
    raise OSError("no address")


if __name__ == "__main__":
    main()
