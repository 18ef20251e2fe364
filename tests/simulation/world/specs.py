"""What operators deploy: an app of a few services of different kinds, drawn anew each time."""

import random
from dataclasses import replace

from rookery.model import (
    AppSpec,
    Autoscale,
    BlueGreen,
    Canary,
    CommandProbe,
    ContainerSpec,
    FailureAction,
    Global,
    HttpRoute,
    ImageProbe,
    NoProbe,
    OnDisconnect,
    Placement,
    Port,
    ProbeTiming,
    Replicated,
    Rolling,
    ScaleMetric,
    ScalePace,
    ScaleTarget,
    ServiceSpec,
    UpdateConfig,
    UpdateOrder,
)

APP = "shop"
SCALED = "scaled"
"""The service whose number follows its traffic."""
BAD = ("-missing", "-crashes", "-deaf")
_TIMING = ProbeTiming(interval_s=2.0, timeout_s=1.0, retries=3)


class Specs:
    """The app as it was deployed last, from which the next one differs a little."""

    def __init__(self, rng: random.Random, *, nodes: int, wants: tuple[str, ...] = ()) -> None:
        self._random = rng
        self._most = max(5, nodes)
        self._fit = min(self._most, 2 * nodes)  # of what may run twice on a node
        self._image = 0
        self.services: dict[str, ServiceSpec] = {}
        for name in dict.fromkeys(("web", *wants, *rng.sample(["api", "each", "one"], rng.randrange(1, 4)))):
            self.services[name] = self._first(name)

    def app(self) -> AppSpec:
        return AppSpec(name=APP, services=tuple(self.services.values()))

    def change(self, *, may_be_bad: bool) -> AppSpec:
        """Another image, other settings or another number of some service."""
        name = self._random.choice(list(self.services))
        spec = self.services[name]
        match self._random.randrange(5):
            case 0 if isinstance(spec.mode, Replicated):
                spec = replace(spec, mode=Replicated(replicas=self._count(name)))
            case 1:
                spec = replace(spec, drain_timeout_s=self._random.choice([2.0, 5.0, 15.0]))
            case _:
                image = self._next_image(name)
                bad = may_be_bad and self._random.random() < 0.25
                image += self._random.choice(BAD) if bad else ""
                spec = replace(spec, container=replace(spec.container, image=image), strategy=self._strategy(name))
        self.services[name] = spec
        return self.app()

    def mend(self) -> AppSpec:
        """All that is wanted can be had, and is another image than before where that was none."""
        for name, spec in self.services.items():
            if any(mark in spec.container.image for mark in BAD):
                self.services[name] = replace(spec, container=replace(spec.container, image=self._next_image(name)))
        return self.app()

    def drop(self) -> AppSpec:
        """One service fewer, which comes back with a later change."""
        if len(self.services) > 1:
            del self.services[self._random.choice([name for name in self.services if name != "web"])]
        else:
            self.services["one"] = self._first("one")
        return self.app()

    def _first(self, name: str) -> ServiceSpec:
        rng = self._random
        spec = ServiceSpec(
            name=name,
            container=ContainerSpec(image=self._next_image(name), stop_grace_period_s=rng.choice([1.0, 3.0])),
            mode=Replicated(replicas=self._count(name)),
            update=self._update(FailureAction.ROLLBACK, UpdateOrder.START_FIRST),
            rollback=self._update(FailureAction.PAUSE, UpdateOrder.START_FIRST),
            drain_timeout_s=rng.choice([2.0, 5.0, 15.0]),
            probe=rng.choice([ImageProbe(), NoProbe(), CommandProbe(args=("check",), timing=_TIMING)]),
        )
        match name:
            case "web":
                return replace(spec, ports=(Port(target=80, published=8080),), strategy=self._strategy(name))
            case "api":
                most = Placement(max_replicas_per_node=rng.choice([0, 0, 2]))
                return replace(spec, routes=(HttpRoute(target=80, host="api.example"),), placement=most)
            case "each":
                return replace(spec, mode=Global(), ports=(Port(target=80, published=8081),))
            case "scaled":
                return replace(spec, ports=(Port(target=80, published=8083),), autoscale=self._policy())
        order = UpdateOrder.STOP_FIRST
        return replace(
            spec,
            ports=(Port(target=80, published=8082),),
            on_disconnect=OnDisconnect.STOP,
            on_disconnect_after_s=rng.choice([0.0, 2.0]),
            update=self._update(FailureAction.ROLLBACK, order),
            rollback=self._update(FailureAction.PAUSE, order),
        )

    def _update(self, action: FailureAction, order: UpdateOrder) -> UpdateConfig:
        monitor_s = self._random.choice([0.0, 1.0, 5.0])
        parallelism = self._random.randrange(3)
        return UpdateConfig(
            parallelism=parallelism, order=order, monitor_s=monitor_s, failure_action=action, progress_deadline_s=30.0
        )

    def _strategy(self, name: str) -> Rolling | BlueGreen | Canary:
        if name != "web":
            return Rolling()
        choices = (Rolling(), Rolling(), BlueGreen(keep_s=5.0), Canary(steps=(20, 60, 100), interval_s=3.0, min_requests=0))
        return self._random.choice(choices)

    def _policy(self) -> Autoscale:
        return Autoscale(
            minimum=self._random.choice([0, 0, 1, 2]),
            maximum=self._random.randint(3, 8),
            targets=(ScaleTarget(metric=ScaleMetric.CONCURRENCY, value=4.0),),
            down=ScalePace(window_s=6.0, most_percent=50, per_s=3.0),
            idle_s=8.0,
        )

    def _count(self, name: str) -> int:
        most = 2 if name == "one" else self._fit if name == "api" else self._most
        return self._random.randrange(1, most + 1)

    def _next_image(self, name: str) -> str:
        self._image += 1
        return f"{name}:{self._image}"
