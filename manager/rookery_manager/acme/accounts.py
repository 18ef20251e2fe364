"""The account at the authority: made once, with its key in the store before the authority hears of it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from rookery.model import AcmeAccount, SealedFile

from rookery_manager.acme.asking import ask
from rookery_manager.acme.contents import ACCOUNT, Contents
from rookery_manager.acme.settings import AcmeSettings
from rookery_manager.actor import Actor
from rookery_manager.clock import Clock
from rookery_manager.planners.actions import SetAccount
from rookery_manager.state import State

if TYPE_CHECKING:
    from rookery_manager.acme.authority import Authority


class Accounts:
    def __init__(self, state: State, actor: Actor, clock: Clock, contents: Contents) -> None:
        self._state = state
        self._actor = actor
        self._clock = clock
        self._contents = contents
        self._authority: Authority | None = None

    async def authority(self, settings: AcmeSettings) -> "Authority":
        """The authority, as one who has an account there. Raises Failed, Locked."""
        if self._authority is not None:
            return self._authority
        from rookery_manager.acme.authority import Authority, new_key  # lazily: it costs what others need not spend

        account = self._state.account_at(settings.directory)
        key = await self._contents.read(ACCOUNT, account.key_digest) if account is not None else None
        if account is None or key is None:
            key = new_key()
            sealed = self._contents.sealed(ACCOUNT, key)
            account = AcmeAccount(directory=settings.directory, key_digest=sealed.digest, created_at=self._clock())
            await self._keep(account, "a key was made for it", sealed)
        authority = Authority(settings, key, account.url)
        if not account.url:
            url = await ask(authority.register)
            account = replace(account, url=url, email=settings.email)
            await self._keep(account, "the authority has it, and its terms are agreed to")
        elif account.email != settings.email:
            await ask(lambda: authority.contact(settings.email))
            account = replace(account, email=settings.email)
            await self._keep(account, f"its contact is {settings.email or 'nobody'} from now on")
        self._authority = authority
        return authority

    def part(self) -> None:
        """Whatever is asked next begins with a look at the account."""
        if self._authority is not None:
            self._authority.close()
            self._authority = None

    async def forget(self, directory: str) -> None:
        """The authority does not know the account any more: the same key gets another one."""
        self.part()
        account = self._state.account_at(directory)
        if account is not None:
            await self._keep(replace(account, url=""), "the authority does not know it any more")

    async def _keep(self, account: AcmeAccount, why: str, *sealed: SealedFile) -> None:
        while not await self._actor.act([SetAccount(account=account, why=why, sealed=sealed)]):
            pass
