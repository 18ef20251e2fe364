"""The address of a manager, as people write it."""

DEFAULT_PORT = 7070
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"


def parse_address(text: str) -> str:
    """`HOST:PORT` of `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`. Raises ValueError with what is wrong."""
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        host = f"[{host}]"
        if not bracket or not host[1:-1] or (rest and not rest.startswith(":")):
            raise ValueError(f"expected [ADDRESS]:PORT, got {text!r}")
        port = rest[1:]
    elif text.count(":") > 1:
        raise ValueError(f"expected HOST:PORT, got {text!r}; an IPv6 address goes in brackets: [::1]:{DEFAULT_PORT}")
    else:
        host, _, port = text.partition(":")
    if not host or any(c.isspace() or c in "/@?#" for c in host):
        raise ValueError(f"expected HOST:PORT, got {text!r}")
    if not port:
        return f"{host}:{DEFAULT_PORT}"
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ValueError(f"expected a port from 1 to 65535 in {text!r}, got {port!r}")
    return f"{host}:{int(port)}"
