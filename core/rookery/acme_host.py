"""For which hosts a certificate can be had by ACME's HTTP-01, wherever they come from: a compose file or an API client. Pure."""

import ipaddress

_WAY_OUT = "give its certificate to the proxies with --certificates, and write `tls: true`"
# No authority that the public trusts may issue for these (RFC 6761, 6762, 7686, 8375, 9476; .internal by ICANN).
_PRIVATE = ("alt", "example", "home.arpa", "internal", "invalid", "local", "localhost", "onion", "test")


def host_fault(host: str) -> str:
    """Why no authority can prove it by HTTP-01; empty where one may."""
    if not host:
        return "a certificate is for a host; name it with `host`"
    if host.startswith("*."):
        return f"a certificate for {host} can't be had by HTTP-01; name each host in a route of its own, or {_WAY_OUT}"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ""
    return f"{host} is an address, and certificates by ACME are for names here; {_WAY_OUT}"


def private_fault(host: str) -> str:
    """Why no authority that the public trusts issues for it; empty where one may."""
    name = host.lower().rstrip(".")
    if "." in name and not any(name.endswith(f".{suffix}") for suffix in _PRIVATE):
        return ""
    return (
        f"{host} is no name on the public internet, and no public authority issues for it; {_WAY_OUT}, or have the manager ask "
        "an authority of your own (--acme-directory, --acme-ca)"
    )
