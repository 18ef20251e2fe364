"""What `x-rookery.http` asks of requests and does to them, from a compose file."""

from collections.abc import Callable

import pytest
from rookery.http_rules import parse_user
from rookery.model import HeaderEdit, HeaderField, HttpRoute, HttpRules, RateLimit, Redirect, ServiceSpec, target_ports
from rookery.passwords import user_line

Load = Callable[..., ServiceSpec]
Errors = Callable[..., list[str]]
F = HeaderField


def routes(text: str) -> str:
    return f"expose: [80]\nx-rookery:\n  http:\n{text}"


def whole(http: str) -> str:
    lines = "\n".join(f"          {line}" for line in http.splitlines())
    return f"services:\n  web:\n    image: x\n    expose: [80]\n    x-rookery:\n      http:\n        -\n{lines}\n"


def test_everything_at_once(service: Load) -> None:
    line = user_line("ann", "secret")
    spec = service(
        routes(
            "    path: /api\n"
            "    methods: [get, POST]\n"
            "    headers: {X-Version: beta, X-Any: '*'}\n"
            "    rewrite: /v2\n"
            "    request_headers: {set: {X-A: b}, remove: Cookie}\n"
            "    response_headers: {remove: [Server, Via]}\n"
            f"    basic_auth: '{line}'\n"
            "    rate_limit: {requests: 30, per: 1m, by: route}\n"
            "    allow_from: [10.0.0.0/8, '::1']\n"
        )
    )
    rules = HttpRules(
        methods=("GET", "POST"),
        headers=(F(name="X-Version", value="beta"), F(name="X-Any", value="*")),
        rewrite="/v2",
        request_headers=HeaderEdit(set=(F(name="X-A", value="b"),), remove=("Cookie",)),
        response_headers=HeaderEdit(remove=("Server", "Via")),
        users=(line,),
        rate_limit=RateLimit(per_s=0.5, burst=30, by_client=False),
        allow_from=("10.0.0.0/8", "::1"),
    )
    assert parse_user(line)
    assert spec.routes == (HttpRoute(target=80, path="/api", rules=rules),)


def test_a_redirect_needs_no_port(service: Load) -> None:
    spec = service("x-rookery:\n  http: {host: a.example, redirect: https}\n")
    assert spec.routes == (HttpRoute(target=0, host="a.example", rules=HttpRules(redirect=Redirect(scheme="https"))),)
    assert target_ports(spec) == ()


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ("methods: [G T]", "http[0].methods: 'G T' is no method"),
        ("headers: [X-A]", "http[0].headers: X-A has no value"),
        ("headers: {'X A': b}", "http[0].headers: 'X A' is no name of a header"),
        ("request_headers: {set: {Content-Length: 5}}", "http[0].request_headers: Content-Length is the proxy's own to say"),
        ("basic_auth: ann:secret", "http[0].basic_auth: 'ann' is no user"),
        ("basic_auth: []", "http[0].basic_auth: nobody may ask"),
        ("rate_limit: {per: 1s}", "http[0].rate_limit: 'requests' is missing"),
        ("rate_limit: {requests: 1, per: 0s}", "http[0].rate_limit.per: is no time to count requests in"),
        ("allow_from: 10.0.0.1/8", "http[0].allow_from: '10.0.0.1/8' is no network"),
        ("allow_from: []", "http[0].allow_from: nobody may ask"),
        ("redirect: ftp", "http[0].redirect: the scheme 'ftp' is neither"),
        ("redirect: {status: 301}", "http[0].redirect: leads to where it came from"),
        ("redirect: {scheme: https, status: 304}", "http[0].redirect.status: 304 is no status of a redirect"),
        ("{redirect: https, rewrite: /x}", "http[0].rewrite: has no meaning where requests are redirected"),
        ("{path: /a, strip_path: true, rewrite: /x}", "http[0].rewrite: it and 'strip_path' both say"),
    ],
)
def test_what_can_not_be_is_named_once_with_its_place(errors: Errors, http: str, expected: str) -> None:
    found = errors(whole(http))
    assert len(found) == 1, found
    assert f"services.web.x-rookery.{expected}" in found[0]


