"""docs/api.md names what there is."""

import dataclasses
from pathlib import Path

from rookery.model import ServiceSpec
from rookery.v1 import control_pb2 as c

TEXT = (Path(__file__).parents[3] / "docs/api.md").read_text()


def test_every_call_is_named() -> None:
    for method in c.DESCRIPTOR.services_by_name["ControlService"].methods:
        assert f"`{method.name}`" in TEXT, method.name


def test_every_kind_of_change_is_named() -> None:
    for value in c.ChangeKind.DESCRIPTOR.values[1:]:
        assert f"`{value.name.removeprefix('CHANGE_KIND_')}`" in TEXT, value.name


def test_what_a_change_of_each_field_does_is_said() -> None:
    said_in_words = {"name", "ports", "expose", "on_disconnect_after_s"}
    for field in dataclasses.fields(ServiceSpec):
        assert field.name in said_in_words or f"`{field.name}`" in TEXT, field.name
