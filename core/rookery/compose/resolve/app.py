"""The whole tree as an AppSpec, with the checks that need more than one service."""

from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from rookery.compose.check import did_you_mean
from rookery.compose.resolve.content import Contents
from rookery.compose.resolve.networks import check_networks, link_aliases
from rookery.compose.resolve.service import Surroundings, service_spec
from rookery.compose.view import View
from rookery.model import AppSpec, DependencyCondition, FileKind, NoProbe, PortMode, ServiceSpec


def app_spec(app: str, document: View, env: Mapping[str, str], profiles: frozenset[str]) -> AppSpec:
    every = document.children("services")
    active = {name: service for name, service in every.items() if is_active(service, profiles)}
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
    )
    specs = [service_spec(name, service, around) for name, service in active.items()]
    specs = _with_dependencies(specs, active, every)
    _check_published(specs, active)
    if not every:
        document.error("services", "there are no services", "add one under `services:`")
    elif not active:
        names = sorted({profile for service in every.values() for profile in service.texts("profiles")})
        document.error("services", "every service has a profile that is not active", f"profiles are {', '.join(names)}")
    return AppSpec(name=app, services=tuple(specs), files=around.contents.used())


def is_active(service: View, profiles: frozenset[str]) -> bool:
    """A service without profiles always counts; `*` makes every profile count."""
    own = service.texts("profiles")
    return not own or "*" in profiles or not profiles.isdisjoint(own)


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
    """A published port belongs to one service, an HTTP host and path too."""
    taken: dict[tuple[object, ...], str] = {}
    for spec in specs:
        view = active[spec.name]
        claims: list[tuple[tuple[object, ...], str, str]] = []
        for port in spec.ports:
            if port.published:
                place = (port.host_ip,) if port.mode is PortMode.HOST else ()
                what = f"port {port.published}/{port.protocol}"
                claims.append(((port.mode, port.published, port.protocol, *place), what, "ports"))
        for route in spec.routes:
            what = f"the route {route.host or '*'}:{route.published}{route.path or '/'}"
            claims.append((("http", route.published, route.host, route.path), what, "x-rookery"))
        for claim, what, key in claims:
            if claim in taken:
                view.error(key, f"{what} is published twice", f"by {taken[claim]} too")
            else:
                mark = view.mark(key)
                taken[claim] = f"services.{spec.name} ({mark.source.name}:{mark.line})"
