"""The whole tree as an AppSpec, with the checks that need more than one service."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from rookery.compose.check import did_you_mean
from rookery.compose.nodes import Map
from rookery.compose.resolve.content import Contents
from rookery.compose.resolve.networks import check_networks, link_aliases
from rookery.compose.resolve.service import Surroundings, service_spec
from rookery.compose.view import View
from rookery.model import (
    AppSpec,
    DependencyCondition,
    FileKind,
    HttpRules,
    NoProbe,
    PortMode,
    PortProtocol,
    RestartCondition,
    ServiceSpec,
)
from rookery.model.http_rules import can_be_confused

_WHOLE = "*"  # stands for every host of a port


def app_spec(app: str, document: View, env: Mapping[str, str], profiles: frozenset[str]) -> AppSpec:
    every = document.children("services")
    active = {name: service for name, service in every.items() if is_active(service, profiles)}
    known = {profile for service in every.values() for profile in service.texts("profiles")}
    for profile in sorted(profiles - known - {"*"}):
        document.warn("services", f"no service has the profile '{profile}'", did_you_mean(profile, known))
    networks = document.children("networks")
    check_networks(networks)
    described = {FileKind.SECRET: document.children("secrets"), FileKind.CONFIG: document.children("configs")}
    around = Surroundings(
        app=app,
        env=env,
        networks=networks,
        volumes=document.children("volumes"),
        contents=Contents(described, env),
        aliases=link_aliases(active),
        awaited=_awaited(active),
    )
    specs = [service_spec(name, service, around) for name, service in active.items()]
    specs = _with_dependencies(specs, active, every)
    _check_published(specs, active)
    written = document.get("services")
    if written is None or (isinstance(written, Map) and not written.entries):
        document.error("services", "there are no services", "add one under `services:`")
    elif every and not active:
        document.error("services", "every service has a profile that is not active", f"profiles are {', '.join(sorted(known))}")
    return AppSpec(name=app, services=tuple(specs), files=around.contents.used())


def is_active(service: View, profiles: frozenset[str]) -> bool:
    """A service without profiles always counts; `*` makes every profile count."""
    own = service.texts("profiles")
    return not own or "*" in profiles or not profiles.isdisjoint(own)


def _awaited(active: Mapping[str, View]) -> frozenset[str]:
    return frozenset(
        name
        for service in active.values()
        for name, view in service.children("depends_on").items()
        if view.text("condition") == DependencyCondition.SERVICE_COMPLETED_SUCCESSFULLY
    )


def _with_dependencies(specs: list[ServiceSpec], active: Mapping[str, View], every: Mapping[str, View]) -> list[ServiceSpec]:
    """The specs without the optional dependencies that are not there; missing ones and cycles are reported."""
    by_name = {spec.name: spec for spec in specs}
    done: list[ServiceSpec] = []
    for spec in specs:
        view = active[spec.name].child("depends_on")
        kept = []
        for dependency in spec.depends_on:
            target = by_name.get(dependency.service)
            if target is None:
                if dependency.required:
                    _report_missing(view, dependency.service, every)
                continue
            if dependency.condition is DependencyCondition.SERVICE_HEALTHY and isinstance(target.probe, NoProbe):
                view.warn(dependency.service, f"'{dependency.service}' has no health check, so it counts as healthy when it runs")
            completes = dependency.condition is DependencyCondition.SERVICE_COMPLETED_SUCCESSFULLY
            if completes and target.restart.condition is RestartCondition.ANY:
                view.warn(
                    dependency.service,
                    f"'{dependency.service}' is restarted whenever it ends, so it never completes",
                    "give it `restart: on-failure` or `deploy.mode: replicated-job`",
                )
            kept.append(dependency)
        done.append(replace(spec, depends_on=tuple(kept)))
    try:
        TopologicalSorter({spec.name: [dependency.service for dependency in spec.depends_on] for spec in done}).prepare()
    except CycleError as error:
        names = list(reversed(error.args[1]))
        active[names[0]].error("depends_on", f"services wait for each other: {' -> '.join(names)}")
    return done


def _report_missing(view: View, name: str, every: Mapping[str, View]) -> None:
    if name in every:
        profiles = ", ".join(every[name].texts("profiles"))
        hint = f"activate a profile of it ({profiles}), or set `required: false`"
        view.error(name, f"service '{name}' is not active", hint)
    else:
        view.error(name, f"service '{name}' is not defined", did_you_mean(name, every))


def _check_published(specs: list[ServiceSpec], active: Mapping[str, View]) -> None:
    """A port of the proxies belongs to one service, but HTTP may share it by host and path."""
    taken: dict[tuple[object, ...], list[tuple[tuple[str, str], HttpRules, tuple[bool, bool], str]]] = {}
    for spec in specs:
        view = active[spec.name]
        for port, way, rules, spoken, key in _claims(spec):
            others = taken.setdefault(port, [])
            clash = ""
            mixed = next((other for other in others if other[2] != spoken), None)
            for other, other_rules, _, place in others:
                if _WHOLE in (way[0], other[0]) or (way == other and can_be_confused(rules, other_rules)):
                    clash = place
                    break
            if clash:
                view.error(key, f"port {port[0]}/{port[1]} is published twice", f"by {clash} too")
            elif mixed is not None:
                what = "TLS" if mixed[2][0] != spoken[0] else "HTTP/2"
                view.error(
                    key, f"port {port[0]} is wanted with {what} and without it", f"{mixed[3]} says otherwise; use two ports"
                )
            else:
                mark = view.mark(key)
                others.append((way, rules, spoken, f"services.{spec.name} ({mark.source.name}:{mark.line})"))


def _claims(spec: ServiceSpec) -> Iterator[tuple[tuple[object, ...], tuple[str, str], HttpRules, tuple[bool, bool], str]]:
    """What a service wants for itself: a port, the host, path and more on it, and the key that says so.

    A port that is not declared HTTP takes the whole port, since what comes in on it says nothing else. Ports of nodes
    (`mode: host`) clash only within the service: those of others may be on other nodes.
    """
    for port in spec.ports:
        if not port.published:
            continue
        if port.mode is PortMode.HOST:
            yield (port.published, port.protocol, spec.name, port.host_ip), (_WHOLE, "/"), HttpRules(), (False, False), "ports"
        else:
            yield (
                (port.published, port.protocol),
                ("" if port.app_protocol in ("http", "http2") else _WHOLE, "/"),
                HttpRules(),
                (False, port.app_protocol == "http2"),
                "ports",
            )
    for route in spec.routes:
        yield (
            (route.published, PortProtocol.TCP),
            (route.host, route.path.rstrip("/") or "/"),
            route.rules,
            (route.tls, route.http2),
            "x-rookery",
        )
