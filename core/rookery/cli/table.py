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
    "autoscale": Entry(_APPS, "autoscale", "autoscale", "See, set and end what the number of replicas follows."),
    "restart": Entry(_APPS, "restart", "restart", "Replace the replicas of services, as gently as an update does."),
    "rollout": Entry(_APPS, "rollout", "rollout", "Look at a rollout; pause, resume, abort or undo it."),
    "rollback": Entry(_APPS, "rollback", "rollback", "Return a service, or a whole app, to an earlier revision."),
    "rm": Entry(_APPS, "rm", "rm", "Remove apps."),
    "password": Entry(_APPS, "password", "password", "Print a user's line for basic_auth."),
    "secret": Entry(_APPS, "secret", "secret", "Make, list, inspect, rotate or remove the secrets of apps."),
    "config": Entry(_APPS, "config", "config", "Print the compose file as it is understood; the configs of apps, as secrets."),
    "ps": Entry(_LOOK, "ps", "ps", "List replicas."),
    "services": Entry(_LOOK, "listings", "services", "List services."),
    "apps": Entry(_LOOK, "listings", "apps", "List apps."),
    "top": Entry(_LOOK, "top", "top", "Watch what the proxies see of services: rates, errors, latencies."),
    "logs": Entry(_LOOK, "logs", "logs", "Show what replicas wrote, across nodes."),
    "events": Entry(_LOOK, "events", "events", "Show what happened, and why."),
    "incidents": Entry(_LOOK, "incidents", "incidents", "List what went wrong, and how it ended."),
    "incident": Entry(_LOOK, "incidents", "incident", "Tell the story of one incident, step by step."),
    "history": Entry(_LOOK, "history", "history", "Show the revisions of a service or app, and what became of them."),
    "explain": Entry(_LOOK, "explain", "explain", "Show why replicas are where they are, node by node."),
    "inspect": Entry(_LOOK, "inspect", "inspect", "Show everything about an app, service, replica or node."),
    "nodes": Entry(_CLUSTER, "listings", "nodes", "List nodes."),
    "node": Entry(_CLUSTER, "node", "node", "Drain, activate, label, inspect or remove a node."),
    "pool": Entry(_CLUSTER, "pool", "pool", "Pools of nodes that grow and shrink: create, list, show, set, remove."),
    "proxies": Entry(_CLUSTER, "listings", "proxies", "List proxies."),
    "proxy": Entry(_CLUSTER, "proxy", "proxy", "Remove a proxy."),
    "routes": Entry(_CLUSTER, "listings", "routes", "List what proxies listen for, and the endpoints behind it."),
    "certificate": Entry(_CLUSTER, "certificate", "certificate", "List the certificates that are had by ACME; renew one."),
    "token": Entry(_CLUSTER, "token", "token", "Make, list, remove or rotate the tokens with which agents and proxies join."),
    "person": Entry(_CLUSTER, "person", "person", "Add, list, change or remove people, and what they may do."),
    "policy": Entry(_CLUSTER, "policy", "policy", "Show who may deploy what reaches beyond its container."),
    "admin": Entry(
        _CLUSTER, "admin", "admin", "Back up the manager's store; restore or verify a backup; lock and unlock its secrets."
    ),
    "ca": Entry(_CLUSTER, "ca", "ca", "Show the certificate authority, and replace it by a new one."),
    "audit": Entry(_CLUSTER, "audit", "audit", "Show who did what and was refused what; verify the history."),
    "up": Entry(_HERE, "up", "up", "Run a cluster on this machine."),
    "down": Entry(_HERE, "up", "down", "Stop the cluster that 'rookery up' runs."),
    "login": Entry(_HERE, "login", "login", "Get a credential for a manager, with a token."),
    "logout": Entry(_HERE, "login", "logout", "Forget the credential for a manager."),
    "whoami": Entry(_HERE, "login", "whoami", "Show who the manager takes you for, and what you may do."),
    "context": Entry(_HERE, "context", "context", "Save and choose the managers to talk to."),
    "completion": Entry(_HERE, "completion", "completion", "Print the completion script of a shell."),
    "version": Entry(_HERE, "version", "version", "Show the versions of this program and the manager."),
}
