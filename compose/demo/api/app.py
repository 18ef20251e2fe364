"""The api: counts every call in the store, which it finds by its name."""

import json
import os
import urllib.request

from answer import serve, whoami

STORE = os.environ.get("STORE_URL", "http://store:8000/store")


def answer(_method: str, path: str) -> tuple[int, dict[str, object]]:
    if path == "/api/health":
        return 200, {"healthy": True}
    try:
        with urllib.request.urlopen(STORE, data=b"", timeout=1) as response:
            count = json.load(response)["count"]
    except (OSError, ValueError, KeyError) as error:
        return 503, {**whoami(), "error": f"the store is away: {error}"}
    return 200, {**whoami(), "count": count}


serve(answer)
