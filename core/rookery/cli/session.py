"""What a command needs to know of the call: which manager it talks to, and who asks."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rookery.cli.settings import Settings
    from rookery.client import AsyncClient, Client


@dataclass(slots=True)
class Session:
    """`manager` is what the option says, empty where it was not given; `insecure` too."""

    manager: str = ""
    insecure: bool = False

    def address(self) -> str:
        """The manager's address. Raises UsageError where it is none, naming where it came from."""
        from rookery.cli.settings import load_settings  # lazy: `rookery --help` needs none of it
        from rookery.client.address import parse_address  # lazy: loads gRPC

        text, origin = choose_manager(self.manager, os.environ.get("ROOKERY_MANAGER", ""), load_settings())
        try:
            return parse_address(text)
        except ValueError as error:
            raise click.UsageError(f"{origin}: {error}") from None

    def client(self, *, timeout_s: float = 10.0) -> "Client":
        from rookery.client import Client  # lazy: loads gRPC

        address = self.address()
        self._keep_login(address)
        return Client(address, timeout_s=timeout_s, actor=actor(), insecure=self.insecure)

    def async_client(self) -> "AsyncClient":
        from rookery.client import AsyncClient  # lazy: loads gRPC

        address = self.address()
        self._keep_login(address)
        return AsyncClient(address, actor=actor(), insecure=self.insecure)

    def _keep_login(self, address: str) -> None:
        """Says what --insecure means; else renews a login that is a day old, so that it goes on while it is used."""
        if self.insecure:
            from rookery.cli.output import warn  # lazy: as above

            warn(f"--insecure: {address} is not asked who it is, and what is said to it can be read and changed")
            return
        from rookery.cli.login import keep_login  # lazy: as above

        keep_login(address)


def choose_manager(option: str, environment: str, settings: "Settings") -> tuple[str, str]:
    """The address to use and where it came from: the first that is set of option, environment, saved context, default."""
    if option:
        return settings.contexts.get(option, option), "--manager"
    if environment:
        return settings.contexts.get(environment, environment), "ROOKERY_MANAGER"
    if settings.current in settings.contexts:
        return settings.contexts[settings.current], f"context {settings.current}"
    return "127.0.0.1:7070", "default"


def actor() -> str:
    """Who the store's history names for what this command changes: `ann@laptop`."""
    import getpass  # lazy: as above
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
