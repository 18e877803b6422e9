"""Heads: what is accepted, what is refused and why, and that a second parser agrees."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.gateway.http1_answers import AnswerHead, parse_answer
from fleetctl.gateway.http1_chunks import BadFraming
from fleetctl.gateway.http1_heads import RequestHead, hopeless, parse_request

POST = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"

REFUSED = [
    (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "two framings: the classic smuggling"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "the same the other way round"),
    (b"Content-Length: 3\r\nContent-Length: 4\r\n", "two lengths"),
    (b"Content-Length: 3\r\nContent-Length: 3\r\n", "two equal lengths are still two"),
    (b"Content-Length: 3, 3\r\n", "a list of lengths"),
    (b"Content-Length: +3\r\n", "int() would take a sign"),
    (b"Content-Length: -3\r\n", "negative"),
    (b"Content-Length: 0x3\r\n", "hexadecimal"),
    (b"Content-Length: 3_0\r\n", "int() would take an underscore"),
    (b"Content-Length: \r\n", "empty"),
    (b"Content-Length: 9999999999999999\r\n", "beyond any integer of a C parser"),
    (b"Transfer-Encoding: gzip, chunked\r\n", "a coding that we do not undo"),
    (b"Transfer-Encoding: xchunked\r\n", "unknown coding"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "two codings"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "chunked twice"),
    (b"Transfer-Encoding:\x0bchunked\r\n", "a vertical tab that some strip"),
    (b"Transfer-Encoding : chunked\r\n", "space before the colon"),
    (b"Content-Length : 3\r\n", "space before the colon"),
    (b" Folded: x\r\n", "a line folded onto the one before"),
    (b"X: a\r\n\tb\r\n", "folded with a tab"),
    (b"X: a\nContent-Length: 3\r\n", "a bare line feed"),
    (b"X: a\rContent-Length: 3\r\n", "a bare carriage return"),
    (b"X: a\x00b\r\n", "a NUL"),
    (b"X: a\x7f\r\n", "a control character"),
    (b"X\xe9: a\r\n", "a name that is no token"),
    (b": a\r\n", "no name"),
    (b"no colon\r\n", "no colon"),
    (b"Host: b\r\n", "two hosts"),
    (b"Connection: content-length\r\nContent-Length: 3\r\n", "would have us drop the framing"),
    (b"Expect: 200-maybe\r\n", "an expectation that we cannot meet"),
    (b"X: a\r\n" * 300, "too many headers"),
]

LINES_REFUSED = [
    (b"GET /x HTTP/1.1\r\n\r\n", "no Host"),
    (b"GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", "two spaces"),
    (b"GET /x HTTP/1.1 \r\nHost: a\r\n\r\n", "a space at the end"),
    (b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n", "a version we do not speak"),
    (b"GET /x\r\nHost: a\r\n\r\n", "HTTP/0.9"),
    (b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "we are no forward proxy"),
    (b"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "nor a tunnel"),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "not a path"),
    (b"GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", "a fragment is never sent"),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "raw bytes in the target"),
    (b"G(T /x HTTP/1.1\r\nHost: a\r\n\r\n", "a method that is no token"),
    (b"\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", "an empty line before"),
    (b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked did not exist in 1.0"),
    (b"GET /x HTTP/1.1\nHost: a\n\n", "bare line feeds throughout"),
    (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "longer than 64 KB"),
]


def lines(head: RequestHead | AnswerHead) -> bytes:
    """The header lines that are forwarded."""
    whole = head.before + (b"%d" % head.content_length + head.after if head.after else b"")
    return whole.partition(b"\r\n")[2] if isinstance(head, AnswerHead) else whole


@pytest.mark.parametrize(("lines", "why"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_headers_that_two_servers_could_read_differently_are_refused(lines: bytes, why: str) -> None:
    with pytest.raises(BadFraming):
        parse_request(POST + lines + b"\r\n")


@pytest.mark.parametrize(("head", "why"), LINES_REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_request_lines_out_of_the_ordinary_are_refused(head: bytes, why: str) -> None:
    with pytest.raises(BadFraming):
        parse_request(head)


def test_an_ordinary_head_is_forwarded_as_it_came() -> None:
    given = b"Host: a\r\nContent-Length: 12\r\nX-Odd:\tv\xe9\r\n"

    head = parse_request(b"POST /v1/x?y=1 HTTP/1.1\r\nAuthorization: Bearer x\r\n" + given + b"\r\n")

    assert (head.method, head.target, head.content_length, head.chunked) == (b"POST", b"/v1/x?y=1", 12, False)
    assert (lines(head), head.credentials) == (given, b"Authorization: Bearer x\r\n")
    assert head.keep_alive


def test_headers_of_one_connection_are_not_forwarded() -> None:
    head = parse_request(
        POST + b"Connection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nX-Fleetctl-Service: chat\r\n"
        b"TE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authorization: y\r\n"
        b"Expect: 100-continue\r\nX-Kept: 1\r\n\r\n"
    )

    assert lines(head) == b"Host: a\r\nX-Kept: 1\r\n"
    assert (head.service, head.upgrade, head.expects_continue) == (b"chat", b"h2c", True)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_who_is_kept_alive(head: bytes, kept: bool) -> None:
    assert parse_request(head).keep_alive is kept


@pytest.mark.parametrize(
    ("begun", "hopeless_now"),
    [
        (b"GET /x HTTP/1.1\r\nHost", False),
        (b"GE", False),
        (b"GET /x HTTP/1.1\r", False),
        (b"GET /x HTTP/1.1\nHost", True),
        (b"\x16\x03\x01\x02\x00", True),
        (b"A" * 40, True),
        (b"GET /" + b"x" * 70_000, True),
    ],
)
def test_a_hopeless_beginning_is_known_early(begun: bytes, hopeless_now: bool) -> None:
    assert (hopeless(begun) is not None) is hopeless_now


def test_a_bare_line_feed_is_found_at_the_edge_of_two_reads() -> None:
    assert hopeless(b"GET / HTTP/1.1\r\nHost: a\r\n", 16) is None
    assert hopeless(b"GET / HTTP/1.1\nHost: a", 14) is not None


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "two framings"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", "two lengths"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown coding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked in 1.0"),
        (b"HTTP/1.1 600 OK\r\n\r\n", "no such class of status"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "two digits"),
        (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", "a bare line feed"),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "space before the colon"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
    ],
)
def test_answers_that_could_be_read_in_two_ways_are_refused(head: bytes, why: str) -> None:
    with pytest.raises(BadFraming):
        parse_answer(head)


def test_an_answer_says_how_it_is_framed() -> None:
    head = parse_answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: Chunked\r\n\r\n")
    old = parse_answer(b"HTTP/1.0 404\r\nX: y\r\nConnection: z\r\n\r\n")

    assert (head.status, head.reason, head.length, head.chunked, head.keep_alive) == (200, b"200 OK", None, True, True)
    assert (old.status, old.length, old.chunked, old.keep_alive, lines(old)) == (404, None, False, False, b"X: y\r\n")


class Heard:
    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_message_complete(self) -> None:
        self.complete = True


PIECES = st.sampled_from(
    [b"Content-Length", b"Transfer-Encoding", b"Connection", b"X-A", b":", b" ", b"\t", b"chunked", b"3", b"0",
     b"close", b"upgrade", b"\r\n", b"\n", b"\r", b"\x00", b",", b"Host: a\r\n", b"\r\n\r\n", b";", b"\xff"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14))
def test_whatever_is_accepted_another_parser_reads_the_same(pieces: list[bytes]) -> None:
    raw = POST + b"".join(pieces) + b"\r\n\r\n"
    raw = raw[: raw.index(b"\r\n\r\n") + 4]
    try:
        ours = parse_request(raw)
    except BadFraming:
        return

    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        return

    lengths = [value for name, value in heard.headers if name.lower() == b"content-length"]
    codings = [value for name, value in heard.headers if name.lower() == b"transfer-encoding"]
    assert heard.url == ours.target
    assert ours.chunked is bool(codings)
    assert ours.content_length == (int(lengths[0]) if lengths else 0)
    assert heard.complete is (not ours.chunked and ours.content_length == 0)
    kept = [line.partition(b":")[0] for line in lines(ours).split(b"\r\n")[:-1]]
    assert set(kept) <= {name for name, _ in heard.headers}
