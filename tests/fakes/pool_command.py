"""A program for the provider `command` that keeps its machines as files, and misbehaves as the file `mode` says.

Run as a program with a directory: `mode` is one word for each action, as in `create=hang list=garbage`; `calls` has a line for
each call.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    home = Path(sys.argv[1])
    asked = json.load(sys.stdin)
    action, node = asked["action"], asked.get("node", {}).get("name", "")
    with (home / "calls").open("a") as calls:
        calls.write(f"{action} {node}\n")
    (home / f"asked-{action}").write_text(json.dumps(asked))
    mode = dict(word.split("=") for word in (home / "mode").read_text().split()).get(action, "well")
    machines = home / "machines"
    if mode == "fail":
        sys.exit("out of stock")
    if mode == "garbage":
        print("Creating...")
        return
    if mode == "hang":
        time.sleep(600)
    if action == "create" and mode != "lie":
        (machines / node).touch()
    if mode == "slow":
        time.sleep(3)
    if action == "delete":
        (machines / node).unlink(missing_ok=True)
    found = [{"id": f"i-{path.name}", "name": path.name} for path in sorted(machines.iterdir())]
    if mode == "twice":
        found = [*found, *({"id": f"j-{one['name']}", "name": one["name"]} for one in found)]
    if mode == "strange":
        found.append({"id": "i-99", "name": "other-9"})
    answers = {"create": {"id": "i-same" if mode == "same" else f"i-{node}"}, "delete": {}, "list": {"nodes": found}}
    print(json.dumps(answers[action]))


if __name__ == "__main__":
    main()
