"""The keys of a service."""

from rookery.compose import forms, judges
from rookery.compose.keys_deploy import DEPLOY, LEGACY_RESOURCES
from rookery.compose.keys_rookery import ROOKERY
from rookery.compose.schema import (
    DURATION,
    FLAG,
    PAIRS,
    PATH,
    SIZE,
    TEXT,
    TEXT_OR_TEXTS,
    TEXTS,
    Anything,
    Command,
    FileMode,
    ListOf,
    Named,
    Object,
    Text,
    Whole,
    no_effect,
    refused,
    works,
)

_LIMIT = Whole(low=-1, high=2**62)
_FILE = Object(
    keys={
        "source": works(TEXT, "the key under the top-level `secrets:` or `configs:`"),
        "target": works(TEXT, "where it appears; default /run/secrets/NAME, or /NAME for a config"),
        "uid": works(TEXT),
        "gid": works(TEXT),
        "mode": works(FileMode(), "default 0444"),
    },
    required=("source",),
    expand=forms.source,
)
_FILES = ListOf(item=_FILE, expand=forms.source, unique=forms.target_key)

PORT = Object(
    keys={
        "target": works(Text(check=judges.port, what="a port"), "the container's port"),
        "published": works(
            Text(check=judges.published, what="a port"), "where it is reached from outside; default any free port"
        ),
        "protocol": works(Text(choices=("tcp", "udp"))),
        "mode": works(
            Text(choices=("ingress", "host")), "`ingress`: every proxy listens and balances; `host`: only the replica's node"
        ),
        "host_ip": works(Text(check=judges.address), "with `mode: host` only"),
        "app_protocol": works(
            Text(check=judges.app_protocol),
            "`http`, `grpc` (or `h2c`, `http2`: each call is balanced by itself) or `tcp`; default found from the first bytes",
        ),
        "name": no_effect(TEXT, "ports go by their number"),
    },
    required=("target",),
    what="a port",
)

VOLUME = Object(
    keys={
        "type": works(Text(choices=("volume", "bind", "tmpfs")), "npipe, cluster and image are refused"),
        "source": works(TEXT, "a volume of the top-level `volumes:`, or the path on the node"),
        "target": works(Text(check=judges.absolute_path)),
        "read_only": works(FLAG),
        "consistency": no_effect(TEXT, "it is for desktop machines"),
        "bind": works(
            Object(
                keys={
                    "propagation": works(Text(choices=("private", "rprivate", "shared", "rshared", "slave", "rslave"))),
                    "create_host_path": works(FLAG),
                    "recursive": no_effect(TEXT, "the engine's default holds"),
                    "selinux": no_effect(TEXT, "files are not relabelled"),
                }
            )
        ),
        "volume": works(
            Object(
                keys={
                    "nocopy": works(FLAG),
                    "subpath": works(TEXT),
                    "labels": no_effect(PAIRS, "labels are taken from the top-level volume"),
                }
            )
        ),
        "tmpfs": works(Object(keys={"size": works(SIZE), "mode": works(FileMode())})),
        "image": refused("image mounts are not supported", "copy the files into the service's image"),
    },
    required=("type", "target"),
)

_NETWORK_USE = Object(
    keys={
        "aliases": works(TEXTS, "further names of the service on this network"),
        "ipv4_address": works(Text(check=judges.address), "on an external network only"),
        "ipv6_address": works(Text(check=judges.address), "on an external network only"),
        "driver_opts": no_effect(PAIRS, "options are taken from the top-level network"),
        "interface_name": no_effect(TEXT, "interfaces are named by the engine"),
        "link_local_ips": no_effect(TEXTS, "addresses are given by each node's engine"),
        "mac_address": no_effect(TEXT, "addresses are given by each node's engine"),
        "priority": no_effect(TEXT, "networks are joined in the order written"),
        "gw_priority": no_effect(TEXT, "networks are joined in the order written"),
    }
)

HEALTHCHECK = Object(
    keys={
        "test": works(
            ListOf(item=TEXT, whole=forms.health_test, replace=True),
            "`[CMD, …]`, `[CMD-SHELL, text]`, `[NONE]` or a text for the shell",
        ),
        "disable": works(FLAG),
        "interval": works(DURATION, "default 5s"),
        "timeout": works(DURATION, "default 5s"),
        "retries": works(Whole(low=1), "default 3"),
        "start_period": works(DURATION),
        "start_interval": works(DURATION, "default 1s"),
    }
)

_BUILD_KEYS = """
    additional_contexts args cache_from cache_to context dockerfile dockerfile_inline entitlements extra_hosts isolation labels
    network no_cache platforms privileged provenance pull sbom secrets shm_size ssh tags target ulimits
"""
BUILD = Object(keys={key: works(Anything()) for key in _BUILD_KEYS.split()}, expand=forms.build)

