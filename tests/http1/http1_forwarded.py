"""Requests that are taken: what exactly the endpoint sees of them."""

from http1_case import CHUNKED, CHUNKED_SEEN, GET, HOST, POST, Asked, forwarded, refused, seen

CODING_SEEN = HOST + b"Transfer-Encoding: chunked\r\n"
LENGTH_SEEN = HOST + b"Content-Length: 4\r\n"
END = b"0\r\n\r\n"


def plain(line: bytes) -> tuple[bytes, bytes]:
    """A request whose line goes on as it came."""
    return line + b" HTTP/1.1\r\n" + HOST + b"\r\n", seen(line)


def field(line: bytes) -> tuple[bytes, bytes]:
    """A request with a field that goes on as it came."""
    return GET + line + b"\r\n\r\n", seen(b"GET /", HOST + line + b"\r\n")


def dropped(lines: bytes) -> tuple[bytes, bytes]:
    """A request with fields that do not go on."""
    return GET + lines + b"\r\n\r\n", seen(b"GET /")


def chunked(body: bytes, goes_on: bytes) -> tuple[bytes, bytes]:
    return CHUNKED + body, CHUNKED_SEEN + goes_on


def hosted(host: bytes) -> tuple[bytes, bytes]:
    line = b"Host: " + host + b"\r\n"
    return b"GET / HTTP/1.1\r\n" + line + b"\r\n", seen(b"GET /", line, host=host)


