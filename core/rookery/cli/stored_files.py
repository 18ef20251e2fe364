"""What `rookery secret` and `rookery config` do alike: create, ls, inspect, rotate, rm.

Invariant: a content comes from a file or the standard input, never from the command line, where others could read it.
"""

import base64
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from rookery.cli.apps_wait import STATUS, earlier, next_steps, run_waiting, settle
from rookery.cli.command import (
    BAD_INPUT,
    Failure,
    command,
    json_option,
    pass_session,
    waiting_options,
)
from rookery.cli.grid import Column, Row
from rookery.cli.jsonable import jsonable
from rookery.cli.look import Outcome
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.text import ago, plural, size
from rookery.model import FileKind, FileUse, StoredFile

_name = click.argument("name", metavar="APP/NAME")
_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True), default="-")


def add_commands(group: click.Group, kind: FileKind) -> None:
    for made in (_create(kind), _ls(kind), _inspect(kind), _rotate(kind), _rm(kind)):
        group.add_command(made)


def _create(kind: FileKind) -> click.Command:
    @command(
        "create",
        help=f"Make the {kind} APP/NAME of what is in FILE, else of the standard input, byte by byte.",
        short_help=f"Make a {kind}.",
    )
    @_name
    @_file
    @json_option
    @pass_session
    def create(session: Session, name: str, file: Path, as_json: bool) -> None:
        app, own = _split(name, kind)
        content = _read(file, kind)
        with session.client() as client:
            made = client.create_file(kind, app, own, content)
        if as_json:
            show_json(made)
            return
        click.echo(f"{kind} {name} is made, at version {made.version}")
        say(f"A compose file of {app} has it with:  {kind}s: {{ {own}: {{ external: true }} }}")

    return create


def _ls(kind: FileKind) -> click.Command:
    @command("ls", help=f"List the {kind}s of an app, or of all apps.")
    @click.argument("app", default="")
    @json_option
    @pass_session
    def ls(session: Session, app: str, as_json: bool) -> None:
        with session.client() as client:
            files, uses = client.list_files(kind, app)
        if as_json:
            show_json([{**jsonable(file), "uses": _of(file, uses)} for file in files])
            return
        now = time.time()
        rows: list[Row] = [
            [
                f"{file.app}/{file.name}",
                str(file.version),
                size(file.versions[-1].size_bytes),
                ago(file.changed_at, now),
                ", ".join(sorted({use.service for use in _of(file, uses)})) or "-",
            ]
            for file in files
        ]
        show_table([Column(kind.upper()), Column("VERSION"), Column("SIZE"), Column("AGE"), Column("USED BY")], rows)

    return ls


def _inspect(kind: FileKind) -> click.Command:
    shown = "and what is in it" if kind is FileKind.CONFIG else "but never what is in it"
    note = f"Show the versions of a {kind}, and which services have it, {shown}."

    @command("inspect", help=note, short_help="Show its versions, and who has it.")
    @_name
    @json_option
    @pass_session
    def inspect(session: Session, name: str, as_json: bool) -> None:
        app, own = _split(name, kind)
        with session.client() as client:
            file, uses, content = client.get_file(kind, app, own)
        if as_json:
            show_json({**jsonable(file), "uses": uses, **_json_content(content)})
            return
        now = time.time()
        click.echo(f"{kind} {name}, version {file.version}")
        using = ", ".join(f"{use.service} (version {use.version})" for use in uses)
        click.echo(f"used by: {using or 'no service'}")
        rows: list[Row] = [[str(v.number), size(v.size_bytes), ago(v.created_at, now), v.actor] for v in reversed(file.versions)]
        show_table([Column("VERSION"), Column("SIZE"), Column("AGE"), Column("BY")], rows)
        if content is not None:
            say("Content of the latest version:")
            click.echo(content, nl=not content.endswith(b"\n"))

    return inspect


