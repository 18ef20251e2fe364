"""What each call asks of its caller: one table. A call that is not in it is refused, and a test finds it missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from rookery.model import PartKind, Person, Role

ANYBODY: frozenset[PartKind | None] = frozenset({None, *PartKind})  # None: a visitor
MEMBERS: frozenset[PartKind | None] = frozenset(PartKind)
AGENTS: frozenset[PartKind | None] = frozenset({PartKind.AGENT})
PROXIES: frozenset[PartKind | None] = frozenset({PartKind.PROXY})
PEOPLE: frozenset[PartKind | None] = frozenset({PartKind.PERSON})


class Scope(Enum):
    """What of the cluster a call is about: the app that its request names, all of it, or nothing that a role is bound by."""

    APP = "app"
    CLUSTER = "cluster"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """`doing` is how a refusal names it; `{app}` in it is the app that the request is about."""

    callers: frozenset[PartKind | None]
    doing: str = ""
    role: Role | None = None
    scope: Scope = Scope.NONE


def _person(role: Role, scope: Scope, doing: str) -> Need:
    return Need(callers=PEOPLE, role=role, scope=scope, doing=doing)


_CONTROL: Mapping[str, Need] = {
    "GetCluster": _person(Role.VIEWER, Scope.NONE, "looking at the cluster"),
    "WhoAmI": _person(Role.VIEWER, Scope.NONE, "asking who you are"),
    "ListApps": _person(Role.VIEWER, Scope.CLUSTER, "listing all apps"),
    "GetApp": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "ListServices": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "GetService": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "GetRollout": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "GetAutoscale": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "ListAppRevisions": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "ListReplicas": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "GetReplica": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "Explain": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "ListEvents": _person(Role.VIEWER, Scope.APP, "reading the events of {app}"),
    "Watch": _person(Role.VIEWER, Scope.APP, "watching {app}"),
    "Logs": _person(Role.VIEWER, Scope.APP, "reading the logs of {app}"),
    "ListNodes": _person(Role.VIEWER, Scope.NONE, "listing nodes"),
    "GetNode": _person(Role.VIEWER, Scope.NONE, "looking at a node"),
    "ListProxies": _person(Role.VIEWER, Scope.NONE, "listing proxies"),
    "ListRoutes": _person(Role.VIEWER, Scope.CLUSTER, "listing all routes"),
    "ListCertificates": _person(Role.VIEWER, Scope.CLUSTER, "listing certificates"),
    "RenewCertificate": _person(Role.OPERATOR, Scope.CLUSTER, "renewing a certificate"),
    "GetTraffic": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "Plan": _person(Role.VIEWER, Scope.APP, "planning {app}"),
    "Apply": _person(Role.DEPLOYER, Scope.APP, "deploying {app}"),
    "RemoveApp": _person(Role.DEPLOYER, Scope.APP, "removing {app}"),
    "Scale": _person(Role.DEPLOYER, Scope.APP, "scaling {app}"),
    "SetAutoscale": _person(Role.DEPLOYER, Scope.APP, "changing how {app} is scaled"),
    "Rollback": _person(Role.DEPLOYER, Scope.APP, "rolling {app} back"),
    "Restart": _person(Role.DEPLOYER, Scope.APP, "restarting {app}"),
    "UpdateRollout": _person(Role.DEPLOYER, Scope.APP, "interfering with a rollout of {app}"),
    "GetPolicy": _person(Role.VIEWER, Scope.NONE, "looking at the policy"),
    "UpdateNode": _person(Role.OPERATOR, Scope.CLUSTER, "changing a node"),
    "RemoveNode": _person(Role.OPERATOR, Scope.CLUSTER, "removing a node"),
    "RemoveProxy": _person(Role.OPERATOR, Scope.CLUSTER, "removing a proxy"),
    "ListPools": _person(Role.VIEWER, Scope.NONE, "listing pools"),
    "GetPool": _person(Role.VIEWER, Scope.NONE, "looking at a pool"),
    # A pool names a program that the manager runs.
    "CreatePool": _person(Role.ADMIN, Scope.CLUSTER, "making a pool"),
    "UpdatePool": _person(Role.ADMIN, Scope.CLUSTER, "changing a pool"),
    "RemovePool": _person(Role.ADMIN, Scope.CLUSTER, "removing a pool"),
    "Backup": _person(Role.ADMIN, Scope.CLUSTER, "making a backup, which holds secrets,"),
    "CreateToken": _person(Role.ADMIN, Scope.CLUSTER, "making a join token"),
    "ListTokens": _person(Role.ADMIN, Scope.CLUSTER, "listing join tokens"),
    "RemoveToken": _person(Role.ADMIN, Scope.CLUSTER, "removing a join token"),
    "ListPeople": _person(Role.ADMIN, Scope.CLUSTER, "listing people"),
    "PutPerson": _person(Role.ADMIN, Scope.CLUSTER, "changing what a person may do"),
    "CreateFile": _person(Role.DEPLOYER, Scope.APP, "making a secret or config of {app}"),
    "ListFiles": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "GetFile": _person(Role.VIEWER, Scope.APP, "looking at {app}"),
    "RotateFile": _person(Role.DEPLOYER, Scope.APP, "changing a secret or config of {app}"),
    "RemoveFile": _person(Role.DEPLOYER, Scope.APP, "removing a secret or config of {app}"),
    "GetLock": _person(Role.VIEWER, Scope.NONE, "asking whether the manager is locked"),
    "SetLock": _person(Role.ADMIN, Scope.CLUSTER, "changing the manager's lock"),
    "Unlock": _person(Role.ADMIN, Scope.CLUSTER, "unlocking the manager"),
    "RemovePerson": _person(Role.ADMIN, Scope.CLUSTER, "removing a person"),
    "GetAuthorityStatus": _person(Role.ADMIN, Scope.CLUSTER, "looking at the authority, and who has moved,"),
    "RotateAuthority": _person(Role.ADMIN, Scope.CLUSTER, "replacing the authority"),
    "DropAuthority": _person(Role.ADMIN, Scope.CLUSTER, "dropping the old authority"),
    "VerifyAudit": _person(Role.VIEWER, Scope.CLUSTER, "checking the history"),
}

PERMISSIONS: Mapping[str, Need] = {
    **{f"/rookery.v1.ControlService/{name}": need for name, need in _CONTROL.items()},
    "/rookery.v1.DispatchService/Connect": Need(callers=AGENTS),
    "/rookery.v1.DispatchService/SendLogs": Need(callers=AGENTS),
    "/rookery.v1.RoutingService/Follow": Need(callers=PROXIES),
    "/rookery.v1.IdentityService/GetAuthority": Need(callers=ANYBODY),
    "/rookery.v1.IdentityService/Join": Need(callers=ANYBODY),
    "/rookery.v1.IdentityService/Renew": Need(callers=MEMBERS),
    "/grpc.health.v1.Health/Check": Need(callers=ANYBODY),
    "/grpc.health.v1.Health/List": Need(callers=ANYBODY),
    "/grpc.health.v1.Health/Watch": Need(callers=MEMBERS),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Need(callers=MEMBERS),
}


def why_not(need: Need, person: Person, app: str) -> str:
    """Why the person may not do it; empty where it may. `app` is what the request names, empty: all of them."""
    if need.role is None:
        return ""
    doing = need.doing.format(app=app or "all apps")
    bound = f" of {', '.join(person.apps)}" if person.apps else ""
    you = f"you are {person.name}, {person.role}{bound}"
    if not person.role.covers(need.role):
        return f"{doing} needs the role {need.role}; {you}"
    if person.apps and need.scope is Scope.CLUSTER:
        return f"{doing} needs the role {need.role} of all apps; {you}"
    if person.apps and need.scope is Scope.APP and app not in person.apps:
        hint = "" if app else "; name one of them"
        return f"{doing} needs the role {need.role} {'of it' if app else 'of all'}; {you}{hint}"
    return ""
