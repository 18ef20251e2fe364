"""Talks to the kernel through the program nft: put in force, look, remove.

Invariant: a call that does not come back holds up nothing; what nft says in vain is one line with the way out.
"""

import os
import shutil
import subprocess

from rookery_agent.runtime.blocking import Calls

_CALL_S = 10.0
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))  # which users other than root may not have in PATH


class NftFailure(Exception):
    """The kernel can't be told, or asked."""


class NoSuchTable(NftFailure):
    """It is not there, or not any more."""


class Nft:
    def __init__(self) -> None:
        self._calls = Calls("nft", 1)

    async def put(self, script: str) -> None:
        """All of the script, or nothing. Raises NftFailure."""
        await self._run(["-f", "-"], script)

    async def listed(self, table: str) -> str:
        """The table as it is. Raises NoSuchTable or NftFailure."""
        return await self._run(["list", "table", "inet", table])

    async def tables(self, prefix: str) -> tuple[str, ...]:
        """The tables whose names begin so. Raises NftFailure."""
        lines = (await self._run(["list", "tables", "inet"])).splitlines()
        names = [line.rpartition(" ")[2] for line in lines]
        return tuple(name for name in names if name.startswith(prefix))

    def close(self) -> None:
        self._calls.close()

    async def _run(self, arguments: list[str], script: str = "") -> str:
        program = shutil.which("nft", path=_PLACES)
        if program is None:
            raise NftFailure("the program nft is missing; install nftables")

        def call() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [program, *arguments],
                input=script,
                capture_output=True,
                text=True,
                timeout=_CALL_S,
                check=False,
                env={**os.environ, "LC_ALL": "C"},  # its words are read
            )

        try:
            done = await self._calls.run(call, _CALL_S)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise NftFailure(f"nft does not come back within {_CALL_S:g} s") from None
        except OSError as error:
            raise NftFailure(f"{program} can't be run: {error.strerror}") from error
        if done.returncode == 0:
            return done.stdout
        words = next((line for line in done.stderr.splitlines() if line.strip()), "it gives no reason").strip()
        if "No such file or directory" in words and "list" in arguments:
            raise NoSuchTable(words)
        if "not permitted" in words or "ermission denied" in words or "must be root" in words:
            raise NftFailure("this agent may not change the kernel's rules; run it as root, or with the capability NET_ADMIN")
        raise NftFailure(f"nft refuses: {words[:300]}")