def _rotate(kind: FileKind) -> click.Command:
    note = (
        f"Make what is in FILE, else on the standard input, the next version of a {kind}, and roll out every service that "
        "has it: as gently as an update, and back to the version before where that fails."
    )

    @command("rotate", help=note, short_help="Make its next version, and roll that out.")
    @_name
    @_file
    @waiting_options
    @json_option
    @pass_session
    def rotate(session: Session, name: str, file: Path, detach: bool, timeout: float, as_json: bool) -> None:
        app, own = _split(name, kind)
        content = _read(file, kind)
        interrupted = f"The rollout goes on in the background. Look with: rookery ps {app}"
        outcome = run_waiting(
            lambda: _rotated(session, kind, app, own, content, None if detach else timeout, as_json), on_interrupt=interrupted
        )
        raise click.exceptions.Exit(STATUS[outcome])

    return rotate


async def _rotated(
    session: Session, kind: FileKind, app: str, name: str, content: bytes, timeout_s: float | None, as_json: bool
) -> Outcome:
    what = f"{kind} {app}/{name}"
    async with session.async_client() as client:
        used = (await client.get_file(kind, app, name))[1]
        since = await earlier(client, app) if used else None
        done = await client.rotate_file(kind, app, name, content)
        outcome, told = Outcome.DONE, ""
        if not as_json:
            said = "is that already, nothing is changed" if done.same else f"is at version {done.file.version} now"
            click.echo(f"{what} {said}" + (f"; rolling out {', '.join(done.services)}" if done.services else ""))
        if done.services and since is not None and timeout_s is not None:
            ended = await settle(client, app, since=since, timeout_s=timeout_s, services=frozenset(done.services), silent=as_json)
            outcome = ended.outcome
            told = {
                Outcome.DONE: f"{plural(len(done.services), 'service')} rolled out",
                Outcome.FAILED: f"not rolled out, {what} is back at the version before there. Next: {next_steps(ended.look)}",
            }.get(outcome, f"not rolled out yet; it goes on. Next: {next_steps(ended.look)}")
    if as_json:
        word = "started" if timeout_s is None else outcome.value
        show_json({**jsonable(done.file), "same": done.same, "services": done.services, "outcome": word})
    elif told:
        click.echo(told) if outcome is Outcome.DONE else say(told)
    return outcome


def _rm(kind: FileKind) -> click.Command:
    @command("rm", help=f"Remove {kind}s with all their versions. One that a service has stays.", short_help=f"Remove {kind}s.")
    @click.argument("names", metavar="APP/NAME...", nargs=-1, required=True)
    @json_option
    @pass_session
    def rm(session: Session, names: tuple[str, ...], as_json: bool) -> None:
        split = [_split(name, kind) for name in names]
        with session.client() as client:
            for app, own in split:
                client.remove_file(kind, app, own)
                if not as_json:
                    click.echo(f"removed {kind} {app}/{own}")
        if as_json:
            show_json({"removed": list(names)})

    return rm


def _split(name: str, kind: FileKind) -> tuple[str, str]:
    app, slash, own = name.partition("/")
    if not app or not slash or not own:
        raise Failure(f"{name!r}: a {kind} belongs to an app, and goes by APP/NAME, as in shop/{name or 'key'}", status=BAD_INPUT)
    return app, own


def _read(file: Path, kind: FileKind) -> bytes:
    """The content; at a terminal a secret is asked for, unseen, without a line end."""
    if str(file) != "-":
        return file.read_bytes()
    if not sys.stdin.isatty():
        return sys.stdin.buffer.read()
    if kind is FileKind.SECRET:
        said: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True)
        return said.encode(errors="surrogateescape")
    say("Reading the config from the terminal; end it with Ctrl-D.")
    return sys.stdin.buffer.read()


def _of(file: StoredFile, uses: Iterable[FileUse]) -> list[FileUse]:
    return [use for use in uses if (use.app, use.name) == (file.app, file.name)]


def _json_content(content: bytes | None) -> dict[str, Any]:
    if content is None:
        return {}
    try:
        return {"content": content.decode()}
    except UnicodeDecodeError:
        return {"content_base64": base64.b64encode(content).decode()}
