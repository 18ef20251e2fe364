"""Judgements of single texts: names, ports, constraints, signals, and the values that can't work on a cluster.

Invariant: pure; a judge returns None for what is right.
"""

import ipaddress
import re
import signal

from rookery.compose import units
from rookery.compose.schema import Fault

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}\Z")
APP_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")
_LABEL = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_CONSTRAINT = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9._/-]*)\s*(?P<sign>==|!=)\s*(?P<value>\S.*)\Z")
_NODE_KEY = re.compile(rf"node\.(id|hostname|platform\.os|platform\.arch|labels\.{_LABEL})\Z|engine\.labels\.{_LABEL}\Z")
NODE_KEYS = "node.id, node.hostname, node.platform.os, node.platform.arch, node.labels.NAME and engine.labels.NAME"


def name(text: str) -> Fault | None:
    """The name of a service, network, volume, secret or config."""
    if _NAME.match(text):
        return None
    return Fault(
        message=f"'{text}' is no valid name",
        hint="a name is up to 63 letters, digits, '.', '_' and '-', and begins with a letter or digit",
    )


def service_name(text: str) -> Fault | None:
    """It is part of the names of replicas, containers and hosts."""
    if APP_NAME.match(text):
        return None
    return Fault(
        message=f"'{text}' is no valid name of a service",
        hint="it is up to 63 lowercase letters, digits, '_' and '-', and begins with a letter or digit",
    )


def app_name(text: str) -> Fault | None:
    if APP_NAME.match(text):
        return None
    return Fault(
        message=f"'{text}' is no valid name of an app",
        hint="it is up to 63 lowercase letters, digits, '_' and '-', and begins with a letter or digit",
    )


def port(text: str) -> Fault | None:
    value = units.whole(text)
    if value is None:
        return Fault(message=f"expected a port, got '{text}'")
    return None if 1 <= value <= 65535 else Fault(message=f"expected a port from 1 to 65535, got {value}")


def published(text: str) -> Fault | None:
    if text in ("", "0"):
        return None
    if re.fullmatch(r"[0-9]+-[0-9]+", text):
        return Fault(
            message=f"'{text}' leaves open which port is published", hint="name one published port, or none for any free one"
        )
    return port(text)


def address(text: str) -> Fault | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return Fault(message=f"expected an IP address, got '{text}'")
    return None


def split_constraint(text: str) -> tuple[str, str, str] | None:
    """Key, sign and value of `node.labels.zone == a`."""
    found = _CONSTRAINT.match(text.strip())
    return (found["key"], found["sign"], found["value"].strip()) if found else None


def constraint(text: str) -> Fault | None:
    parts = split_constraint(text)
    if parts is None:
        return Fault(
            message=f"'{text}' is no constraint", hint="write KEY == VALUE or KEY != VALUE, such as node.labels.zone == a"
        )
    return node_key(parts[0])


def node_key(key: str) -> Fault | None:
    """A property of nodes that can be compared or spread over."""
    if _NODE_KEY.match(key):
        return None
    if key == "node.role":
        return Fault(
            message="nodes have no roles here: every one with an agent runs replicas", hint="label nodes and use node.labels.NAME"
        )
    return Fault(message=f"'{key}' is no property of a node", hint=f"known are {NODE_KEYS}")


def stop_signal(text: str) -> Fault | None:
    if text.isascii() and text.isdigit():
        return (
            None if len(text) < 3 and 1 <= int(text) <= 64 else Fault(message=f"expected a signal from 1 to 64, got {text[:20]}")
        )
    known = {member.name for member in signal.Signals}
    bare = text.upper().removeprefix("SIG")
    if f"SIG{bare}" in known or re.fullmatch(r"RTM(IN(\+[0-9]{1,2})?|AX(-[0-9]{1,2})?)", bare):
        return None
    return Fault(message=f"'{text}' is no signal", hint="such as SIGTERM, SIGINT or SIGQUIT")


def restart(text: str) -> Fault | None:
    if text in ("no", "always", "unless-stopped", "on-failure", "false"):
        return None
    if re.fullmatch(r"on-failure:[0-9]{1,9}", text):
        return None
    return Fault(message=f"expected no, always, on-failure, on-failure:N or unless-stopped, got '{text}'")


def network_mode(text: str) -> Fault | None:
    if text in ("host", "none"):
        return None
    if text in ("bridge", "default"):
        return Fault(message=f"has no effect: '{text}' is the app's own network here", is_warning=True)
    if text.startswith(("service:", "container:")):
        return Fault(
            message=f"'{text}' shares the network of one container, which may be on another node",
            hint="put both on a network and use the service's name, or make them one container",
        )
    return Fault(message=f"expected host, none or bridge, got '{text}'", hint="a network's name goes under `networks:`")


def _shared_namespace(text: str, known: tuple[str, ...]) -> Fault | None:
    if text in known:
        return None
    if text.startswith(("service:", "container:")):
        return Fault(
            message=f"'{text}' shares a namespace with one container, which may be on another node",
            hint="make them one container",
        )
    return Fault(message=f"expected {' or '.join(known)}, got '{text}'")


def ipc(text: str) -> Fault | None:
    return _shared_namespace(text, ("host", "private", "shareable", "none"))


def pid(text: str) -> Fault | None:
    return _shared_namespace(text, ("host", "private"))