def two(first: str, second: str) -> str:
    return (
        f"services:\n  a:\n    image: x\n    expose: [80]\n    x-rookery: {{http: {first}}}\n"
        f"  b:\n    image: x\n    expose: [80]\n    x-rookery: {{http: {second}}}\n"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{path: /x, methods: [GET, PUT]}", "{path: /x/, methods: [GET]}"),
        ("{headers: {X-A: a}}", "{headers: {X-A: '*'}}"),
        ("{headers: {X-A: a}}", "{headers: {X-B: b}}"),
        ("{redirect: https}", "{path: /}"),
    ],
)
def test_two_routes_that_a_request_can_not_tell_apart_are_refused_with_both_places(
    errors: Errors, first: str, second: str
) -> None:
    (clash,) = errors(two(first, second))
    assert "compose.yml:9: services.b.x-rookery: port 80/tcp is published twice (by services.a (compose.yml:5) too)" in clash


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{path: /x, methods: [GET]}", "{path: /x, methods: [POST]}"),
        ("{path: /x, methods: [GET]}", "{path: /x}"),
        ("{headers: {X-A: a}}", "{headers: {X-A: b}}"),
        ("{headers: {X-A: a}}", "{methods: [GET]}"),
        ("{path: /x}", "{path: /xy}"),
    ],
)
def test_two_routes_of_which_one_comes_first_are_taken(loaded: Callable[..., object], first: str, second: str) -> None:
    loaded(two(first, second))


def test_a_certificate_by_acme_is_tls_for_one_named_host(service: Load, errors: Errors) -> None:
    assert service(routes("    {host: Shop.Example.org, acme: true}\n")).routes == (
        HttpRoute(target=80, host="shop.example.org", published=443, tls=True, acme=True),
    )
    assert service(routes("    {host: a.example.org, acme: false}\n")).routes[0].published == 80
    for route, why in [
        ('{host: "*.example.org", acme: true}', "can't be had by HTTP-01; name each host in a route of its own"),
        ("{host: 10.0.0.1, acme: true}", "is an address"),
        ("{acme: true}", "name it with `host`"),
        ("{host: a.example.org, acme: true, tls: false}", "`tls` is false"),
    ]:
        (told,) = errors(f"services:\n  web:\n    image: x\n    expose: [80]\n    x-rookery: {{http: {route}}}\n")
        assert "acme: " in told
        assert why in told


def test_tls_has_its_own_port_and_shares_none_with_plain_http(service: Load, errors: Errors) -> None:
    assert service(routes("    {host: a.example, tls: true}\n")).routes == (
        HttpRoute(target=80, host="a.example", published=443, tls=True),
    )
    (mixed,) = errors(two("{published: 443, host: a.example}", "{tls: true, host: b.example}"))
    assert "compose.yml:9: services.b.x-rookery: port 443 is wanted with TLS and without it" in mixed
    assert "services.a (compose.yml:5) says otherwise" in mixed


def test_grpc_by_a_port_or_by_a_route(service: Load, errors: Errors) -> None:
    for spoken in ("grpc", "h2c", "http2"):
        assert service(f"ports: [{{target: 80, published: 80, app_protocol: {spoken}}}]").ports[0].app_protocol == "http2"
    assert service(routes("    {host: a.example, http2: true, tls: true}\n")).routes[0].http2
    (found,) = errors(whole("http2: true\nrate_limit: {requests: 1}"))
    assert "services.web.x-rookery.http[0].rate_limit: can't be had with `http2: true`" in found
    (mixed,) = errors(two("{http2: true, host: a.example}", "{host: b.example}"))
    assert "port 80 is wanted with HTTP/2 and without it" in mixed
