"""The service that the roll-out tests move from revision to revision, and what they ask of it."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cluster import PORT, Cluster
from load import KINDS, Kind, Load
from rig import Host
from rig.image import IMAGE, WEB_SERVER
from rookery.client import ClientError
from rookery.model import UNDER_WAY, Rollout

REPLICAS = 20
UPDATE = {"parallelism": 5, "monitor": "1s"}
ENOUGH = 400  # requests, after which each of twenty replicas has had some
AT_ONCE = {"parallelism": REPLICAS, "monitor": "0s"}


class Shop:
    """The service on a cluster with two proxies."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.urls = [f"http://{address}:{PORT}" for address in cluster.addresses]
        self._numbers = itertools.count(1)

    def compose(
        self,
        *,
        image: str = IMAGE,
        command: list[str] | None = None,
        environment: Mapping[str, str] | None = None,
        rollout: Mapping[str, Any] | None = None,
        update: Mapping[str, Any] = UPDATE,
        retries: int = 3,
    ) -> str:
        """A compose file with a revision that has not been there before; what is given makes it a good or a bad one."""
        web = {
            "image": image,
            "stop_signal": "SIGKILL",  # what is still in flight then is lost: so nothing may be
            "command": command or WEB_SERVER,
            "environment": {"NUMBER": str(next(self._numbers)), **(environment or {})},
            "ports": [f"{PORT}:8000"],
            "deploy": {"replicas": REPLICAS, "update_config": dict(update), "rollback_config": dict(update)},
            "x-rookery": {
                "health": {
                    "http": {"port": 8000, "path": "/health"},
                    "interval": "2s",
                    "start_interval": "100ms",
                    "retries": retries,
                },
                **({"rollout": dict(rollout)} if rollout else {}),
            },
        }
        return json.dumps({"services": {"web": web}})  # which is YAML, too

    @contextmanager
    def load(self, *, kinds: Sequence[Kind] = KINDS, may_fail: bool = False) -> Iterator[Load]:
        """Requests of every kind through every proxy; every part's log where something goes wrong."""
        try:
            with Load(self.urls, kinds=kinds, may_fail=may_fail) as load:
                yield load
        except BaseException:
            self.cluster.tell()
            raise

    def settle(self) -> dict[str, str]:
        """Twenty good replicas on four nodes, wherever the test before left them; when each container was started."""
        for host in self.cluster.hosts:
            self.cluster.activate(host)
        at_rest = self.cluster.converged() and len(self.cluster.started()) == REPLICAS
        if not at_rest or len(self.cluster.ready_on()) < len(self.cluster.hosts):
            self.cluster.apply(self.compose(update=AT_ONCE))
            self.wait_converged(what="twenty replicas to be ready")
        return self.cluster.started()

    def wait_all_served(self, load: Load) -> set[str]:
        """Until each of the replicas that are ready now has had its requests; their ids."""
        ready = {replica.id for replica in self.cluster.replicas() if replica.ready}
        load.wait(ENOUGH)
        return ready

    @property
    def revision(self) -> int:
        return self.cluster.client.get_service("shop", "web").status.service.revision

    @property
    def rollout(self) -> Rollout:
        rollout = self.cluster.client.get_service("shop", "web").status.service.rollout
        assert rollout is not None
        return rollout

    def wait_converged(self, *, what: str, within_s: float = 60) -> None:
        """Until all is as wanted, by the manager's word and the engines'."""
        cluster = self.cluster

        def done() -> bool:
            if not cluster.converged():
                return False
            wanted = sum(service.wanted for service in cluster.client.list_services("shop"))
            return len(cluster.started()) == wanted

        cluster.wait(done, what=what, within_s=within_s)

    def wait_over(self, *, within_s: float = 60) -> Rollout:
        """The rollout as it ended: done, rolled back or paused, and nothing left to do."""
        self.cluster.wait(self._is_over, what="the rollout to be over", within_s=within_s)
        self.wait_converged(what="nothing to be left of it")
        return self.rollout

    def _is_over(self) -> bool:
        try:
            return self.rollout.state not in UNDER_WAY
        except ClientError:  # the manager is not back yet
            return False

    def containers_on(self, host: Host) -> int:
        return len(self.cluster.started([host]))