def endpoint_mode(text: str) -> Fault | None:
    if text == "vip":
        return None
    if text == "dnsrr":
        return Fault(message="has no effect: a service's name always resolves to its ready replicas", is_warning=True)
    return Fault(message=f"expected vip or dnsrr, got '{text}'")


def pull_policy(text: str) -> Fault | None:
    if text in ("always", "never", "missing", "if_not_present"):
        return None
    if text == "build":
        return Fault(message="nothing is built on a cluster", hint="build and push the image, then use missing or always")
    if text in ("refresh", "daily", "weekly") or text.startswith("every_"):
        return Fault(message=f"'{text}' works as 'missing': images are pulled when a replica is made", is_warning=True)
    return Fault(message=f"expected always, never or missing, got '{text}'")


def app_protocol(text: str) -> Fault | None:
    if text.lower() in ("https", "h2", "grpcs"):
        return Fault(
            message=f"'{text}' is passed through by connection: what is encrypted to the replica can't be looked into",
            hint="let the proxies end TLS: x-rookery.http with `tls: true`",
            is_warning=True,
        )
    return None


def platform(text: str) -> Fault | None:
    if re.fullmatch(r"[a-z0-9]+(/[a-z0-9_]+){0,2}", text):
        return None
    return Fault(message=f"expected a platform such as linux/amd64, got '{text}'")


def absolute_path(text: str) -> Fault | None:
    if text.startswith("/"):
        return None
    return Fault(message=f"expected an absolute path in the container, got '{text}'")


def url_path(text: str) -> Fault | None:
    if re.fullmatch(r"/[!-~]*", text) and "?" not in text and "#" not in text:
        return None
    return Fault(message=f"expected a path that begins with '/', without query or spaces, got '{text}'")


def host(text: str) -> Fault | None:
    if re.fullmatch(
        r"(?=.{1,253}\Z)(\*\.)?[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*", text
    ):
        return None
    return Fault(message=f"expected a host name such as shop.example, without scheme or port, got '{text}'")


def status(text: str) -> Fault | None:
    """`200`, or `200-399`."""
    found = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        return Fault(message=f"expected an HTTP status such as 200 or 200-399, got '{text}'")
    return None


def image(text: str) -> Fault | None:
    if re.fullmatch(r"[^\s\x00-\x1f]{1,512}", text):
        return None
    return Fault(message=f"'{text}' is no name of an image" if text else "the name of the image is empty")


def share(text: str) -> Fault | None:
    """Some of the requests, in percent."""
    value = units.percent(text)
    if value is None:
        return Fault(message=f"expected whole percent such as 5 or 5%, got '{text[:40]}'")
    return None if 1 <= value <= 100 else Fault(message=f"expected 1 to 100 percent, got {value}")


def usage(text: str) -> Fault | None:
    """How much of what a replica may use, in percent; more than 100 where it may use more than was reserved."""
    value = units.percent(text)
    if value is None:
        return Fault(message=f"expected whole percent such as 60 or 60%, got '{text[:40]}'")
    return None if 1 <= value <= 1000 else Fault(message=f"expected 1 to 1000 percent, got {value}")


def tolerance(text: str) -> Fault | None:
    value = units.percent(text)
    if value is None:
        return Fault(message=f"expected whole percent such as 10 or 10%, got '{text[:40]}'")
    return None if 0 <= value < 100 else Fault(message=f"expected 0 to 99 percent, got {value}")


def step(text: str) -> Fault | None:
    """How many replicas at a time: a number, or percent of those there are."""
    value = units.percent(text)
    if value is None or not 1 <= value <= 10_000:
        return Fault(message=f"expected a number of replicas such as 4, or percent such as 50%, got '{text[:40]}'")
    return None


def cron(text: str) -> Fault | None:
    from rookery.cron import cron_fault  # lazy: few files have schedules

    fault = cron_fault(text)
    return Fault(message=fault) if fault else None


def time_zone(text: str) -> Fault | None:
    from rookery.cron import zone_fault  # lazy: few files have schedules

    fault = zone_fault(text)
    return Fault(message=fault) if fault else None


def cookie(text: str) -> Fault | None:
    return _token(text, "cookie")


def header(text: str) -> Fault | None:
    return _token(text, "header")


def hash_key(text: str) -> Fault | None:
    """What requests are hashed by."""
    kind, _, name = text.partition(" ")
    if text == "client":
        return None
    if kind not in ("header", "cookie") or not name:
        return Fault(message=f"expected client, header NAME or cookie NAME, got '{text[:60]}'")
    return _token(name, kind)


def _token(text: str, what: str) -> Fault | None:
    """RFC 9110, section 5.6.2: what names of headers are made of, and those of cookies too (RFC 6265)."""
    if _TOKEN.match(text):
        return None
    return Fault(message=f"'{text[:40]}' is no name of a {what}", hint="it is 1 to 128 letters, digits and !#$%&'*+-.^_`|~")


def allowed(text: str) -> Fault | None:
    """An app, a service of one, or all."""
    app, slash, service = text.partition("/")
    if text == "*" or (APP_NAME.match(app) and (not slash or APP_NAME.match(service))):
        return None
    return Fault(message=f"'{text[:80]}' is neither APP, APP/SERVICE nor '*'", hint="such as shop, or shop/web")


def rebalance(text: str) -> Fault | None:
    return None if text.lower() in ("on", "off", "true", "false") else Fault(message=f"expected on or off, got '{text}'")
