"""Which authority is asked, and in whose name: what the operator says once, on the manager."""

from dataclasses import dataclass
from pathlib import Path

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSettings:
    """There are none without the operator's consent to the authority's terms.

    `directory` is the authority's URL; `ca_file` holds the roots that it is trusted by, None: the public ones. `http_port` is
    the proxies' port that the world reaches as port 80.
    """

    directory: str = LETS_ENCRYPT
    email: str = ""
    ca_file: Path | None = None
    http_port: int = 80
