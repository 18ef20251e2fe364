"""GetLock, SetLock, Unlock: what it takes to read the store's secrets and configs."""

from contextlib import suppress

from rookery.model import LockKind, Seal
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import impossible_now, invalid
from rookery_manager.api.needs import Api
from rookery_manager.records import SEAL_KEY, put
from rookery_manager.sealing.keyring import LEAST_CHARACTERS, Locked
from rookery_manager.store import Condition, Put, StoreError

MOST_CHARACTERS = 1_000
_KINDS = {types_pb2.LOCK_KIND_KEY_FILE: LockKind.KEY_FILE, types_pb2.LOCK_KIND_PASSPHRASE: LockKind.PASSPHRASE}


async def get_lock(api: Api, request: control_pb2.GetLockRequest) -> control_pb2.LockStatus:  # noqa: ARG001
    message: control_pb2.LockStatus = encode(api.keyring.status())
    return message


async def set_lock(api: Api, request: control_pb2.SetLockRequest) -> control_pb2.LockStatus:
    if request.kind not in _KINDS:
        raise invalid("kind: must be key-file or passphrase")
    kind = _KINDS[request.kind]
    if kind is LockKind.PASSPHRASE and not LEAST_CHARACTERS <= len(request.passphrase) <= MOST_CHARACTERS:
        raise invalid(f"passphrase: must have {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
    read = api.state.condition(SEAL_KEY)
    if request.give_up:
        return await _give_up(api, request.actor, read)
    try:
        seal = await api.keyring.resealed(kind, passphrase=request.passphrase, present=request.present)
    except Locked as error:
        await _note(api, request.actor, f"changing the lock: {error}")
        raise
    await _write(api, seal, f"opened by a {kind.replace('-', ' ')} from now on", request.actor, read)
    note = api.keyring.take(seal)
    message: control_pb2.LockStatus = encode(api.keyring.status())
    message.note = note
    return message


async def _give_up(api: Api, actor: str, read: Condition) -> control_pb2.LockStatus:
    if not api.keyring.locked:
        raise impossible_now("this manager is not locked: nothing has to be given up")
    seal, data_key = await api.keyring.anew()
    await _write(api, seal, "all secrets and configs were given up; a new key", actor, read)
    api.keyring.take(seal, data_key)
    message: control_pb2.LockStatus = encode(api.keyring.status())
    message.note = "no secret or config from before can be read any more: rotate each, and deploy the apps again"
    return message


async def _write(api: Api, seal: Seal, why: str, actor: str, read: Condition) -> None:
    def propose() -> Proposal[None]:
        if api.state.condition(SEAL_KEY) != read:
            raise impossible_now("the lock was changed by somebody else meanwhile; look with: rookery admin lock")
        return Proposal(answer=None, writes=[put(seal, why)], conditions=[read])

    await commit(api, propose, actor)


async def unlock(api: Api, request: control_pb2.UnlockRequest) -> control_pb2.LockStatus:
    was_locked = bool(api.keyring.locked)
    try:
        await api.keyring.unlock(request.passphrase)
    except Locked as error:
        await _note(api, request.actor, f"unlocking: {error}")
        raise impossible_now(str(error)) from None
    if was_locked:
        said = Put(key="lock", value=b"", why="unlocked: secrets and configs can be read")
        await commit(api, lambda: Proposal(answer=None, writes=[said]), request.actor)
    message: control_pb2.LockStatus = encode(api.keyring.status())
    return message


async def _note(api: Api, actor: str, why: str) -> None:
    """A wrong passphrase is an attempt that is kept, where it is known whose it is."""
    if api.identities is None:
        return
    with suppress(StoreError):
        await api.attempts.note(actor.partition("@")[0] or "unknown", actor or "unknown", why)