SERVICE = Object(
    keys={
        **LEGACY_RESOURCES,
        "annotations": no_effect(PAIRS, "annotations are not passed to the engine", "use labels"),
        "attach": no_effect(TEXT, "nothing is attached to", "use rookery logs -f"),
        "blkio_config": no_effect(Anything(), "block I/O is not limited"),
        "build": no_effect(BUILD, "nothing is built on a cluster, `image` is pulled", "build and push it first"),
        "cap_add": works(TEXTS),
        "cap_drop": works(TEXTS),
        "cgroup": no_effect(Text(choices=("host", "private")), "the engine's default holds"),
        "cgroup_parent": works(TEXT),
        "command": works(Command()),
        "configs": works(_FILES),
        "container_name": no_effect(
            TEXT, "containers are named APP-SERVICE-SLOT-ID; the name is kept as a network alias", "use the service's name"
        ),
        "credential_spec": refused("Windows credentials are not supported"),
        "depends_on": works(
            Named(
                value=Object(
                    keys={
                        "condition": works(
                            Text(choices=("service_started", "service_healthy", "service_completed_successfully")),
                            "default service_started",
                        ),
                        "restart": works(FLAG, "restart this service when that one was updated"),
                        "required": works(FLAG),
                    }
                ),
                from_list={"condition": "service_started"},
            )
        ),
        "deploy": works(DEPLOY),
        "develop": no_effect(Anything(), "it is for development on one machine"),
        "device_cgroup_rules": no_effect(TEXTS, "only `devices:` are allowed"),
        "devices": works(
            ListOf(
                item=Object(
                    keys={"source": works(TEXT), "target": works(TEXT), "permissions": works(TEXT, "of r, w and m")},
                    required=("source",),
                    expand=forms.device,
                ),
                expand=forms.device,
                unique=forms.target_key,
            ),
            "the node must have them",
        ),
        "dns": works(ListOf(item=Text(check=judges.address), single=True)),
        "dns_opt": works(TEXTS),
        "dns_search": works(TEXT_OR_TEXTS),
        "domainname": works(TEXT),
        "entrypoint": works(Command()),
        "env_file": works(
            ListOf(
                item=Object(
                    keys={
                        "path": works(PATH),
                        "required": works(FLAG),
                        "format": works(Text(choices=("raw",)), "`raw`: values as they are"),
                    },
                    required=("path",),
                    expand=forms.path_of,
                ),
                single=True,
                expand=forms.path_of,
            )
        ),
        "environment": works(PAIRS, "a name alone takes the value from where rookery runs"),
        "expose": works(ListOf(item=TEXT), "ports that replicas can be reached at inside the cluster"),
        "extends": works(
            Object(
                keys={"service": works(TEXT), "file": works(PATH)}, required=("service",), expand=forms.extends, extensions=False
            )
        ),
        "external_links": refused("links to containers of others are not possible", "share a network that is `external: true`"),
        "extra_hosts": works(ListOf(item=TEXT, whole=forms.hosts), "NAME:ADDRESS; `host-gateway` is the node"),
        "gpus": refused(
            "GPUs are not reserved by the scheduler yet", "label the nodes, use placement.constraints and `devices:`"
        ),
        "group_add": works(TEXTS),
        "healthcheck": works(HEALTHCHECK),
        "hostname": works(TEXT),
        "image": works(Text(check=judges.image)),
        "init": works(FLAG),
        "ipc": works(Text(check=judges.ipc), "host, private, shareable or none"),
        "isolation": no_effect(TEXT, "it is for Windows"),
        "label_file": works(ListOf(item=PATH, single=True)),
        "labels": works(PAIRS),
        "links": works(TEXTS, "SERVICE:ALIAS gives the service that alias on its networks"),
        "logging": works(Object(keys={"driver": works(TEXT), "options": works(PAIRS)}, only_same="driver")),
        "mac_address": no_effect(TEXT, "addresses are given by each node's engine"),
        "models": refused("models are not supported", "run the model as a service"),
        "network_mode": works(Text(check=judges.network_mode), "host or none; bridge has no effect"),
        "networks": works(Named(value=_NETWORK_USE, from_list={})),
        "oom_kill_disable": no_effect(FLAG, "a replica out of memory is restarted"),
        "oom_score_adj": works(Whole(low=-1000, high=1000)),
        "pid": works(Text(check=judges.pid), "host or private"),
        "platform": works(Text(check=judges.platform)),
        "ports": works(ListOf(item=PORT, expand=forms.port, unique=forms.port_key)),
        "post_start": refused("hooks are not supported yet", "do it in the container's entrypoint"),
        "pre_stop": refused("hooks are not supported yet", "do it in the container, on its stop signal"),
        "privileged": works(FLAG),
        "profiles": works(TEXTS),
        "provider": refused("services of other providers can't be run on a cluster"),
        "pull_policy": works(Text(check=judges.pull_policy), "always, never or missing (default)"),
        "pull_refresh_after": no_effect(TEXT, "images are pulled when a replica is made"),
        "read_only": works(FLAG),
        "restart": works(Text(check=judges.restart), "deploy.restart_policy goes before it; default always"),
        "runtime": no_effect(TEXT, "the engine's default runtime is used"),
        "secrets": works(_FILES),
        "security_opt": works(TEXTS),
        "shm_size": works(SIZE),
        "stdin_open": works(FLAG),
        "stop_grace_period": works(DURATION, "default 10s"),
        "stop_signal": works(Text(check=judges.stop_signal)),
        "storage_opt": no_effect(PAIRS, "storage is the engine's"),
        "sysctls": works(PAIRS),
        "tmpfs": works(TEXT_OR_TEXTS, "TARGET or TARGET:size=64m,mode=1777"),
        "tty": works(FLAG),
        "ulimits": works(
            Named(
                value=Object(
                    keys={"soft": works(_LIMIT), "hard": works(_LIMIT)},
                    required=("soft", "hard"),
                    expand=forms.ulimit,
                )
            )
        ),
        "use_api_socket": refused("replicas don't get the engine's socket this way", "mount /var/run/docker.sock if it must be"),
        "user": works(TEXT),
        "userns_mode": works(TEXT),
        "uts": no_effect(TEXT, "the engine's default holds"),
        "volumes": works(ListOf(item=VOLUME, expand=forms.volume, unique=forms.target_key)),
        "volumes_from": refused(
            "volumes can't be taken from another container: it needs both containers on one node",
            "name a volume and mount it in both",
        ),
        "working_dir": works(Text(check=judges.absolute_path)),
        "x-rookery": works(ROOKERY),
    }
)
