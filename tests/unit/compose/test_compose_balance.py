"""How requests are shared out, from `x-rookery.balance`."""

from collections.abc import Callable

import pytest
from rookery.model import BalanceMethod, Balancing, ServiceSpec

Load = Callable[..., ServiceSpec]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("round-robin", Balancing(method=BalanceMethod.ROUND_ROBIN)),
        ("{method: hash, by: header X-User}", Balancing(method=BalanceMethod.HASH, hash_header="X-User")),
        ("{method: hash, by: cookie user}", Balancing(method=BalanceMethod.HASH, hash_cookie="user")),
        ("{method: hash, by: client}", Balancing(method=BalanceMethod.HASH)),
        (
            "{weight: node.labels.power, prefer: node.labels.zone, slow_start: 30s, max_in_flight: 100}",
            Balancing(
                weight="node.labels.power",
                prefer="node.labels.zone",
                slow_start_s=30.0,
                max_in_flight=100,
                queue_s=5.0,
                queue_most=1000,
            ),
        ),
        ("{max_in_flight: 9, queue: {for: 2s, most: 3}}", Balancing(max_in_flight=9, queue_s=2.0, queue_most=3)),
        ("{max_in_flight: 9, queue: {most: 0}}", Balancing(max_in_flight=9)),
    ],
)
def test_what_is_written_is_what_is_meant(service: Load, text: str, expected: Balancing) -> None:
    assert service(f"ports: ['80:80']\nx-rookery: {{balance: {text}}}").balancing == expected


def test_nothing_written_is_the_less_loaded_of_two(service: Load) -> None:
    assert service("ports: ['80:80']").balancing == Balancing()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random", "balance.method: expected two-choices, round-robin, least-in-flight or hash, got 'random'"),
        ("{by: client}", "balance.by: is of the method hash, but the method is two-choices"),
        ("{method: hash, by: x}", "balance.by: expected client, header NAME or cookie NAME, got 'x'"),
        ("{method: hash, by: header a(b}", "balance.by: 'a(b' is no name of a header"),
        ("{weight: node.role}", "balance.weight: nodes have no roles"),
        ("{prefer: zone}", "balance.prefer: 'zone' is no property of a node"),
        ("{slow_start: 2h}", "balance.slow_start: more than an hour is too long"),
        ("{max_in_flight: 0}", "balance.max_in_flight: expected 1 or more, got 0"),
        ("{queue: {most: 3}}", "balance.queue: nobody waits without a 'max_in_flight'"),
        ("{max_in_flight: 1, queue: {for: 0s}}", "balance.queue.for: is not more than 0s and at most 1h"),
    ],
)
def test_what_can_not_be_is_named_with_its_place(errors: Callable[..., list[str]], text: str, expected: str) -> None:
    (found,) = errors(f"services:\n  web:\n    image: x\n    ports: ['80:80']\n    x-rookery: {{balance: {text}}}\n")
    assert f"services.web.x-rookery.{expected}" in found


def test_a_proxy_header_is_asked_for_by_its_version(service: Load, errors: Callable[..., list[str]]) -> None:
    assert service("ports: ['25:25']\nx-rookery: {proxy_protocol: v2}").proxy_protocol == 2
    for keys, expected in (
        ("ports: [{target: 80, published: 80, app_protocol: http}]", "is for TCP"),
        ("expose: [80]", "no connection passes the proxies"),
    ):
        (found,) = errors(f"services:\n  web:\n    image: x\n    {keys}\n    x-rookery: {{proxy_protocol: v1}}\n")
        assert f"services.web.x-rookery.proxy_protocol: {expected}" in found
