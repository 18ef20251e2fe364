"""A connection to an endpoint that many calls share, by HTTP/2 without TLS.

Invariant: a call is on one connection at a time, and hears once what became of it there.
"""

_UNHEARD_MS = 30_000  # what was sent is acknowledged by then, or the host is gone: calls would go there for a quarter of an hour