FORWARDED: list[Asked] = [
    *forwarded("9110 9.1: methods go on as they came", {
        "GET": plain(b"GET /"),
        "HEAD": plain(b"HEAD /"),
        "DELETE": plain(b"DELETE /"),
        "OPTIONS of a path": plain(b"OPTIONS /"),
        "OPTIONS of the server": plain(b"OPTIONS *"),
        "TRACE": plain(b"TRACE /"),
        "PATCH": plain(b"PATCH /"),
        "one with a hyphen": plain(b"M-SEARCH /"),
        "one of WebDAV": plain(b"PROPFIND /"),
        "one nobody knows": plain(b"X /"),
    }),
    *forwarded("9112 3.2.1: a path goes on as it came", {
        "a query": plain(b"GET /a?b=c&d"),
        "an empty query": plain(b"GET /?"),
        "question marks and slashes in a query": plain(b"GET /?a=/b?c//d"),
        "two slashes": plain(b"GET //a//b"),
        "dots": plain(b"GET /a/../b/./c"),
        "escaped dots": plain(b"GET /%2e%2E/%2f"),
        "an escaped NUL": plain(b"GET /%00"),
        "half an escape": plain(b"GET /%zz%"),
        "parameters": plain(b"GET /a;b=c,d"),
        "a URL": plain(b"GET /http://y/"),
        "an asterisk": plain(b"GET /*"),
        "what browsers do not escape": plain(b"GET /|^`{}\"<>\\"),
        "8,000 bytes": plain(b"GET /" + b"a" * 8000),
    }),
    *forwarded("9112 3.2.2: of a URL the path goes on", {
        "a path": (b"GET http://x/a?b HTTP/1.1\r\n" + HOST + b"\r\n", seen(b"GET /a?b")),
        "no path": (b"GET http://x HTTP/1.1\r\n" + HOST + b"\r\n", seen(b"GET /")),
        "a query alone": (b"GET http://x?b HTTP/1.1\r\n" + HOST + b"\r\n", seen(b"GET /?b")),
        "scheme and host in capitals": (b"GET HTTP://X/a HTTP/1.1\r\n" + HOST + b"\r\n", seen(b"GET /a")),
        "https": (b"GET https://x/a HTTP/1.1\r\n" + HOST + b"\r\n", seen(b"GET /a")),
        "an at sign in the path": (b"GET http://x/a@b HTTP/1.1\r\n" + HOST + b"\r\n", seen(b"GET /a@b")),
        "a port": (
            b"GET http://x:81/a HTTP/1.1\r\nHost: x:81\r\n\r\n", seen(b"GET /a", b"Host: x:81\r\n", host=b"x:81")
        ),
    }),
    *forwarded("9112 3.2: Host goes on as it came", {
        "a name": hosted(b"shop.example"),
        "a name in capitals": hosted(b"Shop.Example"),
        "a port": hosted(b"x:8080"),
        "a dot at the end": hosted(b"x."),
        "an underscore": hosted(b"a_b"),
        "an address": hosted(b"127.0.0.1:80"),
        "an address of IPv6": hosted(b"[::1]:80"),
        "an escape": hosted(b"a%20b"),
        "nothing": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", seen(b"GET /", b"Host:\r\n", host=b"")),
        "a port alone": hosted(b":80"),
        "white space around it": (b"GET / HTTP/1.1\r\nHost: \t x \t\r\n\r\n", seen(b"GET /", b"Host: \t x \t\r\n")),
        "last of the fields": (b"GET / HTTP/1.1\r\nX: y\r\nHost: x\r\n\r\n", seen(b"GET /", b"X: y\r\nHost: x\r\n")),
    }),
    *forwarded("9112 9.3: HTTP/1.0 ends its connection", {
        "no Host": (b"GET / HTTP/1.0\r\n\r\n", seen(b"GET /", b"Host: web\r\n", host=b"")),
        "a Host": (b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", seen(b"GET /")),
        "an expectation, which it can't have": (
            b"POST / HTTP/1.0\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
            seen(b"POST /", LENGTH_SEEN, b"abcd"),
        ),
        "an upgrade, which it can't have": (
            b"GET / HTTP/1.0\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", seen(b"GET /")
        ),
    }, ends=True),
    *forwarded("9112 9.3: HTTP/1.0 ends its connection", {
        "the fields of the request before, of HTTP/1.1": (
            GET + b"\r\nGET /a HTTP/1.0\r\n" + HOST + b"\r\n", seen(b"GET /") + seen(b"GET /a")
        ),
    }, ends=True, count=2),
    *forwarded("9112 9.3: keep-alive keeps the connection of HTTP/1.0", {
        "keep-alive": (b"GET / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n", seen(b"GET /")),
        "in capitals": (b"GET / HTTP/1.0\r\n" + HOST + b"Connection: Keep-Alive\r\n\r\n", seen(b"GET /")),
    }),
    *forwarded("9112 9.6: close ends the connection", {
        "close": (GET + b"Connection: close\r\n\r\n", seen(b"GET /")),
        "in capitals": (GET + b"Connection: CLOSE\r\n\r\n", seen(b"GET /")),
        "in a list": (GET + b"Connection: , close ,,\r\n\r\n", seen(b"GET /")),
        "in a second field": (GET + b"Connection: keep-alive\r\nConnection: close\r\n\r\n", seen(b"GET /")),
        "before keep-alive": (GET + b"Connection: close, keep-alive\r\n\r\n", seen(b"GET /")),
        "of a request with a body": (
            POST + b"Connection: close\r\nContent-Length: 4\r\n\r\nabcd", seen(b"POST /", LENGTH_SEEN, b"abcd")
        ),
    }, ends=True),
    *forwarded("9110 7.6.1: fields for one connection do not go on", {
        "Connection": dropped(b"Connection: keep-alive"),
        "an empty Connection": dropped(b"Connection:"),
        "Keep-Alive": dropped(b"Keep-Alive: timeout=5"),
        "Proxy-Connection": dropped(b"Proxy-Connection: keep-alive"),
        "TE": dropped(b"TE: trailers, gzip"),
        "a named field": dropped(b"Connection: x-a\r\nX-A: b"),
        "a named field, before it is named": dropped(b"X-A: b\r\nConnection: X-a"),
        "a named field that is there twice": dropped(b"X-A: b\r\nConnection: x-a\r\nX-a: c"),
        "fields named in two": dropped(b"X-A: b\r\nConnection: x-a\r\nX-B: c\r\nConnection: keep-alive, x-b"),
        "a named field that is not there": dropped(b"Connection: x-a"),
        "X-Forwarded-For, named": dropped(b"Connection: x-forwarded-for"),
    }),
    *forwarded("9110 11.7.2: what authenticates to a proxy is the proxy's", {
        "Proxy-Authorization": dropped(b"Proxy-Authorization: Basic eDp5"),
    }),
    *forwarded("9110 7.8: an upgrade goes on only as one", {
        "Upgrade without Connection": dropped(b"Upgrade: websocket"),
        "Connection without Upgrade": dropped(b"Connection: upgrade"),
        "HTTP/2 in the clear": dropped(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
        "with a body": (
            POST + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nabcd",
            seen(b"POST /", LENGTH_SEEN, b"abcd"),
        ),
        "with a chunked body": (
            POST + b"Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n" + END, CHUNKED_SEEN + END
        ),
        "WebSocket, which the endpoint declines": (
            GET + b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
            seen(b"GET /", HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ),
    }),
    *forwarded("9110 5.5: values go on as they came", {
        "no space": field(b"X:y"),
        "much space": field(b"X: \t y \t "),
        "nothing": field(b"X:"),
        "white space alone": field(b"X:  "),
        "a tab": field(b"X: a\tb"),
        "bytes beyond ASCII": field(b"X: \x80\xe4\xff"),
        "quotes and commas": field(b'X: "a, \\"b", c'),
        "colons": field(b"X: a: b:"),
        "a request": field(b"X: GET / HTTP/1.1"),
        "8,000 bytes": field(b"X: " + b"a" * 8000),
    }),
    *forwarded("9110 5.1: names go on as they came", {
        "capitals": field(b"x-ABC: y"),
        "all that a token can hold": field(b"!#$%&'*+-.^_`|~09aZ: y"),
        "an underscore": field(b"X_Y: z"),
        "a coding misspelt": field(b"Transfer-Encodin: chunked"),
        "a length misspelt": field(b"Content-Lengths: 5"),
    }),
    *forwarded("9110 5.3: fields of one name keep their order", {
        "three": field(b"X: c\r\nY: z\r\nX: a\r\nX: b"),
        "cookies": field(b"Cookie: a=b\r\nCookie: c=d"),
        "127 fields": field(b"\r\n".join([b"X: y"] * 127)),
    }),
    *forwarded("9112 6.2: a length goes on in the one way that nobody misreads", {
        "plain": (POST + b"Content-Length: 4\r\n\r\nabcd", seen(b"POST /", LENGTH_SEEN, b"abcd")),
        "zeros in front": (POST + b"Content-Length: 0004\r\n\r\nabcd", seen(b"POST /", LENGTH_SEEN, b"abcd")),
        "white space": (POST + b"Content-Length:\t 4 \t\r\n\r\nabcd", seen(b"POST /", LENGTH_SEEN, b"abcd")),
        "no space, in capitals": (POST + b"CONTENT-LENGTH:4\r\n\r\nabcd", seen(b"POST /", LENGTH_SEEN, b"abcd")),
        "of 0": (POST + b"Content-Length: 0\r\n\r\n", seen(b"POST /", HOST + b"Content-Length: 0\r\n")),
        "a body that looks like a request": (
            POST + b"Content-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            seen(b"POST /", HOST + b"Content-Length: 18\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        ),
        "a body of control bytes": (POST + b"Content-Length: 4\r\n\r\n\0\r\n\xff", seen(b"POST /", LENGTH_SEEN, b"\0\r\n\xff")),
    }),
    *forwarded("9110 9.3: any method may have a body", {
        "GET": (GET + b"Content-Length: 4\r\n\r\nabcd", seen(b"GET /", LENGTH_SEEN, b"abcd")),
        "DELETE": (b"DELETE / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nabcd", seen(b"DELETE /", LENGTH_SEEN, b"abcd")),
        "HEAD, chunked": (
            b"HEAD / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n" + END,
            seen(b"HEAD /", CODING_SEEN, b"4\r\nabcd\r\n" + END),
        ),
    }),
    *forwarded("9112 6.3: a request without a framing has no body", {
        "POST": (POST + b"\r\n", seen(b"POST /")),
        "PUT": plain(b"PUT /"),
    }),
    *forwarded("9112 7: a coding goes on in the one way that nobody misreads", {
        "capitals": (POST + b"Transfer-Encoding: ChUnKeD\r\n\r\n" + END, CHUNKED_SEEN + END),
        "white space": (POST + b"Transfer-Encoding:\t chunked \t\r\n\r\n" + END, CHUNKED_SEEN + END),
        "no space": (POST + b"TRANSFER-ENCODING:chunked\r\n\r\n" + END, CHUNKED_SEEN + END),
    }),
    *forwarded("9112 7.1: chunks go on as they came", {
        "none": chunked(END, END),
        "one": chunked(b"4\r\nabcd\r\n" + END, b"4\r\nabcd\r\n" + END),
        "several": chunked(b"1\r\na\r\n3\r\nbcd\r\n" + END, b"1\r\na\r\n3\r\nbcd\r\n" + END),
        "letters in both cases": chunked(b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END,
                                         b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END),
        "zeros in front": chunked(b"0004\r\nabcd\r\n" + END, b"0004\r\nabcd\r\n" + END),
        "a last one of several zeros": chunked(b"4\r\nabcd\r\n000\r\n\r\n", b"4\r\nabcd\r\n000\r\n\r\n"),
        "line ends and an end within": chunked(b"7\r\n\r\n0\r\n\r\n\r\n" + END, b"7\r\n\r\n0\r\n\r\n\r\n" + END),
    }),
    *forwarded("9112 7.1.1: extensions are left out", {
        "a name": chunked(b"4;a\r\nabcd\r\n" + END, b"4\r\nabcd\r\n" + END),
        "a value": chunked(b"4;a=b\r\nabcd\r\n" + END, b"4\r\nabcd\r\n" + END),
        "a quoted value": chunked(b'4;a="b;\\"c"\r\nabcd\r\n' + END, b"4\r\nabcd\r\n" + END),
        "several": chunked(b"4;a;b=c;d\r\nabcd\r\n" + END, b"4\r\nabcd\r\n" + END),
        "white space before the semicolon": chunked(b"4 ;a\r\nabcd\r\n" + END, b"4\r\nabcd\r\n" + END),
        "of the last chunk": chunked(b"4\r\nabcd\r\n0;a=b\r\n\r\n", b"4\r\nabcd\r\n" + END),
    }),
    *forwarded("9112 7.1.2: a trailer goes on", {
        "one field": chunked(b"4\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n", b"4\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n"),
        "two fields": chunked(b"0\r\nX: 1\r\nY:2\r\n\r\n", b"0\r\nX: 1\r\nY:2\r\n\r\n"),
        "a Trailer that names it": (
            POST + b"Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n",
            seen(b"POST /", HOST + b"Trailer: X\r\nTransfer-Encoding: chunked\r\n", b"0\r\nX: 1\r\n\r\n"),
        ),
    }),
    *forwarded("9110 10.1.1: an expectation is the endpoint's to meet", {
        "100-continue": (
            POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
            seen(b"POST /", HOST + b"Expect: 100-continue\r\nContent-Length: 4\r\n", b"abcd"),
        ),
        "in capitals": field(b"EXPECT: 100-Continue"),
    }),
    *forwarded("9110 7.6.2: Max-Forwards above 0 goes on, less one", {
        "OPTIONS": (
            b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Max-Forwards: 1\r\n\r\n", seen(b"OPTIONS /", HOST + b"Max-Forwards: 0\r\n")
        ),
        "TRACE": (
            b"TRACE / HTTP/1.1\r\nMax-Forwards: 010\r\n" + HOST + b"\r\n", seen(b"TRACE /", b"Max-Forwards: 9\r\n" + HOST)
        ),
        "OPTIONS of the server": (
            b"OPTIONS * HTTP/1.1\r\n" + HOST + b"max-forwards:3\r\nX: y\r\n\r\n",
            seen(b"OPTIONS *", HOST + b"Max-Forwards: 2\r\nX: y\r\n"),
        ),
        "GET, where it means nothing": field(b"Max-Forwards: 0"),
    }),
    *refused("9110 7.6.2: at Max-Forwards 0 the proxy is the last", 501, {
        "TRACE": b"TRACE / HTTP/1.1\r\n" + HOST + b"Max-Forwards: 0\r\n\r\n",
        "OPTIONS": b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Max-Forwards: 0\r\n\r\n",
        "OPTIONS of the server": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Max-Forwards: 000\r\n\r\n",
    }),
    *refused("9110 7.6.2: Max-Forwards is digits, once", 400, {
        "two": b"TRACE / HTTP/1.1\r\n" + HOST + b"Max-Forwards: 1\r\nMax-Forwards: 2\r\n\r\n",
        "negative": b"TRACE / HTTP/1.1\r\n" + HOST + b"Max-Forwards: -1\r\n\r\n",
        "nothing": b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Max-Forwards:\r\n\r\n",
    }),
    *forwarded("docs/proxy.md: who asked is told by the proxy alone", {
        "X-Forwarded-For": (GET + b"X-Forwarded-For: 1.2.3.4\r\n\r\n", seen(b"GET /", before=b"1.2.3.4, ")),
        "X-Forwarded-For twice": (
            GET + b"X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\n\r\n", seen(b"GET /", before=b"1.2.3.4, 5.6.7.8, ")
        ),
        "an empty X-Forwarded-For": dropped(b"X-Forwarded-For:"),
        "X-Forwarded-Proto": dropped(b"X-Forwarded-Proto: https"),
        "X-Forwarded-Host": dropped(b"X-Forwarded-Host: y"),
        "Forwarded": dropped(b"Forwarded: for=1.2.3.4;host=y"),
    }),
    *forwarded("9112 2.2: one empty line before a request is passed over", {
        "before the first": (b"\r\n" + GET + b"\r\n", seen(b"GET /")),
    }),
    *forwarded("9112 9.3.2: requests in a row are each taken for themselves", {
        "two": (GET + b"\r\n" + GET + b"\r\n", seen(b"GET /") * 2),
        "an empty line between them": (GET + b"\r\n\r\n" + GET + b"\r\n", seen(b"GET /") * 2),
        "a length, then another": (
            POST + b"Content-Length: 4\r\n\r\nabcd" + GET + b"\r\n", seen(b"POST /", LENGTH_SEEN, b"abcd") + seen(b"GET /")
        ),
        "a length of 0, then another": (
            POST + b"Content-Length: 0\r\n\r\n" + GET + b"\r\n", seen(b"POST /", HOST + b"Content-Length: 0\r\n") + seen(b"GET /")
        ),
        "chunks, then another": (CHUNKED + b"4\r\nabcd\r\n" + END + GET + b"\r\n",
                                 CHUNKED_SEEN + b"4\r\nabcd\r\n" + END + seen(b"GET /")),
        "a trailer, then another": (CHUNKED + b"0\r\nX: y\r\n\r\n" + GET + b"\r\n",
                                    CHUNKED_SEEN + b"0\r\nX: y\r\n\r\n" + seen(b"GET /")),
        "the same fields, another method": (
            POST + b"Content-Length: 4\r\n\r\nabcdPUT /a HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nefgh",
            seen(b"POST /", LENGTH_SEEN, b"abcd") + seen(b"PUT /a", LENGTH_SEEN, b"efgh"),
        ),
        "another Host": (
            GET + b"\r\nGET / HTTP/1.1\r\nHost: y\r\n\r\n", seen(b"GET /") + seen(b"GET /", b"Host: y\r\n", host=b"y")
        ),
    }, count=2),
    Asked(rule="9112 9.3.2: requests in a row are each taken for themselves", name="a bad one behind a good one",
          sent=GET + b"\r\n" + GET + b"X : y\r\n\r\n", statuses=(200, 400), reaches=seen(b"GET /"), ends=True),
    Asked(rule="9112 9.3.2: requests in a row are each taken for themselves", name="more than its length says",
          sent=POST + b"Content-Length: 4\r\n\r\nabcdefgh\r\n\r\n", statuses=(200, 400),
          reaches=seen(b"POST /", LENGTH_SEEN, b"abcd"), ends=True),
    Asked(rule="9112 9.3.2: requests in a row are each taken for themselves", name="a second end of chunks",
          sent=CHUNKED + END + END + GET + b"\r\n", statuses=(200, 400), reaches=CHUNKED_SEEN + END, ends=True),
]  # fmt: skip
