"""One call of a provider of ours, from standard input to the exit status."""

import json
import sys
from collections.abc import Callable
from typing import Any

from rookery_manager.providers.contract import Failed

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def serve(*, create: Answer, delete: Answer, list_nodes: Answer, errors: tuple[type[Exception], ...] = ()) -> None:
    asked = json.load(sys.stdin)
    actions = {"create": create, "delete": delete, "list": list_nodes}
    expected: tuple[type[Exception], ...] = (Failed, OSError, *errors)
    try:
        answer = actions[asked["action"]](asked)
    except expected as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
    json.dump(answer, sys.stdout)
