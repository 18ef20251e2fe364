"""Where runtimes under test put the secrets and configs of replicas: where an agent would."""

import tempfile
from pathlib import Path

from rookery_agent.runtime.files import ReplicaFiles, in_memory


def files_of(node_id: str) -> ReplicaFiles:
    return in_memory(node_id, wanted=None, fallback=Path(tempfile.gettempdir()) / "rookery-files")
