"""Who may deploy what reaches beyond its container: what an admin has written down."""

from dataclasses import dataclass

from rookery.model.identity import Person, Role

PRIVILEGED = "privileged"
HOST_NAMESPACES = "host-namespaces"
BIND_MOUNTS = "bind-mounts"
DEVICES = "devices"
ENGINE_SOCKET = "engine-socket"
CAPABILITIES = "capabilities"
SECURITY_OPTIONS = "security-options"
SHARED_NETWORKS = "shared-networks"
SHARED_VOLUMES = "shared-volumes"
PROCESSES = "processes"

# Each, and what its list in a policy names; empty: it takes none.
PERMISSIONS = {
    PRIVILEGED: "",
    HOST_NAMESPACES: "network, pid, ipc, userns or cgroup",
    BIND_MOUNTS: "absolute paths; all below them too; `PATH:ro` for reading only",
    DEVICES: "absolute paths; all below them too",
    ENGINE_SOCKET: "",
    CAPABILITIES: "capabilities such as NET_ADMIN",
    SECURITY_OPTIONS: "options as in `security_opt`, such as seccomp=unconfined",
    SHARED_NETWORKS: "networks by the engine's name",
    SHARED_VOLUMES: "volumes by the engine's name",
    PROCESSES: "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One permission; with `values`, for these alone."""

    permission: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """For whoever has `role` or a higher one (None: any) and is one of `people` (empty: anybody), in `apps` (empty: all)."""

    role: Role | None = None
    people: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    may: tuple[Grant, ...] = ()

    def is_for(self, person: Person, app: str) -> bool:
        covered = self.role is None or person.role.covers(self.role)
        return covered and (not self.people or person.name in self.people) and (not self.apps or app in self.apps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules in force; each only adds to what is allowed. `path` is the file that says them, or that may say others;
    `is_default`: it is not there. `trouble` is what is wrong with the file as it is now: then the rules are those from before."""

    rules: tuple[PolicyRule, ...] = ()
    path: str = ""
    is_default: bool = False
    trouble: str = ""


DEFAULT_RULES = (PolicyRule(role=Role.OPERATOR, may=tuple(Grant(permission=name) for name in PERMISSIONS)),)
