"""The keys under `x-rookery:` of a service: what Compose has no word for."""

from rookery.compose import forms, judges
from rookery.compose.schema import DURATION, FLAG, ListOf, Object, Text, Whole, refused, works

_PORT = Text(check=judges.port, what="a port")
_NOT_YET = "is not supported yet"

HTTP = Object(
    keys={
        "host": works(Text(check=judges.host), "requests for this host; `*.example.org` for all below; default any"),
        "path": works(Text(check=judges.url_path), "requests whose path begins so; default any"),
        "port": works(_PORT, "the replica's port; default the only one of `ports:` or `expose:`"),
        "published": works(_PORT, "where the proxies listen; default 80"),
        "strip_path": works(FLAG, "take `path` off before passing a request on"),
    },
    extensions=False,
)

HEALTH = Object(
    keys={
        "http": works(
            Object(
                keys={
                    "port": works(_PORT, "default the only one of `ports:` or `expose:`"),
                    "path": works(Text(check=judges.url_path), "default /"),
                    "status": works(Text(check=judges.status), "`200` or `200-399`; default 200-399"),
                },
                extensions=False,
            ),
            "GET by the agent",
        ),
        "tcp": works(Object(keys={"port": works(_PORT)}, extensions=False), "a connection by the agent"),
        "interval": works(DURATION, "default 5s"),
        "timeout": works(DURATION, "default 5s"),
        "retries": works(Whole(low=1), "failures in a row; default 3"),
        "start_period": works(DURATION, "failures within it do not count"),
        "start_interval": works(DURATION, "the interval until the first success; default 1s"),
    },
    extensions=False,
)

ROOKERY = Object(
    keys={
        "http": works(ListOf(item=HTTP, single=True), "routes on the proxies' HTTP listener: one, or a list"),
        "health": works(HEALTH, "how the agent probes; goes before `healthcheck`"),
        "drain_timeout": works(DURATION, "how long requests in flight may take when a replica stops; default 30s"),
        "on_disconnect": works(
            Object(
                keys={
                    "action": works(Text(choices=("keep", "stop"))),
                    "after": works(DURATION, "how long the agent waits for its manager"),
                },
                required=("action",),
                expand=forms.disconnect,
                extensions=False,
            ),
            "what an agent does with replicas when it lost its manager: `keep` (default), `stop`, or `{action, after}`",
        ),
        "runtime": works(Text(choices=("docker", "process")), "`process` runs `command` without an engine"),
        "rebalance": works(Text(check=judges.rebalance), "`off` keeps replicas where they are when a node returns"),
        "autoscale": refused(_NOT_YET, "set deploy.replicas, or use rookery scale"),
        "rollout": refused(_NOT_YET, "use deploy.update_config"),
        "allow": refused(_NOT_YET, "share a network that is `external: true`"),
    },
    extensions=False,
)
