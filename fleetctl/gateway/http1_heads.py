"""Heads of requests and answers, judged by a grammar with no leniency; what is forwarded is what was judged."""

import re
from typing import Final, NamedTuple

import httptools

from fleetctl.gateway.http1_chunks import BadFraming
from fleetctl.gateway.limits import HEAD_LIMIT_BYTES, HEADERS_LIMIT

# RFC 9110, sections 5.1, 5.5 and 5.6.2; RFC 9112, sections 3 and 4. Within a line quantifiers are possessive, and a
# line is matched in one way only: matching is linear. Those of whole groups are not: before Python 3.11.5 they match
# what they must not (python/cpython#106052).
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
_FIELDS: Final = rb"((?:" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n)*)\r\n"
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb"{1,32}+) (/[\x21\x22\x24-\x7e]*+) HTTP/1\.([01])\r\n" + _FIELDS)
_ANSWER: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}(?: " + _VALUE + rb"*+)?)\r\n" + _FIELDS)

_REQUEST_NOTED: Final = re.compile(
    rb"\n(content-length|transfer-encoding|host|connection|keep-alive|proxy-connection"
    rb"|proxy-authorization|te|trailer|upgrade|http2-settings|expect|x-fleetctl-service):([^\r]*+)\r",
    re.IGNORECASE,
)
_ANSWER_NOTED: Final = re.compile(
    rb"\n(content-length|transfer-encoding|connection|keep-alive|proxy-connection|upgrade):([^\r]*+)\r",
    re.IGNORECASE,
)
_NEVER_NAMED: Final = frozenset((b"content-length", b"transfer-encoding", b"host", b"authorization"))
"""`Connection: content-length` would make us drop what frames the message."""
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_REQUEST_BEGUN: Final = re.compile(_TOKEN + rb"{1,32}+(?: |\Z)")


class RequestHead(NamedTuple):
    """A request's head. `lines` are the header lines to forward, each ended by CRLF."""

    method: bytes
    target: bytes
    http10: bool
    content_length: int
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    upgrade: bytes
    """Lower case; empty when none is asked for."""
    service: bytes
    """The value of `x-fleetctl-service`."""
    lines: bytes


class AnswerHead(NamedTuple):
    """An answer's head. `reason` is the status line after the version; `length` is None where none was given."""

    status: int
    reason: bytes
    length: int | None
    chunked: bool
    keep_alive: bool
    lines: bytes


def parse_request(head: bytes) -> RequestHead:
    """`head` ends with its empty line. Raises `BadFraming`."""
    whole = _REQUEST.fullmatch(head)
    if whole is None or len(head) > HEAD_LIMIT_BYTES:
        raise BadFraming(_what_is_wrong(head))
    method, target, minor, lines = whole.groups()
    http10 = minor == b"0"
    length = -1
    chunked = expects_continue = False
    keep_alive = not http10
    upgrade = service = b""
    hosts = 0
    dropped: list[tuple[int, int]] | None = None
    named: list[bytes] = []
    start = whole.start(4) - 1
    for found in _REQUEST_NOTED.finditer(head, start):
        name = found[1].lower()
        if name == b"host":
            hosts += 1
            continue
        value = found[2].strip(b" \t")
        if name == b"content-length":
            if length >= 0:
                raise BadFraming("two Content-Length headers")
            if _DIGITS.fullmatch(value) is None:
                raise BadFraming("the Content-Length is no number")
            length = int(value)
            continue
        if name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                raise BadFraming("the only Transfer-Encoding understood is a single `chunked`")
            chunked = True
        elif name == b"connection":
            keep_alive = _note_connection(value, keep_alive, named)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadFraming("the only Expect understood is `100-continue`")
            expects_continue = not http10
        elif name == b"upgrade":
            upgrade = value.lower()
        elif name == b"x-fleetctl-service":
            if service and service != value:
                raise BadFraming("two x-fleetctl-service headers")
            service = value
        dropped = dropped or []
        dropped.append((found.start() - start, found.end() - start))
    if chunked and (length >= 0 or http10):
        raise BadFraming("Transfer-Encoding together with Content-Length or HTTP/1.0")
    if hosts > 1 or (hosts == 0 and not http10):
        raise BadFraming("exactly one Host header is needed")
    if lines.count(b"\r\n") > HEADERS_LIMIT:
        raise BadFraming("too many headers")
    _second_opinion(head)
    if dropped is not None:
        lines = _without(lines, dropped, named)
    return RequestHead(
        method, target, http10, max(length, 0), chunked, keep_alive, expects_continue, upgrade, service, lines
    )


