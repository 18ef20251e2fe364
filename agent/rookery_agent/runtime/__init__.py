"""What runs a replica: Docker, or plain processes. One protocol, one contract suite."""

from rookery_agent.runtime.protocol import (
    EngineAway,
    ImageMissing,
    Instance,
    InstanceState,
    LogLine,
    Runtime,
    RuntimeEvent,
    RuntimeFailure,
)

__all__ = [
    "EngineAway", "ImageMissing", "Instance", "InstanceState", "LogLine", "Runtime", "RuntimeEvent", "RuntimeFailure",
]  # fmt: skip
