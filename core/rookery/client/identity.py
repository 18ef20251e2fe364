"""With what a client connects: an identity, or plain text to a manager of this machine that was started with --insecure."""

import os

from rookery.client.errors import Denied
from rookery.identity import Identity
from rookery.identity.find import NoIdentity, find_identity
from rookery.identity.standing import check_loopback
from rookery.process import Stop


def choose(address: str, identity: Identity | None, insecure: bool) -> Identity | None:
    """None for plain text. Raises Denied where there is no identity for that manager, or it is too far away for plain text."""
    if identity is not None:
        return identity
    if insecure or "ROOKERY_INSECURE" in os.environ:
        try:
            check_loopback(address, "--insecure" if insecure else "ROOKERY_INSECURE")
        except Stop as error:
            raise Denied(str(error), code="FAILED_PRECONDITION") from None
        return None
    try:
        return find_identity(address)
    except NoIdentity as error:
        raise Denied(str(error), code="UNAUTHENTICATED") from None
