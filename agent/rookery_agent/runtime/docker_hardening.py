"""What containers are denied though Docker allows it, unless their spec asks for it (docs/decisions/0028).

Pure, and read when a container is made: what runs already keeps what it was made with.
"""

from rookery.model import ContainerSpec, Resources

# Of Docker's own set what images hardly use and attacks do: to forge packets (and to answer for a sibling's address), to make
# devices, to give files capabilities, to write the kernel's audit log. What is needed to begin as root and go on as somebody
# else stays: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, NET_BIND_SERVICE, SETGID, SETPCAP, SETUID, SYS_CHROOT.
DROPPED = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP")
PIDS = 4096  # processes and threads: a fork bomb ends there, and a server with a thread a connection does not
_NO_NEW = "no-new-privileges"


def cap_drop(c: ContainerSpec) -> list[str]:
    wanted = {_bare(name) for name in c.cap_add}
    if c.privileged or "ALL" in wanted:
        return list(c.cap_drop)
    told = {_bare(name) for name in c.cap_drop}
    more = () if "ALL" in told else [name for name in DROPPED if name not in wanted | told]
    return [*c.cap_drop, *more]


def security_opt(c: ContainerSpec) -> list[str]:
    """With no-new-privileges, unless the spec says something of it: `no-new-privileges:false` is Docker's own default."""
    said = any(option.replace(":", "=").partition("=")[0] == _NO_NEW for option in c.security_opt)
    return list(c.security_opt) if said or c.privileged else [*c.security_opt, _NO_NEW]


def pids_limit(limits: Resources) -> int | None:
    """None for no limit."""
    return PIDS if limits.pids == 0 else limits.pids if limits.pids > 0 else None


def _bare(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")
