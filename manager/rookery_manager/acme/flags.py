"""The manager's flags for ACME. Without the operator's consent to the authority's terms nobody is asked for anything."""

import argparse
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from rookery_manager.acme.settings import LETS_ENCRYPT, AcmeSettings

_CONSENT = "--acme-agree-terms"


def add_acme_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("certificates by ACME (RFC 8555), for routes with `acme: true`")
    group.add_argument(
        _CONSENT, action="store_true", help="get certificates, and agree to the terms of the authority that is asked for them"
    )
    group.add_argument("--acme-directory", type=_directory, metavar="URL", help=f"the authority that is asked ({LETS_ENCRYPT})")
    group.add_argument("--acme-email", type=_email, metavar="ADDRESS", help="whom the authority can write to (nobody)")
    group.add_argument(
        "--acme-ca", type=_roots, metavar="FILE", help="roots in PEM that the authority's own certificate is trusted by (public)"
    )
    group.add_argument(
        "--acme-http-port", type=_port, metavar="PORT", help="the proxies' port that the world reaches as port 80 (80)"
    )


def acme_settings(parser: argparse.ArgumentParser, options: argparse.Namespace) -> AcmeSettings | None:
    """None without consent; exits where other flags are given without it."""
    given = {
        "directory": options.acme_directory,
        "email": options.acme_email,
        "ca_file": options.acme_ca,
        "http_port": options.acme_http_port,
    }
    said = {name: value for name, value in given.items() if value is not None}
    if options.acme_agree_terms:
        return AcmeSettings(**said)
    if said:
        parser.error(f"nobody is asked for certificates without {_CONSENT}, which agrees to the terms of the authority")
    return None


def _directory(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname:
        raise argparse.ArgumentTypeError(f"expected an https:// URL of an ACME directory, got {text!r}")
    return text


def _email(text: str) -> str:
    name, at, host = text.partition("@")
    if not (name and at and host and text.isascii() and text.isprintable()) or set(text) & set(" ,<>?"):
        raise argparse.ArgumentTypeError(f"expected an address such as ops@example.org, got {text!r}")
    return text


def _roots(text: str) -> Path:
    path = Path(text).absolute()
    try:
        ssl.create_default_context(cafile=str(path))
    except OSError as error:  # an SSLError is one
        why = "there is no certificate in PEM in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise argparse.ArgumentTypeError(f"{text}: {why}") from None
    return path


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)
