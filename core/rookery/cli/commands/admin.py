"""`rookery admin`: backups of the manager's store, and the lock on the secrets in it."""

import subprocess
import sys
import time
from pathlib import Path

import click

from rookery.cli.backup_file import Broken, receive, save
from rookery.cli.command import BAD_INPUT, CONTEXT_SETTINGS, Failure, global_options, json_option, pass_session
from rookery.cli.output import say, show_json, warn
from rookery.cli.session import Session
from rookery.model import LockKind, LockStatus
from rookery.process import data_dir

_MANAGERS = "rookery_manager.admin"  # its files are the manager's to read


@click.group("admin", context_settings=CONTEXT_SETTINGS)
@global_options
def admin() -> None:
    """Back up the manager's store; restore or verify a backup; lock and unlock the secrets in it.

    Secrets and configs are encrypted in the store and in a backup: to read them takes the manager's key file, or its passphrase.
    """


@admin.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--force", is_flag=True, help="Although there is such a file: it is replaced.")
@global_options
@pass_session
def backup(session: Session, file: Path, force: bool) -> None:
    """Write the store as it is now into FILE ('-' is the standard output), while the manager goes on.

    The file gets its name when it is whole, and what came is what the manager sent.
    """
    if str(file) != "-" and file.exists() and not force:
        raise Failure(f"{file} is there already; take another name, or --force to replace it", status=BAD_INPUT)
    with session.client() as client:
        try:
            if str(file) == "-":
                receive(client.backup(), sys.stdout.buffer, _Progress())
                return
            size = save(client.backup(), file, _Progress())
        except Broken as error:
            raise Failure(str(error)) from None
    click.echo(f"backed up {session.address()} to {file} ({size >> 10} KiB)")


class _Progress:
    """A line at a terminal, from the first second on."""

    def __init__(self) -> None:
        self._next_at = time.monotonic() + 1.0

    def __call__(self, got: int, wanted: int) -> None:
        now = time.monotonic()
        if now >= self._next_at and sys.stderr.isatty():
            self._next_at = now + 1.0
            say(f"{got * 100 // max(1, wanted)} % of {wanted >> 20} MiB")


@admin.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), default=lambda: data_dir("manager"), metavar="DIR",
    help="The manager's data directory, as given to it (else its own place).",
)  # fmt: skip
def restore(file: Path, data: Path) -> None:
    """Put the backup FILE in the place of the store in DIR, on the manager's machine, while no manager runs there.

    The file is checked first; what was there is kept under another name. What was deployed since the backup must be deployed
    again.
    """
    _run("restore", str(file), "--data", str(data))


@admin.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def verify(file: Path) -> None:
    """Check that the backup FILE is whole and can be restored."""
    _run("verify", str(file))


def _run(*arguments: str) -> None:
    """Has the manager's part do it: its status is ours."""
    done = subprocess.run([sys.executable, "-m", _MANAGERS, *arguments], capture_output=True, text=True, check=False)
    click.echo(done.stdout, nl=False)
    if done.returncode:
        raise Failure(done.stderr.strip().removeprefix("error: ") or f"{_MANAGERS} ended with status {done.returncode}")


@admin.command("lock", short_help="See, or choose, what opens secrets and configs.")
@click.argument("wanted", type=click.Choice(["status", "on", "off", "reset"]), default="status")
@click.option("--yes", "-y", is_flag=True, help="With 'reset': do not ask.")
@json_option
@global_options
@pass_session
def lock(session: Session, wanted: str, yes: bool, as_json: bool) -> None:
    """Say what opens the manager's secrets and configs; with 'on' that is a passphrase, with 'off' its key file.

    With a passphrase the manager starts locked: what runs goes on, and nothing that has a secret or config is started anew until
    'rookery admin unlock'. Its key file is removed. Without the passphrase nobody can read them any more, so keep it well.

    'reset' is for a manager whose key file or passphrase is lost for good: it gets a new key, and all secrets and configs are
    lost. Then rotate each, and deploy the apps again.

    Passphrases are asked for; without a terminal they are the lines of the standard input, the present one first.
    """
    with session.client() as client:
        status = client.get_lock()
        if wanted == "on":
            present = _passphrase("Present passphrase") if status.kind is LockKind.PASSPHRASE else ""
            status = client.set_lock(LockKind.PASSPHRASE, passphrase=_passphrase("New passphrase", new=True), present=present)
        elif wanted == "off":
            present = _passphrase("Present passphrase") if status.kind is LockKind.PASSPHRASE else ""
            status = client.set_lock(LockKind.KEY_FILE, present=present)
        elif wanted == "reset":
            if not yes:
                click.confirm("No secret or config can be read any more after that. Go on?", abort=True, err=True)
            status = client.set_lock(LockKind.KEY_FILE, give_up=True)
    _show_lock(status, as_json)


@admin.command("passphrase", short_help="Change the passphrase.")
@json_option
@global_options
@pass_session
def passphrase(session: Session, as_json: bool) -> None:
    """Change the passphrase that opens the manager's secrets and configs. Backups from before have the old one."""
    with session.client() as client:
        if client.get_lock().kind is not LockKind.PASSPHRASE:
            raise Failure("there is no passphrase to change; 'rookery admin lock on' sets one", status=BAD_INPUT)
        present = _passphrase("Present passphrase")
        status = client.set_lock(LockKind.PASSPHRASE, passphrase=_passphrase("New passphrase", new=True), present=present)
    _show_lock(status, as_json)


@admin.command("unlock", short_help="Unlock a manager that started locked.")
@json_option
@global_options
@pass_session
def unlock(session: Session, as_json: bool) -> None:
    """Give a manager that started locked its passphrase; or have it look again for its key file."""
    with session.client() as client:
        said = _passphrase("Passphrase") if client.get_lock().kind is LockKind.PASSPHRASE else ""
        status = client.unlock(said)
    _show_lock(status, as_json)


def _show_lock(status: LockStatus, as_json: bool) -> None:
    if as_json:
        show_json(status)
        return
    by = f"the key file {status.key_file}" if status.kind is LockKind.KEY_FILE else "a passphrase"
    click.echo(f"secrets and configs are opened by {by}; {'locked now' if status.locked else 'unlocked now'}")
    if status.locked:
        say(status.locked)
    if status.note:
        warn(status.note)


def _passphrase(what: str, *, new: bool = False) -> str:
    """Asked for, unseen; without a terminal the next line of the standard input."""
    if sys.stdin.isatty():
        asked: str = click.prompt(what, hide_input=True, confirmation_prompt=new, err=True)
        return asked
    said = sys.stdin.readline().rstrip("\r\n")
    if not said:
        raise Failure(f"{what.lower()}: there is no line for it on the standard input", status=BAD_INPUT)
    return said
