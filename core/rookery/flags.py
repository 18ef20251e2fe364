"""Types of the long-running parts' flags, for argparse: a wrong one is refused when it is read, not tried for ever."""

import argparse
import math
import re


def host_port(text: str) -> str:
    """`HOST:PORT`, the address of a manager."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, as in 10.0.0.1:7070, got {text!r}")
    return text


def seconds(text: str) -> float:
    """A time, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text!r}")
    return value


def node_name(text: str) -> str:
    """A node's hostname, as the manager takes it."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"expected letters, digits, '.', '-' and '_', got {text!r}")
    return text
