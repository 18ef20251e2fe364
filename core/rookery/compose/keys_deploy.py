"""The keys under `deploy:`."""

from rookery.compose import judges
from rookery.compose.schema import (
    COUNT,
    DURATION,
    PAIRS,
    SIZE,
    TEXT,
    ListOf,
    Number,
    Object,
    Text,
    Whole,
    no_effect,
    refused,
    works,
)

MODES = ("replicated", "global", "replicated-job", "global-job")
_GPU = "devices are not reserved by the scheduler yet"
_USE_LABELS = "label the nodes that have it, use placement.constraints, and pass device files through `devices:`"

RESOURCES = Object(
    keys={
        "limits": works(
            Object(
                keys={
                    "cpus": works(Number(), "cores that a replica may use"),
                    "memory": works(SIZE),
                    "pids": works(Whole(low=-1), "processes and threads in a replica; default 4096; 0 and -1 are no bound"),
                }
            )
        ),
        "reservations": works(
            Object(
                keys={
                    "cpus": works(Number(), "what the scheduler counts"),
                    "memory": works(SIZE, "what the scheduler counts"),
                    "generic_resources": refused("generic resources are not supported yet", _USE_LABELS),
                    "devices": refused(_GPU, _USE_LABELS),
                }
            )
        ),
    }
)

_UPDATE = {
    "parallelism": works(COUNT, "replicas replaced at a time; 0 is all at once; default 1"),
    "delay": works(DURATION, "between one group and the next"),
    "monitor": works(DURATION, "a new replica counts when it stayed ready for so long; default 5s"),
    "max_failure_ratio": works(Number(high=1.0)),
    "order": works(
        Text(choices=("start-first", "stop-first")),
        "default start-first; stop-first where two replicas can't be side by side: a port has `mode: host` and a published port,"
        " the only replica writes to a named volume, or `on_disconnect` is `stop`",
    ),
}

DEPLOY = Object(
    keys={
        "mode": works(Text(choices=MODES), "default replicated"),
        "endpoint_mode": works(Text(check=judges.endpoint_mode), "vip; dnsrr has no effect"),
        "replicas": works(Whole(high=10_000), "default 1"),
        "labels": works(PAIRS, "labels of the service, not of its containers"),
        "placement": works(
            Object(
                keys={
                    "constraints": works(
                        ListOf(item=Text(check=judges.constraint)),
                        f"`KEY == VALUE` or `KEY != VALUE`; keys are {judges.NODE_KEYS}",
                    ),
                    "preferences": works(
                        ListOf(item=Object(keys={"spread": works(Text(check=judges.node_key))}, required=("spread",))),
                        "what to spread over, the first first",
                    ),
                    "max_replicas_per_node": works(COUNT, "0 is no bound"),
                }
            )
        ),
        "resources": works(RESOURCES),
        "restart_policy": works(
            Object(
                keys={
                    "condition": works(Text(choices=("any", "on-failure", "none")), "default any; of jobs on-failure"),
                    "delay": works(DURATION, "default: at once, then 1, 2, 4 … 60 s"),
                    "max_attempts": works(COUNT, "0 is no bound"),
                    "window": works(DURATION, "a quiet time that resets the count; default 60s"),
                }
            )
        ),
        "update_config": works(
            Object(
                keys={
                    **_UPDATE,
                    "failure_action": works(Text(choices=("rollback", "pause", "continue")), "default rollback"),
                }
            )
        ),
        "rollback_config": works(
            Object(keys={**_UPDATE, "failure_action": works(Text(choices=("pause", "continue")), "default pause")})
        ),
    }
)

LEGACY_RESOURCES = {
    "cpus": works(Number(), "as deploy.resources.limits.cpus"),
    "cpu_count": works(COUNT, "as deploy.resources.limits.cpus"),
    "cpu_quota": works(Whole(low=-1), "with cpu_period, as deploy.resources.limits.cpus"),
    "cpu_period": works(COUNT, "in µs, default 100000"),
    "mem_limit": works(SIZE, "as deploy.resources.limits.memory"),
    "mem_reservation": works(SIZE, "as deploy.resources.reservations.memory"),
    "pids_limit": works(Whole(low=-1), "as deploy.resources.limits.pids"),
    "cpu_percent": no_effect(Number(), "it is for Windows", "use deploy.resources.limits.cpus"),
    "cpu_shares": no_effect(Number(), "CPU is shared by reservations and limits", "use deploy.resources"),
    "cpu_rt_period": no_effect(TEXT, "real-time scheduling is not set"),
    "cpu_rt_runtime": no_effect(TEXT, "real-time scheduling is not set"),
    "cpuset": no_effect(TEXT, "nodes differ in their cores", "use deploy.resources.limits.cpus"),
    "memswap_limit": no_effect(TEXT, "swap is left to the engine"),
    "mem_swappiness": no_effect(TEXT, "swap is left to the engine"),
    "scale": works(Whole(high=10_000), "as deploy.replicas"),
}
