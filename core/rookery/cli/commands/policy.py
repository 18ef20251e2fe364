"""`rookery policy`: who may deploy what reaches beyond its container."""

import click

from rookery.cli.command import CONTEXT_SETTINGS, global_options, json_option, pass_session
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.cli.text import one_line
from rookery.model import PERMISSIONS, Grant, PolicyRule


@click.group("policy", context_settings=CONTEXT_SETTINGS)
@global_options
def policy() -> None:
    """Show who may deploy privileged containers, mounts of the nodes' files and the like.

    An admin says so in a file on the manager's machine, which is read anew when it changes.
    """


@policy.command("show")
@json_option
@global_options
@pass_session
def show(session: Session, as_json: bool) -> None:
    """Print the policy in force, as it stands in such a file."""
    with session.client() as client:
        found = client.get_policy()
    if as_json:
        show_json(found)
        return
    click.echo("rules:" if found.rules else "rules: []")
    for rule in found.rules:
        for line in rule_lines(rule):
            click.echo(line)
    if found.is_default:
        say(f"These are the built-in rules. Write others into {found.path} on the manager's machine.")
    else:
        say(f"These are the rules of {found.path}.")
    if found.trouble:
        say(f"The file as it is now is not in force: {one_line(found.trouble)}")


def rule_lines(rule: PolicyRule) -> list[str]:
    """A rule as it stands in a file."""
    keys = [f"role: {rule.role}"] if rule.role is not None else []
    keys += [f"{key}: {_listed(values)}" for key, values in (("people", rule.people), ("apps", rule.apps)) if values]
    if {grant.permission for grant in rule.may if not grant.values} >= PERMISSIONS.keys():
        keys.append("may: all")
    else:
        keys.append("may:" if rule.may else "may: []")
        keys += [f"  - {_grant(grant)}" for grant in rule.may]
    return [f"{'  - ' if i == 0 else '    '}{key}" for i, key in enumerate(keys)]


def _grant(grant: Grant) -> str:
    return f"{grant.permission}: {_listed(grant.values)}" if grant.values else grant.permission


def _listed(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{one_line(value)}"' for value in values) + "]"
