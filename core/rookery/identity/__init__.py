"""Who a process is to its peers: a key and a certificate of the cluster's authority, how it gets them, and where they are kept.

Nothing here loads `cryptography` but `keys`, which is imported where a key is made.
"""

from rookery.identity.files import Damaged, Identity, load, save
from rookery.identity.token import BadToken, Token, parse_token

__all__ = ["MANAGER_NAME", "REMOVED", "BadToken", "Damaged", "Identity", "Token", "load", "parse_token", "save"]

MANAGER_NAME = "manager.rookery"  # in the certificate of every manager, wherever it listens; no other part's has it
REMOVED = ("rookery-removed", "1")  # in the trailing metadata of what a removed agent is refused: it is to run nothing any more
