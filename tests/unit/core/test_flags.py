"""Flags that make no sense are refused when they are read."""

import argparse

import pytest
from rookery.flags import host_port, node_name, seconds


@pytest.mark.parametrize("text", ["foo", "foo:", ":7070", "127.0.0.1:99999", "127.0.0.1:0", "a:b"])
def test_an_address_without_a_host_or_with_an_odd_port_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected HOST:PORT"):
        host_port(text)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon", ""])
def test_a_time_is_a_number_from_zero_on(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected seconds"):
        seconds(text)


@pytest.mark.parametrize("text", ["a/b", "", "-a", "a b", "a" * 300])
def test_a_name_is_one_word(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected letters"):
        node_name(text)


def test_what_makes_sense_is_taken() -> None:
    assert (host_port("[::1]:7070"), seconds("0"), node_name("n-1.example")) == ("[::1]:7070", 0.0, "n-1.example")
