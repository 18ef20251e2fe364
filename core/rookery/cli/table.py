"""Every command: where it is and what it is for. This is all that `rookery --help` reads, so that it is quick."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A command is the function `attribute` in `rookery.cli.commands.MODULE`."""

    section: str
    module: str
    attribute: str
    help: str


_APPS, _LOOK, _CLUSTER, _HERE = "Apps", "Looking", "Cluster", "This machine"

COMMANDS: dict[str, Entry] = {
    "deploy": Entry(_APPS, "deploy", "deploy", "Make an app what its compose file says, and wait until it is."),
    "plan": Entry(_APPS, "plan", "plan", "Show what a deploy would change, and do nothing."),
    "scale": Entry(_APPS, "scale", "scale", "Set how many replicas services have."),
    "rollback": Entry(_APPS, "rollback", "rollback", "Return a service to an earlier revision."),
    "rm": Entry(_APPS, "rm", "rm", "Remove apps."),
    "config": Entry(_APPS, "config", "config", "Print the compose file as it is understood."),
    "ps": Entry(_LOOK, "ps", "ps", "List replicas."),
    "services": Entry(_LOOK, "listings", "services", "List services."),
    "apps": Entry(_LOOK, "listings", "apps", "List apps."),
    "logs": Entry(_LOOK, "logs", "logs", "Show what replicas wrote, across nodes."),
    "events": Entry(_LOOK, "events", "events", "Show what happened, and why."),
    "history": Entry(_LOOK, "rollback", "history", "Show the revisions of a service, and what became of them."),
    "explain": Entry(_LOOK, "explain", "explain", "Show why replicas are where they are, node by node."),
    "inspect": Entry(_LOOK, "inspect", "inspect", "Show everything about an app, service, replica or node."),
    "nodes": Entry(_CLUSTER, "listings", "nodes", "List nodes."),
    "node": Entry(_CLUSTER, "node", "node", "Drain, activate, label, inspect or remove a node."),
    "proxies": Entry(_CLUSTER, "listings", "proxies", "List proxies."),
    "routes": Entry(_CLUSTER, "listings", "routes", "List what proxies listen for, and the endpoints behind it."),
    "up": Entry(_HERE, "up", "up", "Run a cluster on this machine."),
    "down": Entry(_HERE, "up", "down", "Stop the cluster that 'rookery up' runs."),
    "context": Entry(_HERE, "context", "context", "Save and choose the managers to talk to."),
    "completion": Entry(_HERE, "completion", "completion", "Print the completion script of a shell."),
    "version": Entry(_HERE, "version", "version", "Show the versions of this program and the manager."),
}
