"""What the proxy shows of its figures."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from proxy_rig import Backend, Rig, answering, ask_once, endpoint, free_port, rig, route

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def fetch(port: int) -> Values:
    status, headers, body = await ask_once(port, "/metrics")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/plain")
    found = text_string_to_metric_families(body.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in found for s in family.samples}


def total(values: Values, name: str, **labels: str) -> float:
    """The sum over all series that have these labels."""
    return sum(v for (n, held), v in values.items() if n == name and labels.items() <= dict(held).items())


async def reported(rig: Rig, replica: str, requests: int) -> None:
    def told() -> bool:
        return any(s.replica_id == replica and s.requests >= requests for report in rig.routing.reports for s in report.endpoints)

    await rig.routing.wait(told, f"{requests} requests at {replica}")


def test_requests_are_counted_by_service_revision_and_endpoint_and_latencies_stay_when_endpoints_go() -> None:
    async def main() -> None:
        metrics, port, dead = free_port(), free_port(), free_port()
        async with (
            rig("--metrics", str(metrics), workers=2) as r,
            Backend(answering(b"old")) as old,
            Backend(answering(b"new", headers=b"X: y\r\n")) as new,
        ):
            await r.serve(route(port, endpoint("a", old.port, revision=1), endpoint("b", new.port, revision=2)))
            for _ in range(20):
                assert (await ask_once(port))[0] == 200
            assert (await ask_once(port, headers="Bad Field: x\r\n"))[0] == 400
            values = await fetch(metrics)
            assert total(values, "rookery_proxy_requests_total", app="shop", service="web") == 20
            a, b = (total(values, "rookery_proxy_requests_total", replica=replica) for replica in "ab")
            assert (a + b, total(values, "rookery_proxy_responses_total", code="2xx")) == (20, 20)
            assert total(values, "rookery_proxy_responses_total", code="5xx") == 0
            assert total(values, "rookery_proxy_latency_seconds_count", revision="1") == a
            assert total(values, "rookery_proxy_refused_total", app="shop") == 1
            assert total(values, "rookery_proxy_workers") == 2
            assert total(values, "rookery_proxy_connected") == 1
            assert total(values, "rookery_proxy_in_flight") == 0
            assert total(values, "rookery_proxy_received_bytes_total", replica="a") > 0

            await reported(r, "a", int(a))
            await r.serve(route(port, endpoint("b", new.port, revision=2), endpoint("c", dead, revision=2)))
            for _ in range(10):
                assert (await ask_once(port))[0] == 200
            for _ in range(3):  # several reports and looks: an endpoint that left is past, once
                seen = len(r.routing.reports)
                await r.routing.wait(lambda seen=seen: len(r.routing.reports) > seen + 2, "reports")
                values = await fetch(metrics)
                assert total(values, "rookery_proxy_requests_total", replica="a") == 0
                assert total(values, "rookery_proxy_latency_seconds_count", revision="1") == a
                assert total(values, "rookery_proxy_latency_seconds_count") == 30

    asyncio.run(main())


def test_a_port_for_metrics_that_is_taken_ends_the_proxy_with_a_word() -> None:
    async def main() -> None:
        metrics = free_port()
        async with rig("--metrics", str(metrics)) as first:
            await first.serve()
            assert await fetch(metrics)
            async with rig("--metrics", f"127.0.0.1:{metrics}") as second:
                assert await asyncio.wait_for(second.proxy.ended(), 20) == 1
                assert f"can't show metrics at 127.0.0.1:{metrics}" in second.proxy.log()

    asyncio.run(main())