def parse_answer(head: bytes) -> AnswerHead:
    """`head` ends with its empty line. Raises `BadFraming`."""
    whole = _ANSWER.fullmatch(head)
    if whole is None or len(head) > HEAD_LIMIT_BYTES:
        raise BadFraming("the answer's head is malformed")
    minor, reason, lines = whole.groups()
    keep_alive = minor == b"1"
    length: int | None = None
    chunked = False
    dropped: list[tuple[int, int]] | None = None
    named: list[bytes] = []
    start = whole.start(3) - 1
    for found in _ANSWER_NOTED.finditer(head, start):
        name = found[1].lower()
        value = found[2].strip(b" \t")
        if name == b"content-length":
            if length is not None or _DIGITS.fullmatch(value) is None:
                raise BadFraming("the answer's Content-Length is given twice or is no number")
            length = int(value)
            continue
        if name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked" or minor == b"0":
                raise BadFraming("the answer has a Transfer-Encoding other than a single `chunked`")
            chunked = True
            continue
        if name == b"connection":
            keep_alive = _note_connection(value, keep_alive, named)
        dropped = dropped or []
        dropped.append((found.start() - start, found.end() - start))
    if chunked and length is not None:
        raise BadFraming("the answer has both Transfer-Encoding and Content-Length")
    if dropped is not None:
        lines = _without(lines, dropped, named)
    return AnswerHead(int(reason[:3]), reason, length, chunked, keep_alive, lines)


def hopeless(begun: bytes | bytearray, searched: int = 0) -> str | None:
    """Why the beginning of a request's head can never become a good one; None when it still may.

    Bytes before `searched` were looked at before.
    """
    if len(begun) > HEAD_LIMIT_BYTES:
        return "the head is longer than 64 KB"
    if _BARE_LINE_FEED.search(begun, searched) is not None:
        return "a line ends without a carriage return"
    if _REQUEST_BEGUN.match(begun[:33]) is None:
        return "this is not HTTP/1.1 (is it TLS or HTTP/2? the gateway speaks plain HTTP/1.1)"
    return None


def _note_connection(value: bytes, keep_alive: bool, named: list[bytes]) -> bool:
    for option in value.lower().split(b","):
        option = option.strip(b" \t")
        if option == b"close":
            keep_alive = False
        elif option in _NEVER_NAMED:
            raise BadFraming("the Connection header names a header that must be forwarded")
        elif option not in (b"", b"keep-alive"):
            named.append(option)
    return keep_alive


def _without(lines: bytes, dropped: list[tuple[int, int]], named: list[bytes]) -> bytes:
    kept = []
    position = 0
    for start, end in dropped:
        kept.append(lines[position:start])
        position = end
    kept.append(lines[position:])
    left = b"".join(kept)
    if not named:
        return left
    return b"".join(line for line in left.splitlines(keepends=True) if line.partition(b":")[0].lower() not in named)


class _Unheard:
    """httptools calls nothing back: it only judges."""


_UNHEARD: Final = _Unheard()


def _second_opinion(head: bytes) -> None:
    """Two parsers must agree: llhttp is the one that Node.js and many engines use."""
    try:
        httptools.HttpRequestParser(_UNHEARD).feed_data(head)
    except httptools.HttpParserUpgrade:
        return
    except httptools.HttpParserError as error:
        raise BadFraming(f"the head is malformed: {error}") from None


def _what_is_wrong(head: bytes) -> str:
    why = hopeless(head)
    if why is not None:
        return why
    line, _, fields = head.partition(b"\r\n")
    if re.fullmatch(_TOKEN + rb"+ [^ ]+ HTTP/1\.[01]", line) is None:
        return "the request line is malformed"
    if not line.partition(b" ")[2].startswith(b"/"):
        return "the request's target must be a path"
    for field in fields.split(b"\r\n")[:-2]:
        if field[:1] in (b" ", b"\t"):
            return "a header is folded over two lines"
        if re.fullmatch(_TOKEN + rb"+:" + _VALUE + rb"*", field) is None:
            return "a header line is malformed"
    return "the head is malformed"
