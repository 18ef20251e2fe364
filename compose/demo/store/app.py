"""The store: one number in a file on a volume, one higher with every POST. What it answered survives its death."""

import os
import sys
import threading
import urllib.request
from pathlib import Path

from answer import serve, whoami

FILE = Path(os.environ.get("STORE_FILE", "/data/count"))
_one_at_a_time = threading.Lock()


def read() -> int:
    return int(FILE.read_text()) if FILE.exists() else 0


def increment() -> int:
    with _one_at_a_time:
        count = read() + 1
        new = FILE.with_suffix(".new")
        with new.open("w") as file:
            file.write(str(count))
            file.flush()
            os.fsync(file.fileno())
        new.replace(FILE)
        return count


def answer(method: str, _path: str) -> tuple[int, dict[str, object]]:
    return 200, {**whoami(), "count": increment() if method == "POST" else read()}


if sys.argv[1:] == ["check"]:
    urllib.request.urlopen("http://127.0.0.1:8000/store", timeout=2).close()
else:
    FILE.parent.mkdir(parents=True, exist_ok=True)
    serve(answer)
