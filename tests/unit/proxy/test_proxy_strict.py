"""Nothing ambiguous is passed on, in either direction: arbitrary bytes, cut anywhere. Messages by rule are in tests/http1."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery_proxy.answer import parse_answer
from rookery_proxy.body import Chunks
from rookery_proxy.head import CHUNKED as CHUNKED_LENGTH
from rookery_proxy.head import Refusal, check_partial
from rookery_proxy.request import parse_request

HEADS = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [
                b"GET", b"POST", b" ", b"/", b"/a?b", b"*", b"http://x/y", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r",
                b"Host: x", b"Host:", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close, x",
                b"Upgrade: websocket", b"Expect: 100-continue", b"X-Forwarded-For: y", b"\0", b"\x80", b": ",
                b"200", b" OK", b"\t", b"\r\n\r\n",
            ]
        ),
        max_size=30,
    ).map(b"".join),
)  # fmt: skip


@given(HEADS)
def test_any_bytes_are_a_message_or_a_refusal(data: bytes) -> None:
    for parse in (parse_request, lambda head: parse_answer(head, b"GET"), check_partial):
        try:
            parse(data)
        except Refusal as refusal:
            refused = refusal
        else:
            continue
        assert 400 <= refused.status <= 505
        assert refused.why.isprintable()


@given(HEADS)
def test_what_is_passed_on_has_one_framing_one_host_and_no_odd_byte(data: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"
    try:
        fields = parse_request(head).fields
    except Refusal:
        return
    lines = fields.lines.lower()
    assert len(re.findall(rb"\r\ncontent[-_]length:", lines)) + len(re.findall(rb"\r\ntransfer[-_]encoding:", lines)) <= 1
    assert len(re.findall(rb"\r\nhost:", lines)) == 1
    assert not re.search(rb"\r\n(connection|keep-alive|upgrade|te|x-forwarded-for):", lines)
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", lines)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", lines)
    # Taken once more, it means the same.
    again = parse_request(b"POST / HTTP/1.1" + fields.lines + b"\r\n").fields
    assert (again.lines, again.length, again.host) == (fields.lines, fields.length, fields.host)


CHUNKS = st.one_of(
    st.binary(max_size=100),
    st.lists(
        st.sampled_from(
            [
                b"3\r\nabc\r\n",
                b"a\r\n0123456789\r\n",
                b"1;x=y\r\nz\r\n",
                b'1;x="y\\""\r\nz\r\n',
                b"0\r\n",
                b"\r\n",
                b"X: y\r\n",
                b"0",
                b"\r",
                b";",
            ]
        ),
        max_size=8,
    ).map(b"".join),
)


def fed(data: bytes, cuts: list[int], *, unwrap: bool) -> tuple[bytes, bytes, bool] | str:
    """What comes of a chunked body that arrives in pieces: passed on, left over, complete; or why it was refused."""
    chunks = Chunks(400, unwrap=unwrap)
    out = b""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, stop in itertools.pairwise(places):
        try:
            passed, after = chunks.feed(data[start:stop])
        except Refusal:
            return "refused"
        out += passed
        if chunks.done:
            return out, after + data[stop:], True
    return out, b"", False


@given(CHUNKS, st.lists(st.integers(0, 100), max_size=6), st.booleans())
def test_a_chunked_body_means_the_same_wherever_it_is_cut(data: bytes, cuts: list[int], unwrap: bool) -> None:
    whole, pieces = fed(data, [], unwrap=unwrap), fed(data, cuts, unwrap=unwrap)
    assert whole == pieces


@given(CHUNKS)
def test_a_whole_chunked_body_passes_on_what_it_says(data: bytes) -> None:
    result = fed(data, [], unwrap=False)
    if isinstance(result, str) or not result[2]:
        return
    passed = result[0]
    assert b";" not in passed.partition(b"\r\n")[0]  # no extension goes on
    again = fed(passed, [], unwrap=False)
    assert again == (passed, b"", True)
    plain = fed(data, [], unwrap=True)
    assert not isinstance(plain, str)
    body = b""
    rest = passed
    while size := int(rest.partition(b"\r\n")[0], 16):
        start = rest.index(b"\r\n") + 2
        body += rest[start : start + size]
        rest = rest[start + size + 2 :]
    assert plain[0] == body


def test_a_request_line_alone_is_parsed_when_the_fields_are_known() -> None:
    first = parse_request(b"GET /a HTTP/1.1\r\nHost: x\r\nAccept: y\r\n\r\n")
    second = parse_request(b"PUT /b?c HTTP/1.1\r\nHost: x\r\nAccept: y\r\n\r\n", first.fields)
    assert second.fields is first.fields
    assert (second.method, second.target, second.path) == (b"PUT", b"/b?c", "/b")
    older = parse_request(b"GET /a HTTP/1.0\r\nHost: x\r\nAccept: y\r\n\r\n", first.fields)
    assert older.fields is not first.fields
    assert not older.fields.keep_alive
    with pytest.raises(Refusal):
        parse_request(b"GET /a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", first.fields)


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        (b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: Chunked \t", b"Transfer-Encoding: chunked"),
        (b"transfer-encoding:chunked", b"Transfer-Encoding: chunked"),
        (b"Content-Length:\t 0004 ", b"Content-Length: 4"),
        (b"Content-Length:4", b"Content-Length: 4"),
    ],
)
def test_framing_is_passed_on_in_the_one_way_that_nobody_misreads(sent: bytes, passed_on: bytes) -> None:
    fields = parse_request(b"POST / HTTP/1.1\r\nHost: x\r\n" + sent + b"\r\nA: b\r\n\r\n").fields
    assert fields.lines == b"\r\nHost: x\r\nA: b\r\n" + passed_on + b"\r\n"
    answer = parse_answer(b"HTTP/1.1 200 OK\r\nA: b\r\n" + sent + b"\r\n\r\n", b"GET")
    assert sent not in answer.lines or b": 4" in sent
    assert (answer.length == 4 and b"\r\nContent-Length: 4\r\n" in answer.lines) or answer.length == CHUNKED_LENGTH
