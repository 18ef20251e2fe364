"""What an HTTP route asks of requests, and does to them and to their answers."""

from dataclasses import dataclass

ANY_VALUE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderField:
    """A header field. In what a route asks for, the value `*` is any."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderEdit:
    """Fields that are put in place of those with their names, and fields that are taken out."""

    set: tuple[HeaderField, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where a client is sent instead. What is empty (or 0) stays as it was asked for; `path` takes the place of the route's."""

    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    status: int = 308


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """So many requests a second, and `burst` at once; of each client address, or (not `by_client`) of all together.

    Each worker of each proxy counts for itself.
    """

    per_s: float
    burst: int = 1
    by_client: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRules:
    """`methods` and `headers` are asked of a request beside the route's host and path: all of the headers, one of the methods.

    `rewrite` takes the place of the route's path. `users` are `NAME:scrypt.SALT.HASH`, `allow_from` networks; empty is everybody.
    """

    methods: tuple[str, ...] = ()
    headers: tuple[HeaderField, ...] = ()
    rewrite: str = ""
    redirect: Redirect | None = None
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    users: tuple[str, ...] = ()
    rate_limit: RateLimit | None = None
    allow_from: tuple[str, ...] = ()

    @property
    def is_selective(self) -> bool:
        """Whether requests for the route's host and path may be none of its own."""
        return bool(self.methods or self.headers)

    @property
    def selection(self) -> str:
        """What it asks of a request, in words that are the same for the same; empty for nothing."""
        asked = [",".join(sorted(self.methods))] if self.methods else []
        asked += sorted(f"{field.name.lower()}={field.value}" for field in self.headers)
        return ";".join(asked)


def rank(rules: HttpRules) -> tuple[int, int]:
    """Which of two routes with one host and path is asked first: the smaller. Headers say more than methods."""
    return -len(rules.headers), -bool(rules.methods)


def can_be_confused(one: HttpRules, other: HttpRules) -> bool:
    """Whether some request fits both, and neither comes before the other."""
    if rank(one) != rank(other) or (one.methods and other.methods and not set(one.methods) & set(other.methods)):
        return False
    wanted = {field.name.lower(): field.value for field in one.headers}
    return not any(
        ANY_VALUE not in (field.value, wanted[field.name.lower()]) and wanted[field.name.lower()] != field.value
        for field in other.headers
        if field.name.lower() in wanted
    )
