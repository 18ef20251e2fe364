"""How a replica's health is asked for."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTiming:
    """Seconds. The defaults are Compose's, but for the interval: 30 s there, which would make every start that slow.

    Within `start_period_s` failures do not count and probes come every `start_interval_s`, until the first success.
    """

    interval_s: float = 5.0
    timeout_s: float = 5.0
    retries: int = 3
    start_period_s: float = 0.0
    start_interval_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandProbe:
    """Runs in the container, without a shell; exit status 0 is healthy."""

    args: tuple[str, ...]
    timing: ProbeTiming = field(default_factory=ProbeTiming)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """GET from the agent; a status within the bounds (inclusive) is healthy."""

    port: int
    path: str = "/"
    status_min: int = 200
    status_max: int = 399
    timing: ProbeTiming = field(default_factory=ProbeTiming)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """A connection from the agent; one that is accepted is healthy."""

    port: int
    timing: ProbeTiming = field(default_factory=ProbeTiming)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProbe:
    """The image's own HEALTHCHECK, with its own timing; an image without one is healthy when it runs."""

    timing: ProbeTiming = field(default_factory=ProbeTiming)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoProbe:
    """Healthy when it runs."""


Probe = CommandProbe | HttpProbe | TcpProbe | ImageProbe | NoProbe
