"""What a plain process takes from a ContainerSpec, and what it can't have.

Pure, but for the lookup of users.
"""

import grp
import os
import pwd
import signal
from dataclasses import dataclass

from rookery.model import Assignment, BindMount, ContainerSpec

from rookery_agent.runtime.protocol import RuntimeFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the process runs as; None is whoever runs the agent."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    home: str = ""


def argv(a: Assignment) -> tuple[str, ...]:
    """The command line: entrypoint, then command. Raises RuntimeFailure where there is none."""
    c = a.spec.container
    found = (c.entrypoint.args if c.entrypoint else ()) + (c.command.args if c.command else ())
    if not found:
        raise RuntimeFailure(f"{a.name} has no command, and a plain process has no image to take one from; give it a `command`")
    return found


def check(a: Assignment) -> None:
    """Raises RuntimeFailure for what a plain process can't be given."""
    c = a.spec.container
    argv(a)
    for mount in c.mounts:
        if not (isinstance(mount, BindMount) and mount.source == mount.target):
            raise RuntimeFailure(
                f"{a.name}: a plain process can't have something mounted at {mount.target}; use a node with Docker"
            )


def stop_signal(c: ContainerSpec) -> int:
    """The number of the spec's stop signal. Raises RuntimeFailure for one that there is not."""
    given = c.stop_signal.upper() or "SIGTERM"
    if given.isdigit():
        return int(given)
    try:
        return int(signal.Signals[given if given.startswith("SIG") else f"SIG{given}"])
    except KeyError:
        raise RuntimeFailure(f"there is no signal {c.stop_signal}") from None


def identity(user: str) -> Identity:
    """Of `USER[:GROUP]`, by name or number. Raises RuntimeFailure for one that is not on this machine or can't be taken on."""
    if not user:
        return Identity()
    name, _, group = user.partition(":")
    try:
        known = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid, home, login = known.pw_uid, known.pw_gid, known.pw_dir, known.pw_name
    except KeyError:
        if not name.isdigit():
            raise RuntimeFailure(f"there is no user {name} on this machine") from None
        uid, gid, home, login = int(name), int(name), "/", ""
    if group:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise RuntimeFailure(f"there is no group {group} on this machine") from None
    if os.geteuid() == uid:
        return Identity(home=home)
    if os.geteuid() != 0:
        raise RuntimeFailure(f"only an agent that runs as root can run a process as {user}")
    groups = tuple(os.getgrouplist(login, gid)) if login else (gid,)
    return Identity(uid=uid, gid=gid, groups=groups, home=home)
