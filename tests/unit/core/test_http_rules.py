"""Rules of HTTP routes: what is wrong with them, and which two can't be told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.http_rules import parse_user, rules_faults
from rookery.model import HeaderEdit, HeaderField, HttpRules, RateLimit, Redirect
from rookery.model.http_rules import can_be_confused, rank
from rookery.passwords import is_right, user_line
from rookery_proxy.selection import selects

F = HeaderField


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        (HttpRules(methods=("get",)), "methods"),
        (HttpRules(methods=("CONNECT",)), "methods"),
        (HttpRules(headers=(F(name="a b", value="x"),)), "headers"),
        (HttpRules(headers=(F(name="a", value="x"), F(name="A", value="y"))), "headers"),
        (HttpRules(rewrite="x"), "rewrite"),
        (HttpRules(rewrite="/a?b"), "rewrite"),
        (HttpRules(request_headers=HeaderEdit(set=(F(name="X", value="a\r\nY: b"),))), "request_headers.set"),
        (HttpRules(request_headers=HeaderEdit(set=(F(name="X", value=" a"),))), "request_headers.set"),
        (HttpRules(request_headers=HeaderEdit(set=(F(name="Content-Length", value="1"),))), "request_headers"),
        (HttpRules(response_headers=HeaderEdit(remove=("Transfer-Encoding",))), "response_headers"),
        (HttpRules(response_headers=HeaderEdit(set=(F(name="X", value="a"),), remove=("x",))), "response_headers"),
        (HttpRules(users=("ann:secret",)), "basic_auth"),
        (HttpRules(users=("ann:scrypt.AAAA.BBBB",)), "basic_auth"),
        (HttpRules(rate_limit=RateLimit(per_s=0.0)), "rate_limit"),
        (HttpRules(rate_limit=RateLimit(per_s=1.0, burst=0)), "rate_limit"),
        (HttpRules(allow_from=("10.0.0.1/8",)), "allow_from"),
        (HttpRules(allow_from=("localhost",)), "allow_from"),
        (HttpRules(redirect=Redirect()), "redirect"),
        (HttpRules(redirect=Redirect(path="/a/")), "redirect"),
        (HttpRules(redirect=Redirect(host="a b")), "redirect"),
        (HttpRules(redirect=Redirect(scheme="ftp")), "redirect"),
        (HttpRules(redirect=Redirect(scheme="https", status=200)), "redirect"),
        (HttpRules(redirect=Redirect(scheme="https"), rewrite="/b"), "rewrite"),
    ],
)
def test_what_can_not_be_carried_out_is_found_with_its_field(rules: HttpRules, where: str) -> None:
    assert [found for found, _ in rules_faults(rules, "/a")] == [where]


def test_good_rules_have_no_fault() -> None:
    rules = HttpRules(
        methods=("GET", "PROPFIND"),
        headers=(F(name="X-Version", value="beta"), F(name="X-Any", value="*")),
        rewrite="/",
        request_headers=HeaderEdit(set=(F(name="X-A", value="a b"), F(name="X-Empty", value="")), remove=("Cookie",)),
        users=(user_line("ann", "secret"),),
        rate_limit=RateLimit(per_s=0.5),
        allow_from=("10.0.0.0/8", "::1"),
    )
    assert list(rules_faults(rules, "")) == []


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_field_without_a_fault_is_one_line(name: str, value: str) -> None:
    edit = HeaderEdit(set=(F(name=name, value=value),))
    if not list(rules_faults(HttpRules(request_headers=edit), "")):
        line = f"{name}: {value}".encode()
        assert not set(b"\r\n\0") & set(line)
        assert b":" not in name.encode()


def test_a_password_is_right_or_not() -> None:
    line = user_line("ann", "geheim")
    parsed = parse_user(line)
    assert "$" not in line
    assert parsed is not None
    name, salt, digest = parsed
    assert name == "ann"
    assert is_right(b"geheim", salt, digest)
    assert not is_right(b"Geheim", salt, digest)
    assert user_line("ann", "geheim") != line


NAMES, VALUES, METHODS = st.sampled_from(["X-A", "x-a", "X-B"]), st.sampled_from(["1", "2", "*"]), ("GET", "POST")
RULES = st.builds(
    lambda methods, headers: HttpRules(methods=tuple(methods), headers=tuple(F(name=n, value=v) for n, v in headers.items())),
    st.lists(st.sampled_from(METHODS), unique=True, max_size=2),
    st.dictionaries(NAMES, VALUES, max_size=2).filter(lambda d: len({n.lower() for n in d}) == len(d)),
)
BLOCKS = st.lists(st.tuples(NAMES, st.sampled_from(["1", "2"])), max_size=2, unique_by=lambda pair: pair[0].lower())


@given(RULES, RULES, st.sampled_from(METHODS), BLOCKS)
def test_of_two_that_both_fit_a_request_one_comes_first_or_they_are_refused(
    one: HttpRules, other: HttpRules, method: str, fields: list[tuple[str, str]]
) -> None:
    block = "".join(f"{name}: {value}\r\n" for name, value in fields).encode() + b"\r\n"
    both = selects(one, method.encode(), block) and selects(other, method.encode(), block)
    assert can_be_confused(one, other) == can_be_confused(other, one)
    if both and not can_be_confused(one, other):
        assert rank(one) != rank(other)


def test_selection_reads_all_lines_of_a_field_and_no_other() -> None:
    rules = HttpRules(headers=(F(name="X-V", value="b"),))
    assert selects(rules, b"GET", b"x-v: a\r\nX-V:b \t\r\n\r\n")
    assert not selects(rules, b"GET", b"X-V: a\r\nY-X-V: b\r\nX-V2: b\r\n\r\n")
    assert not selects(rules, b"GET", b"Z: X-V: b\r\n\r\n")
    assert selects(HttpRules(headers=(F(name="X-V", value="*"),)), b"GET", b"X-V: \r\n\r\n")
