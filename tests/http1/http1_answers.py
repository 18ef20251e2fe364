"""Answers of an endpoint: what the client gets of them, and which are 502."""

from http1_case import GET, HOST, POST, Answered, bad, broken, passed, surplus

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
LENGTH = OK + b"Content-Length: "
CODING = OK + b"Transfer-Encoding: "
CHUNKED = CODING + b"chunked\r\n\r\n"
END = b"0\r\n\r\n"
BODY = b"5\r\nabcde\r\n" + END
HEAD = b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n"
OLD = b"GET / HTTP/1.0\r\n" + HOST + b"\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n"


def as_is(answer: bytes) -> tuple[bytes, bytes]:
    return answer, answer


def dropped(line: bytes) -> tuple[bytes, bytes]:
    """An answer with a field that does not go on."""
    return OK + line + b"\r\n" + EMPTY, OK + EMPTY


def started(line: bytes, gets: bytes) -> tuple[bytes, bytes]:
    """An answer with a status line, and the one the client gets."""
    return line + b"\r\n" + EMPTY, gets + b"\r\n" + EMPTY


ANSWERS: list[Answered] = [
    *bad("9112 4: a status line is version SP three digits SP reason", {
        "no HTTP": b"hello\r\n\r\n",
        "HTML": b"<html>\r\n\r\n",
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
        "a request": GET + b"\r\n",
        "no status": b"HTTP/1.1\r\n\r\n",
        "an empty status": b"HTTP/1.1 \r\n" + EMPTY,
        "a status of two digits": b"HTTP/1.1 20 OK\r\n" + EMPTY,
        "a status of four digits": b"HTTP/1.1 2000 OK\r\n" + EMPTY,
        "a status in words": b"HTTP/1.1 OK\r\n" + EMPTY,
        "a status with a sign": b"HTTP/1.1 +20 OK\r\n" + EMPTY,
        "a status in hexadecimal": b"HTTP/1.1 0xC OK\r\n" + EMPTY,
        "two spaces": b"HTTP/1.1  200 OK\r\n" + EMPTY,
        "a tab for a space": b"HTTP/1.1\t200 OK\r\n" + EMPTY,
        "a tab behind the status": b"HTTP/1.1 200\tOK\r\n" + EMPTY,
        "no space behind the status": b"HTTP/1.1 200OK\r\n" + EMPTY,
        "a space in front": b" " + OK + EMPTY,
        "an empty line in front": b"\r\n" + OK + EMPTY,
        "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + EMPTY,
        "escape in the reason": b"HTTP/1.1 200 \x1b[0m\r\n" + EMPTY,
        "bare CR in the reason": b"HTTP/1.1 200 O\rK\r\n" + EMPTY,
    }),
    *bad("9110 15: a status is from 100 to 599", {
        "000": b"HTTP/1.1 000 Odd\r\n" + EMPTY,
        "099": b"HTTP/1.1 099 Odd\r\n" + EMPTY,
        "600": b"HTTP/1.1 600 Odd\r\n" + EMPTY,
        "999": b"HTTP/1.1 999 Odd\r\n" + EMPTY,
    }),
    *bad("9112 2.3: an answer is of HTTP/1.0 or HTTP/1.1", {
        "HTTP/0.9": b"HTTP/0.9 200 OK\r\n" + EMPTY,
        "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + EMPTY,
        "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + EMPTY,
        "HTTP/1.10": b"HTTP/1.10 200 OK\r\n" + EMPTY,
        "HTTP/1": b"HTTP/1 200 OK\r\n" + EMPTY,
        "http/1.1": b"http/1.1 200 OK\r\n" + EMPTY,
        "ICY": b"ICY 200 OK\r\n" + EMPTY,
    }),
    *bad("9112 2.2: a line ends with CR LF", {
        "bare LF everywhere": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "bare LF after the status line": b"HTTP/1.1 200 OK\n" + EMPTY,
        "bare LF after a field": OK + b"X: a\n" + EMPTY,
        "bare CR in a value": OK + b"X: a\rContent-Length: 5\r\n" + EMPTY,
        "CR CR LF": OK + b"X: a\r\r\n" + EMPTY,
    }),
    *bad("9112 5: a field is a token, a colon without space before it, a value without control bytes", {
        "folded line": OK + b"X: a\r\n b\r\n" + EMPTY,
        "folded line with a tab": OK + b"X: a\r\n\tb\r\n" + EMPTY,
        "folded coding": OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + BODY,
        "space before the first field": OK + b" X: a\r\n" + EMPTY,
        "space before the colon": OK + b"Content-Length : 0\r\n\r\n",
        "tab before the colon": OK + b"Transfer-Encoding\t: chunked\r\n\r\n" + BODY,
        "no colon": OK + b"X\r\n" + EMPTY,
        "no name": OK + b": x\r\n" + EMPTY,
        "space in a name": OK + b"X Y: z\r\n" + EMPTY,
        "name beyond ASCII": OK + b"\xe4: z\r\n" + EMPTY,
        "NUL in a name": OK + b"X\0: z\r\n" + EMPTY,
        "NUL in a value": OK + b"X: \0\r\n" + EMPTY,
        "vertical tab in a value": OK + b"X: \x0b\r\n" + EMPTY,
        "delete in a value": OK + b"X: \x7f\r\n" + EMPTY,
    }),
    *bad("9112 6.3: a message has one framing", {
        "length, then chunked": LENGTH + b"5\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
        "chunked, then length": CODING + b"chunked\r\nContent-Length: 5\r\n\r\n" + END,
        "length of 0 and chunked": LENGTH + b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
        "two equal lengths": LENGTH + b"1\r\nContent-Length: 1\r\n\r\na",
        "two different lengths": LENGTH + b"1\r\nContent-Length: 2\r\n\r\nab",
        "list of lengths": LENGTH + b"1,1\r\n\r\na",
        "two codings": CODING + b"chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
        "coding and identity": CODING + b"chunked\r\nTransfer-Encoding: identity\r\n\r\n" + END,
        "underscore in the length": OK + b"Content_Length: 1\r\n\r\na",
        "underscore in the coding": OK + b"Transfer_Encoding: chunked\r\n\r\n" + END,
    }),
    *bad("9112 6.2: a length is digits", {
        "plus sign": LENGTH + b"+1\r\n\r\na",
        "minus sign": LENGTH + b"-1\r\n\r\na",
        "hexadecimal length": LENGTH + b"0x1\r\n\r\na",
        "empty length": LENGTH[:-1] + b"\r\n\r\n",
        "length in words": LENGTH + b"one\r\n\r\na",
        "length with a space": LENGTH + b"1 0\r\n\r\na",
        "length beyond 64 bits": LENGTH + b"99999999999999999999\r\n\r\n",
        "length that is 1 modulo 2**64": LENGTH + b"18446744073709551617\r\n\r\na",
    }),
    *bad("9112 6.1: the one coding is chunked, in HTTP/1.1, of an answer that can have a body", {
        "gzip": CODING + b"gzip\r\n\r\n",
        "gzip, chunked": CODING + b"gzip, chunked\r\n\r\n" + END,
        "identity": CODING + b"identity\r\n\r\n",
        "empty coding": CODING[:-1] + b"\r\n\r\n" + END,
        "coding with a parameter": CODING + b"chunked;a=b\r\n\r\n" + END,
        "quoted coding": CODING + b'"chunked"\r\n\r\n' + END,
        "of HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
        "of a 204": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
        "of a 100": b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
    }),
    *bad("9110 7.6.1: Connection does not name fields for the client", {
        "the length": LENGTH + b"1\r\nConnection: content-length\r\n\r\na",
        "the coding": CODING + b"chunked\r\nConnection: close, Transfer-Encoding\r\n\r\n" + END,
        "the content's type": OK + b"Content-Type: a/b\r\nConnection: content-type\r\n" + EMPTY,
    }),
    *bad("9110 15.2.2: protocols are not switched unasked", {
        "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    }),
    *bad("9110 15.2.2: protocols are switched to one that was asked for", {
        "another": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        "none": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    }, asked=GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    *bad("9110 5.4: a head has a bound", {
        "one field": OK + b"X: " + b"a" * 40000 + b"\r\n" + EMPTY,
        "a reason": b"HTTP/1.1 200 " + b"a" * 40000 + b"\r\n" + EMPTY,
        "no end": OK + b"X: y\r\n" * 10000,
    }),
    *bad("9112 8: an answer that ends within its head is none", {
        "half a status line": b"HTTP/1.1 2",
        "a status line": OK,
        "half a head": OK + b"Content-",
        "a head without its empty line": OK + b"Content-Length: 0\r\n",
    }, closes=True),
    *bad("9112 8: an answer that ends before it begins is none", {
        "nothing at all": b"",
    }, asked=POST + b"Content-Length: 0\r\n\r\n", closes=True),
    *broken("9112 8: an answer that ends within its body is incomplete", {
        "half of its length": (LENGTH + b"10\r\n\r\nabc", LENGTH + b"10\r\n\r\nabc"),
        "nothing of its length": (LENGTH + b"10\r\n\r\n", LENGTH + b"10\r\n\r\n"),
        "one byte less": (LENGTH + b"3\r\n\r\nab", LENGTH + b"3\r\n\r\nab"),
        "half a chunk": (CHUNKED + b"5\r\nabc", CHUNKED + b"5\r\nabc"),
        "no last chunk": (CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"3\r\nabc\r\n"),
        "half a last chunk": (CHUNKED + b"3\r\nabc\r\n0\r\n", CHUNKED + b"3\r\nabc\r\n0\r\n"),
        "half a trailer": (CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n", CHUNKED + b"3\r\nabc\r\n0\r\n"),
    }, closes=True),
    *broken("9112 7.1: a chunk's size is hexadecimal digits and fits, and its data ends with CR LF there", {
        "in words": (CHUNKED + b"zz\r\n", CHUNKED),
        "with 0x": (CHUNKED + b"0x3\r\nabc\r\n" + END, CHUNKED),
        "with a sign": (CHUNKED + b"+3\r\nabc\r\n" + END, CHUNKED),
        "behind a space": (CHUNKED + b" 3\r\nabc\r\n" + END, CHUNKED),
        "before a space": (CHUNKED + b"3 \r\nabc\r\n" + END, CHUNKED),
        "empty": (CHUNKED + b"\r\nabc\r\n" + END, CHUNKED),
        "of 17 digits": (CHUNKED + b"10000000000000003\r\nabc\r\n" + END, CHUNKED),
        "bare LF after the size": (CHUNKED + b"3\nabc\r\n" + END, CHUNKED),
        "longer than its size": (CHUNKED + b"3\r\nabcde\r\n" + END, CHUNKED + b"3\r\nabc"),
        "ended by LF": (CHUNKED + b"3\r\nabc\n" + END, CHUNKED + b"3\r\nabc"),
        "the second in words": (CHUNKED + b"3\r\nabc\r\nzz\r\n", CHUNKED + b"3\r\nabc\r\n"),
        "a plain body": (CHUNKED + b"hello", CHUNKED),
    }),
    *broken("9112 7.1.1, 7.1.2: extensions and trailers are well formed and hold no framing", {
        "an extension with a bare LF": (CHUNKED + b"3;a\nb\r\nabc\r\n" + END, CHUNKED),
        "an extension without a name": (CHUNKED + b"3;\r\nabc\r\n" + END, CHUNKED),
        "a trailer with a length": (CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 1\r\n\r\n", CHUNKED + b"3\r\nabc\r\n0\r\n"),
        "a trailer with a cookie": (CHUNKED + b"0\r\nSet-Cookie: a=b\r\n\r\n", CHUNKED + b"0\r\n"),
        "a folded trailer": (CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n", CHUNKED + b"0\r\n"),
        "a trailer without a colon": (CHUNKED + b"0\r\nX\r\n\r\n", CHUNKED + b"0\r\n"),
    }),
    *passed("9112 4: the status and its reason go on", {
        "200": as_is(OK + EMPTY),
        "an empty reason": as_is(b"HTTP/1.1 200 \r\n" + EMPTY),
        "no reason, and no space before it": started(b"HTTP/1.1 200", b"HTTP/1.1 200 "),
        "a reason beyond ASCII": as_is(b"HTTP/1.1 200 \xc3\xa4\r\n" + EMPTY),
        "a long reason": as_is(b"HTTP/1.1 404 Not Found, \t(really)\r\n" + EMPTY),
        "201": as_is(b"HTTP/1.1 201 Created\r\nLocation: /a\r\n" + EMPTY),
        "299": as_is(b"HTTP/1.1 299 Odd\r\n" + EMPTY),
        "302": as_is(b"HTTP/1.1 302 Found\r\nLocation: http://y/\r\n" + EMPTY),
        "418": as_is(b"HTTP/1.1 418 I'm a teapot\r\n" + EMPTY),
        "500": as_is(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"),
        "503 of its own": as_is(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n" + EMPTY),
        "599": as_is(b"HTTP/1.1 599 Odd\r\n" + EMPTY),
    }),
    *passed("9110 6.2: what a client gets is HTTP/1.1, whatever the endpoint speaks", {
        "HTTP/1.0 with a length": started(b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"),
        "HTTP/1.0, kept alive": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + EMPTY, OK + EMPTY),
    }),
    *passed("9110 7.6.1: fields for one connection do not go on", {
        "Connection": dropped(b"Connection: keep-alive"),
        "Keep-Alive": dropped(b"Keep-Alive: timeout=5"),
        "Proxy-Connection": dropped(b"Proxy-Connection: keep-alive"),
        "Upgrade": dropped(b"Upgrade: h2c"),
        "a named field": dropped(b"Connection: x-a\r\nX-A: b"),
        "a named field, before it is named": dropped(b"X-A: b\r\nConnection: keep-alive, X-a"),
    }),
    *passed("9112 9.6: that the endpoint ends its connection is not the client's business", {
        "close": dropped(b"Connection: close"),
        "close in a list": dropped(b"Connection: keep-alive, close"),
    }, closes=True),
    *passed("9110 5: fields go on as they came", {
        "values": as_is(OK + b"X:y\r\nY: \tz \r\nZ:\r\n" + EMPTY),
        "cookies in order": as_is(OK + b"Set-Cookie: a=b\r\nSet-Cookie: c=d; Path=/\r\n" + EMPTY),
        "bytes beyond ASCII": as_is(OK + b"X: \x80\xff\r\n" + EMPTY),
        "names": as_is(OK + b"!#$%&'*+-.^_`|~09aZ: y\r\n" + EMPTY),
        "authentication": as_is(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n" + EMPTY),
        "8,000 bytes": as_is(OK + b"X: " + b"a" * 8000 + b"\r\n" + EMPTY),
    }),
    *passed("9112 6.2: a length goes on in the one way that nobody misreads", {
        "plain": as_is(LENGTH + b"3\r\n\r\nabc"),
        "zeros in front": (LENGTH + b"003\r\n\r\nabc", LENGTH + b"3\r\n\r\nabc"),
        "white space": (OK + b"Content-Length:\t 3 \r\n\r\nabc", LENGTH + b"3\r\n\r\nabc"),
        "no space": (OK + b"Content-Length:3\r\n\r\nabc", LENGTH + b"3\r\n\r\nabc"),
        "behind other fields": (OK + b"Content-Length:3\r\nX: y\r\n\r\nabc", OK + b"X: y\r\nContent-Length: 3\r\n\r\nabc"),
    }),
    *passed("9112 7: a coding goes on in the one way that nobody misreads", {
        "plain": as_is(CHUNKED + BODY),
        "capitals": (CODING + b"Chunked\r\n\r\n" + BODY, CHUNKED + BODY),
        "white space": (OK + b"TRANSFER-ENCODING:\tchunked \r\n\r\n" + BODY, CHUNKED + BODY),
        "no chunks": as_is(CHUNKED + END),
        "extensions, left out": (CHUNKED + b'3;a="b"\r\nabc\r\n0;c\r\n\r\n', CHUNKED + b"3\r\nabc\r\n" + END),
        "a trailer": as_is(CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
        "an answer within a chunk": as_is(CHUNKED + b"13\r\nHTTP/1.1 200 OK\r\n\r\n\r\n" + END),
    }),
    *passed("9112 6.3: an answer without a framing ends with its connection", {
        "a body": (OK + b"\r\nabc", OK + b"Connection: close\r\n\r\nabc"),
        "no body": (OK + b"\r\n", OK + b"Connection: close\r\n\r\n"),
        "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nabc", OK + b"Connection: close\r\n\r\nabc"),
        "kept alive, it says": (OK + b"Connection: keep-alive\r\n\r\nabc", OK + b"Connection: close\r\n\r\nabc"),
    }, closes=True, ends=True),
    *passed("9112 6.3: 204 and 304 have no body", {
        "204": as_is(b"HTTP/1.1 204 No Content\r\n\r\n"),
        "204 with a length, which it can't have": (b"HTTP/1.1 204 No Content\r\n" + EMPTY, b"HTTP/1.1 204 No Content\r\n\r\n"),
        "304": as_is(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        "304 with the length of a 200": as_is(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        "304 with the coding of a 200, left out": (
            b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n"
        ),
    }),
    *passed("9110 9.3.2: an answer to HEAD has no body", {
        "a length": as_is(LENGTH + b"1000\r\n\r\n"),
        "a coding, left out": (CHUNKED, OK + b"\r\n"),
        "no framing": as_is(OK + b"\r\n"),
    }, asked=HEAD),
    *surplus("9110 9.3.2: a body in an answer to HEAD is not passed on", {
        "a body": (LENGTH + b"3\r\n\r\n", b"abc", LENGTH + b"3\r\n\r\n"),
    }, asked=HEAD),
    *passed("9110 15.2: interim answers go on", {
        "100": as_is(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + EMPTY),
        "103": as_is(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + EMPTY),
        "several": as_is(b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + OK + EMPTY),
        "a length, which it can't have": (b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + OK + EMPTY,
                                          b"HTTP/1.1 100 Continue\r\n\r\n" + OK + EMPTY),
    }),
    *passed("9110 15.2: a client of HTTP/1.0 gets no interim answers", {
        "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + EMPTY, OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n"),
    }, asked=OLD, ends=True),
    *passed("9112 7: a client of HTTP/1.0 gets no chunks", {
        "data": (CHUNKED + b"3\r\nabc\r\n2;x\r\nde\r\n" + END, OK + b"Connection: close\r\n\r\nabcde"),
        "a trailer": (CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", OK + b"Connection: close\r\n\r\nabc"),
        "no data": (CHUNKED + END, OK + b"Connection: close\r\n\r\n"),
    }, asked=OLD_KEPT, ends=True),
    *passed("9112 9.3: a client of HTTP/1.0 is told that its connection stays", {
        "a length": (LENGTH + b"3\r\n\r\nabc", LENGTH + b"3\r\nConnection: keep-alive\r\n\r\nabc"),
    }, asked=OLD_KEPT),
    *passed("9112 9.3: a client that wants its connection to end is told so", {
        "HTTP/1.1": (LENGTH + b"3\r\n\r\nabc", LENGTH + b"3\r\nConnection: close\r\n\r\nabc"),
        "HTTP/1.1, chunked": (CHUNKED + BODY, CODING + b"chunked\r\nConnection: close\r\n\r\n" + BODY),
    }, asked=GET + b"Connection: close\r\n\r\n", ends=True),
    *surplus("9112 6.3: what comes beyond an answer is never passed on", {
        "another answer": (LENGTH + b"2\r\n\r\nok", LENGTH + b"4\r\n\r\nevil", LENGTH + b"2\r\n\r\nok"),
        "an empty line": (LENGTH + b"2\r\n\r\nok", b"\r\n", LENGTH + b"2\r\n\r\nok"),
        "an interim answer": (LENGTH + b"2\r\n\r\nok", b"HTTP/1.1 100 Continue\r\n\r\n", LENGTH + b"2\r\n\r\nok"),
        "another answer behind chunks": (CHUNKED + END, LENGTH + b"4\r\n\r\nevil", CHUNKED + END),
        "another answer behind a 204": (
            b"HTTP/1.1 204 No Content\r\n\r\n", LENGTH + b"4\r\n\r\nevil", b"HTTP/1.1 204 No Content\r\n\r\n"
        ),
        "a body behind a 204": (
            b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", b"abc", b"HTTP/1.1 204 No Content\r\n\r\n"
        ),
        "a body behind a 304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"abc", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    }),
    Answered(rule="9110 15.2: interim answers have a bound", name="fifty", asked=GET + b"\r\n",
             sent=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50, gets=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 16, breaks=True),
]  # fmt: skip
