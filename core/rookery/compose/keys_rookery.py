"""The keys under `x-rookery:` of a service: what Compose has no word for."""

from rookery.compose import forms, judges
from rookery.compose.schema import COUNT, DURATION, FLAG, PAIRS, TEXT, ListOf, Number, Object, Text, Whole, works

_PORT = Text(check=judges.port, what="a port")
_AMOUNT = Number(low=0.001)

_EDIT = Object(
    keys={
        "set": works(PAIRS, "in the place of those with that name"),
        "remove": works(ListOf(item=TEXT, single=True, replace=True)),
    },
    extensions=False,
)

HTTP = Object(
    keys={
        "host": works(Text(check=judges.host), "requests for this host; `*.example.org` for all below; default any"),
        "path": works(Text(check=judges.url_path), "requests whose path begins so; default any"),
        "port": works(_PORT, "the replica's port; default the only one of `ports:` or `expose:`"),
        "published": works(_PORT, "where the proxies listen; default 80, with `tls` or `acme` 443"),
        "tls": works(FLAG, "the proxies speak TLS there, with their certificates (`rookery-proxy --certificates`)"),
        "acme": works(FLAG, "as `tls`, with a certificate for `host` that the manager gets and renews by ACME"),
        "strip_path": works(FLAG, "take `path` off before passing a request on"),
        "http2": works(FLAG, "clients and replicas speak HTTP/2, as gRPC does; each call is balanced by itself"),
        "methods": works(ListOf(item=TEXT, single=True, replace=True), "requests with one of these methods only"),
        "headers": works(PAIRS, "requests with all of these headers only; the value `*` is any"),
        "rewrite": works(TEXT, "put this in the place of `path` before passing a request on"),
        "redirect": works(
            Object(
                keys={
                    "scheme": works(TEXT, "http or https"),
                    "host": works(TEXT),
                    "port": works(_PORT, "default none, which is the scheme's own, where `scheme` or `host` is given"),
                    "path": works(TEXT, "in the place of the route's `path`"),
                    "status": works(Whole(low=301, high=308), "301, 302, 303, 307 or 308; default 308"),
                },
                expand=forms.redirect,
                extensions=False,
            ),
            "send the client elsewhere; `https` alone is the scheme. What is left out stays as it was asked for",
        ),
        "request_headers": works(_EDIT, "change requests before they are passed on"),
        "response_headers": works(_EDIT, "change answers before they are passed on"),
        "basic_auth": works(
            ListOf(item=Text(what="a user as `rookery password NAME` prints one"), single=True, replace=True),
            "who may ask, by name and password; each as `rookery password NAME` prints it",
        ),
        "rate_limit": works(
            Object(
                keys={
                    "requests": works(Whole(low=1, high=1_000_000)),
                    "per": works(DURATION, "default 1s"),
                    "burst": works(Whole(low=1, high=1_000_000), "how many at once; default `requests`"),
                    "by": works(
                        Text(choices=("client", "route")), "`client`: each address for itself (default); `route`: all together"
                    ),
                },
                required=("requests",),
                extensions=False,
            ),
            "answer what is more with 429; each worker of each proxy counts for itself",
        ),
        "allow_from": works(
            ListOf(item=TEXT, single=True, replace=True),
            "addresses and networks that may ask; others get 403",
        ),
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

STRATEGIES = ("rolling", "blue-green", "canary")

ROLLOUT = Object(
    keys={
        "strategy": works(Text(choices=STRATEGIES), "default rolling"),
        "steps": works(
            ListOf(item=Text(check=judges.share, what="percent"), replace=True),
            "canary: the new revision's shares of the requests, rising; 100 is added; default 5, 25, 50, 100",
        ),
        "interval": works(DURATION, "canary: what a step takes at least; default 30s"),
        "min_requests": works(COUNT, "canary: what the new revision has to answer in a step; default 50"),
        "sticky": works(
            Object(
                keys={
                    "cookie": works(Text(check=judges.cookie), "by a cookie of this name"),
                    "header": works(Text(check=judges.header), "by a header of this name"),
                },
                extensions=False,
            ),
            "canary: a client stays with the revision that answered it first",
        ),
        "keep": works(DURATION, "blue-green: how long the old replicas are kept, for the way back; default 60s"),
        "progress_deadline": works(DURATION, "a new replica that is not ready by then has failed; default 10m"),
        "no_room": works(
            Text(choices=("fall-back", "wait")),
            "no node has room for an old replica and its replacement: the old one goes first (default), or it waits",
        ),
    },
    expand=forms.rollout,
    only_same="strategy",
    extensions=False,
)

BALANCE = Object(
    keys={
        "method": works(
            Text(choices=("two-choices", "round-robin", "least-in-flight", "hash")),
            "default two-choices: the one of two chosen at random that has less in flight",
        ),
        "by": works(Text(check=judges.hash_key), "hash: `client` (its address, the default), `header NAME` or `cookie NAME`"),
        "weight": works(Text(check=judges.node_key), "a node's property with its replicas' weight, such as node.labels.power"),
        "prefer": works(
            Text(check=judges.node_key),
            "a node's property: replicas that have it in common with the proxy go first, such as node.labels.zone",
        ),
        "slow_start": works(DURATION, "a new replica's share grows over that time; default 0s"),
        "max_in_flight": works(Whole(low=1, high=1_000_000), "of a replica, at each proxy; more wait; default no limit"),
        "queue": works(
            Object(
                keys={
                    "for": works(DURATION, "how long a request waits; default 5s"),
                    "most": works(
                        Whole(high=100_000), "how many wait, in each worker of a proxy; 0: they are refused at once; default 1000"
                    ),
                },
                extensions=False,
            ),
            "max_in_flight: requests that wait until a replica has less; beyond it they are answered 503",
        ),
    },
    expand=forms.balance,
    extensions=False,
)

_PACE = {
    "most": works(Text(check=judges.step, what="a number or percent"), "how much at a time: a number such as 4, or 50%"),
    "per": works(DURATION, "the time in which it changes by `most`"),
}

AUTOSCALE = Object(
    keys={
        "min": works(Whole(high=10_000), "default 1; 0 lets the last replica go when nothing is asked of it"),
        "max": works(Whole(low=1, high=10_000)),
        "target": works(
            Object(
                keys={
                    "concurrency": works(_AMOUNT, "requests in flight"),
                    "rps": works(_AMOUNT, "requests a second"),
                    "latency_p95": works(DURATION, "95 of 100 answers begin within it"),
                    "cpu": works(Text(check=judges.usage, what="percent"), "of the limit, else the reservation, else a core"),
                    "memory": works(Text(check=judges.usage, what="percent"), "of the limit, else of the reservation"),
                },
                extensions=False,
            ),
            "what one replica is to have of it; of several the one that calls for the most replicas decides",
        ),
        "tolerance": works(Text(check=judges.tolerance, what="percent"), "a difference that changes nothing; default 10%"),
        "up": works(
            Object(
                keys={"window": works(DURATION, "called for during all of it; default 0s: at once"), **_PACE}, extensions=False
            ),
            "default: at once, as many as it takes",
        ),
        "down": works(
            Object(keys={"window": works(DURATION, "not called for during all of it; default 60s"), **_PACE}, extensions=False),
            "default: after 60s, 50% per 30s",
        ),
        "schedules": works(
            ListOf(
                item=Object(
                    keys={
                        "cron": works(Text(check=judges.cron), "minute, hour, day of the month, month, day of the week"),
                        "time_zone": works(Text(check=judges.time_zone), "such as Europe/Berlin; default UTC"),
                        "min": works(Whole(high=10_000), "default as above"),
                        "max": works(Whole(low=1, high=10_000), "default as above"),
                    },
                    required=("cron",),
                    extensions=False,
                ),
                single=True,
                replace=True,
            ),
            "other bounds from a time on, until the time of another schedule comes",
        ),
        "idle": works(DURATION, "min 0: how long nothing is asked before the last replica goes; default 5m"),
        "hold": works(
            Object(
                keys={
                    "for": works(DURATION, "how long a request waits; default 60s"),
                    "most": works(Whole(low=1, high=100_000), "how many wait, in each worker of a proxy; default 5000"),
                },
                extensions=False,
            ),
            "min 0: requests that wait for a replica to start; beyond it they are answered 503",
        ),
    },
    required=("max", "target"),
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
        "balance": works(BALANCE, "how requests are shared out between replicas: a method by name, or a mapping"),
        "proxy_protocol": works(
            Text(choices=("v1", "v2")), "begin each TCP connection to a replica with a PROXY header that says who the client is"
        ),
        "runtime": works(Text(choices=("docker", "process")), "`process` runs `command` without an engine"),
        "rebalance": works(Text(check=judges.rebalance), "`off` keeps replicas where they are when a node returns"),
        "autoscale": works(AUTOSCALE, "the number of replicas follows what is asked of them; `deploy.replicas` is the start"),
        "rollout": works(ROLLOUT, "how a new revision takes over: a strategy by name, or a mapping"),
        "allow": works(
            ListOf(item=Text(check=judges.allowed), single=True),
            'whose replicas may reach what this service publishes, beside its own app\'s: `APP`, `APP/SERVICE` or `"*"` for all',
        ),
    },
    extensions=False,
)
