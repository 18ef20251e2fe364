"""The networks that a service joins, by the engine's names for them."""

from collections.abc import Mapping

from rookery.compose.check import did_you_mean
from rookery.compose.nodes import empty
from rookery.compose.view import View
from rookery.model import NetworkAttachment


def network_mode(service: View) -> str:
    """Empty, `host` or `none`: with the others the networks count, or it was refused."""
    mode = service.text("network_mode")
    if mode and service.has("networks"):
        service.error("network_mode", "can't be given together with 'networks'", "leave one out")
    return mode if mode in ("host", "none") else ""


def attachments(
    service: View, name: str, app: str, networks: Mapping[str, View], aliases: tuple[str, ...]
) -> tuple[NetworkAttachment, ...]:
    """What the service joins: its `networks`, else the app's default one. Its own name is an alias everywhere."""
    joined = service.children("networks")
    if not joined:
        return (
            _attachment(
                View(node=service.node, path="", problems=service.problems), "default", name, app, networks, aliases, True
            ),
        )
    found: list[NetworkAttachment] = []
    for network, use in joined.items():
        if network != "default" and network not in networks:
            hint = did_you_mean(network, networks) if networks else ""
            use.error("", f"network '{network}' is not defined", hint or "add it under the top-level `networks:`")
            continue
        found.append(_attachment(use, network, name, app, networks, aliases, False))
    return tuple(found)


def _attachment(
    use: View, network: str, service: str, app: str, networks: Mapping[str, View], aliases: tuple[str, ...], is_default: bool
) -> NetworkAttachment:
    own = () if is_default else use.texts("aliases")
    every_alias = tuple(dict.fromkeys((service, *own, *aliases)))
    described = networks.get(network, View(node=empty(use.node.mark), path="", problems=use.problems))
    external, driver = described.flag("external"), described.text("driver")
    addresses = {"ipv4_address": "", "ipv6_address": ""}
    for key in addresses if not is_default else ():
        if use.has(key) and external:
            addresses[key] = use.text(key)
        elif use.has(key):
            use.warn(key, "has no effect: addresses are given by each node's engine", "use the service's name")
    return NetworkAttachment(
        network=described.text("name") or (network if external else f"{app}_{network}"),
        aliases=every_alias,
        driver="" if driver in ("overlay", "bridge", "default") else driver,
        driver_opts=described.labels("driver_opts") if driver != "overlay" else {},
        external=external,
        internal=described.flag("internal"),
        labels=described.labels("labels"),
        **addresses,
    )


def check_networks(networks: Mapping[str, View]) -> None:
    """Findings on the top-level networks themselves."""
    for network in networks.values():
        driver = network.text("driver")
        if driver == "overlay":
            network.warn("driver", "'overlay' is made as bridge on each node", "leave the driver out")
        elif driver in ("host", "none", "null"):
            network.error(
                "driver", f"'{driver}' is no driver to make a network with", f"write `network_mode: {driver}` on the service"
            )


def link_aliases(services: Mapping[str, View]) -> dict[str, tuple[str, ...]]:
    """Further names of services: what `links: [SERVICE:ALIAS]` and `container_name` call them."""
    found: dict[str, list[str]] = {name: [] for name in services}
    for name, service in services.items():
        if service.text("container_name"):
            found[name].append(service.text("container_name"))
        for i, written in enumerate(service.scalars("links")):
            target, _, alias = written.text.partition(":")
            if target not in services:
                where = f"{service.where('links')}[{i}]"
                hint = did_you_mean(target, services) or "containers outside the app share a network that is `external: true`"
                service.problems.error(written.mark, where, f"'{target}' is no service of this app", hint)
            elif alias:
                found[target].append(alias)
    return {name: tuple(dict.fromkeys(aliases)) for name, aliases in found.items()}
