"""What is open to whose replicas."""

from rookery.model import HttpRoute, Opening, OpenPort, Port, PortMode, PortProtocol, Reach, ServiceSpec
from rookery_manager.planners.reach import part_of, reach_of

WEB = ServiceSpec(
    name="web",
    ports=(
        Port(target=80, published=8080),
        Port(target=53, protocol=PortProtocol.UDP),
        Port(target=22, published=2222, mode=PortMode.HOST),
        Port(target=23, mode=PortMode.HOST),  # any free one: nobody is told which
    ),
    routes=(HttpRoute(target=80, host="shop.example", published=443),),
)
PORTS = (
    OpenPort(port=53, protocol=PortProtocol.UDP),
    OpenPort(port=443),
    OpenPort(port=2222),
    OpenPort(port=8080),
)


def test_an_app_reaches_what_it_publishes_and_others_what_is_opened_to_them() -> None:
    feed = ServiceSpec(name="feed", ports=(Port(target=80, published=81),), allow=("shop/web", "bank"))
    private = ServiceSpec(name="db", expose=(5432,), allow=("shop",))
    made = reach_of(
        [("shop", WEB), ("blog", feed), ("blog", private)], ["10.0.0.2", "10.0.0.1", "127.0.0.1", "", "host.name", "::1"]
    )
    assert made == Reach(
        machines=("10.0.0.1", "10.0.0.2"),
        openings=(
            Opening(app="bank", ports=(OpenPort(port=81),)),
            Opening(app="blog", ports=(OpenPort(port=81),)),
            Opening(app="shop", ports=PORTS),
            Opening(app="shop", service="web", ports=(OpenPort(port=81),)),
        ),
    )


def test_two_revisions_of_a_service_are_both_reached() -> None:
    before, after = (ServiceSpec(name="web", ports=(Port(target=80, published=port),)) for port in (80, 81))
    assert reach_of([("shop", before), ("shop", after)], []).openings == (
        Opening(app="shop", ports=(OpenPort(port=80), OpenPort(port=81))),
    )


def test_a_node_is_told_of_the_apps_that_it_runs() -> None:
    everybody = ServiceSpec(name="auth", ports=(Port(target=80, published=82),), allow=("*",))
    whole = reach_of([("shop", WEB), ("blog", everybody)], ["10.0.0.1"])
    assert [opening.app for opening in part_of(whole, {"shop"}).openings] == ["*", "shop"]
    assert [opening.app for opening in part_of(whole, set()).openings] == ["*"]
    assert part_of(whole, {"blog"}).machines == ("10.0.0.1",)
