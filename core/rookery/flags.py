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


def metrics_address(text: str) -> str:
    """Where to show metrics: `HOST:PORT`, or `PORT` for loopback only; port 0 is any. Gives HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or (":" in text and not host):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT or PORT, as in 127.0.0.1:9090, got {text!r}")
    return f"{host or '127.0.0.1'}:{port}"


def add_metrics_flag(parser: argparse.ArgumentParser) -> None:
    """`--metrics`, the same for every part: off unless asked for, so that several parts share a machine without a thought."""
    parser.add_argument(
        "--metrics",
        type=metrics_address,
        default=None,
        metavar="[HOST:]PORT",
        help="show Prometheus metrics at http://HOST:PORT/metrics; a PORT alone is on loopback (off)",
    )


def seconds(text: str) -> float:
    """A time, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text!r}")
    return value


def size(text: str) -> int:
    """Bytes, from 16M to 10T, as in 500M or 2G (of 1000 each)."""
    found = re.fullmatch(r"(\d{1,15})([kKmMgGtT]?)[bB]?", text)
    value = int(found[1]) * 1000 ** " kmgt".index(found[2].lower() or " ") if found else -1
    if not 16_000_000 <= value <= 10_000_000_000_000:
        raise argparse.ArgumentTypeError(f"expected a size from 16M to 10T, as in 500M or 2G, got {text!r}")
    return value


def node_name(text: str) -> str:
    """A node's hostname, as the manager takes it."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"expected letters, digits, '.', '-' and '_', got {text!r}")
    return text
