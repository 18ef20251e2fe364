"""What all commands share: the options that each takes, the session they are given, and how an error becomes an exit status."""

import errno
import os
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import click

from rookery.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])
CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
FAILED, BAD_INPUT, TIMED_OUT, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 130


class Failure(click.ClickException):
    """What went wrong, in words for a person, and the exit status that says it to a script."""

    def __init__(self, message: str, *, status: int = FAILED) -> None:
        super().__init__(message)
        vars(self)["exit_code"] = status  # click declares it on the class, and reads it from the error

    def show(self, file: Any = None) -> None:
        mark = click.style("error: ", fg="red", bold=True)
        click.echo(mark + self.format_message(), file=file, err=True)


def global_options(command: F) -> F:
    """`--manager`, `--insecure` and `--no-color`, which may stand before a command as well as after it."""
    command = click.option(
        "--insecure", is_flag=True, expose_value=False, callback=_set_insecure, is_eager=True,
        help="Plain text, to a manager on this machine that was started so; for trials only.",
    )(command)  # fmt: skip
    command = click.option(
        "--manager", metavar="HOST:PORT", expose_value=False, callback=_set_manager, is_eager=True,
        help="The manager to talk to (else ROOKERY_MANAGER, the saved context, 127.0.0.1:7070).",
    )(command)  # fmt: skip
    return click.option(
        "--no-color", is_flag=True, expose_value=False, callback=_set_color, is_eager=True,
        help="No colours (also: NO_COLOR in the environment).",
    )(command)  # fmt: skip


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command that takes the global options too."""

    def make(function: Callable[..., Any]) -> click.Command:
        made = click.command(name, cls=click.Command, context_settings=CONTEXT_SETTINGS, **settings)(global_options(function))
        made.params.sort(key=lambda param: param.name in ("manager", "insecure", "no_color"))  # its own come first in its help
        return made

    return make


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_detach = click.option("--detach", "-d", is_flag=True, help="Do not wait until it is done.")
_timeout = click.option(
    "--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, metavar="SECONDS",
    help="Seconds to wait; those of a canary or blue-green count anew with each step.",
)  # fmt: skip
pass_session = click.make_pass_decorator(Session, ensure=True)


def as_failure(error: Exception) -> Exception:
    """The Failure for an error of a command; an error that click knows what to do with is returned as it is."""
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return error
    from rookery.client.errors import BadRequest, ClientError, TimedOut, Unreachable  # lazy: loads gRPC

    match error:
        case Unreachable():
            return Failure(str(error), status=UNREACHABLE)
        case TimedOut():
            return Failure(str(error), status=TIMED_OUT)
        case BadRequest():
            return Failure(str(error), status=BAD_INPUT)
        case ClientError():
            return Failure(str(error))
        case OSError():
            return Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if os.environ.get("ROOKERY_DEBUG"):
        traceback.print_exception(error)
    return Failure(f"this is a mistake in rookery: {type(error).__name__}: {error} (ROOKERY_DEBUG=1 shows where)")


def waiting_options(command: F) -> F:
    """`--detach` and `--timeout`."""
    return _detach(_timeout(command))


def _session(ctx: click.Context) -> Session:
    return ctx.ensure_object(Session)


def _set_manager(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        _session(ctx).manager = value


def _set_insecure(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        _session(ctx).insecure = True


def _set_color(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value or os.environ.get("NO_COLOR"):
        ctx.color = False  # else click leaves colours out wherever the output is no terminal
