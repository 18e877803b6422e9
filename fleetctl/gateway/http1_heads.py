"""Heads of requests, judged by a grammar with no leniency; what is forwarded is what was judged."""

import re
from typing import Any, Final

import httptools

from fleetctl.gateway.http1_chunks import BadFraming
from fleetctl.gateway.limits import HEAD_LIMIT_BYTES, HEADERS_LIMIT

# RFC 9110, sections 5.1, 5.5 and 5.6.2; RFC 9112, sections 3 and 4. Within a line quantifiers are possessive, and a
# line is matched in one way only: matching is linear. Those of whole groups are not: before Python 3.11.5 they match
# what they must not (python/cpython#106052).
TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
FIELDS: Final = rb"((?:" + TOKEN + rb"++:" + VALUE + rb"*+\r\n)*)\r\n"
_REQUEST: Final = re.compile(rb"(" + TOKEN + rb"{1,32}+) (/[\x21\x22\x24-\x7e]*+) HTTP/1\.([01])\r\n" + FIELDS)

_REQUEST_NOTED: Final = re.compile(
    rb"\n(content-length|transfer-encoding|host|connection|keep-alive|proxy-connection|proxy-authorization|te|trailer"
    rb"|upgrade|http2-settings|expect|authorization|x-api-key|api-key|traceparent|x-request-id"
    rb"|x-fleetctl-(?:service|priority|timeout)):([^\r]*+)\r",
    re.IGNORECASE,
)
_CREDENTIALS: Final = frozenset((b"authorization", b"x-api-key", b"api-key"))
_OURS: Final = {
    b"x-fleetctl-service": "service",
    b"x-fleetctl-priority": "priority",
    b"x-fleetctl-timeout": "timeout",
}
_NEVER_NAMED: Final = frozenset((b"content-length", b"transfer-encoding", b"host", b"authorization"))
"""`Connection: content-length` would make us drop what frames the message."""
_LENGTH_DIGITS_MAX: Final = 15
_DIGITS: Final = re.compile(rb"[0-9]{1,%d}" % _LENGTH_DIGITS_MAX)
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_REQUEST_BEGUN: Final = re.compile(TOKEN + rb"{1,32}+(?: |\Z)")


class KnownHead:
    """A head that was judged. One that comes again, but for the digits of its Content-Length, is known by its bytes."""

    __slots__ = ("_furthest", "_newest", "_newest_length", "content_length", "ending", "judged")

    def __init__(self) -> None:
        self.content_length = 0
        """Of the newest head of these bytes; 0 also where there is none."""
        self.judged = b""
        """The head's own bytes up to the digits of Content-Length; without one, all of it."""
        self.ending = b""
        """What follows the digits, to the end of the head; empty where there are none."""
        self._furthest = 0
        self._newest = b""
        """The newest of these heads whole, and its length: many clients and engines repeat it."""
        self._newest_length = 0

    def seal(self, head: bytes, digits: tuple[int, int] | None) -> None:
        """Remember the bytes it was read from, for `again`."""
        if digits is None:
            self.judged, self.ending = head, b""
        else:
            self.judged, self.ending = head[: digits[0]], head[digits[1] :]
        self._furthest = len(self.judged) + _LENGTH_DIGITS_MAX + len(self.ending)

    def again(self, data: bytes) -> int:
        """How long the head is with which `data` begins, if it is this one but for the digits; else 0.

        `content_length` is then that of the new one. Digits in place of digits change nothing in how the grammar reads
        a head, so nothing is judged anew.
        """
        newest = self._newest
        if newest and data.startswith(newest):
            self.content_length = self._newest_length
            return len(newest)
        judged = self.judged
        if not data.startswith(judged):
            return 0
        ending = self.ending
        start = len(judged)
        if not ending:
            return start
        stop = data.find(ending, start, self._furthest)
        if stop < 0 or not (digits := data[start:stop]).isdigit():
            return 0
        self.content_length = self._newest_length = int(digits)
        stop += len(ending)
        self._newest = data[:stop]
        return stop


class RequestHead(KnownHead):
    """A request's head."""

    __slots__ = (
        "admitted", "admitted_in", "after", "alone", "api_key", "authorization", "before", "chosen", "chosen_by",
        "chunked", "credentials", "expects_continue", "finish", "host", "http10", "keep_alive", "method", "priority",
        "request_id", "service", "start", "target", "timeout", "traceparent", "upgrade", "usual",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, *, http10: bool) -> None:
        super().__init__()
        self.method = method
        self.target = target
        self.http10 = http10
        self.chunked = False
        self.keep_alive = not http10
        self.expects_continue = False
        self.upgrade = b""
        """Lower case; empty when none is asked for."""
        self.host = b""
        self.authorization = b""
        self.api_key = b""
        self.credentials = b""
        """Whole header lines with secrets of the client, which are in neither `before` nor `after`."""
        self.service = b""
        """The value of `x-fleetctl-service`; likewise the next two."""
        self.priority = b""
        self.timeout = b""
        self.traceparent = b""
        self.request_id = b""
        self.before = b""
        """The header lines to forward, up to the digits of Content-Length; without one, all of them."""
        self.after = b""
        """What follows the digits; empty where there are none."""
        self.usual = False
        """It has a Content-Length, and brings no names of its own for the request."""
        self.start = b""
        """Of a usual one: all that is forwarded before the digits, with the request line as it came."""
        self.finish = b""
        """And what is forwarded behind them, up to the trace id."""
        # what was made of it, for when it comes again
        self.admitted: object = None
        self.admitted_in = -1
        self.chosen: object = None
        self.chosen_by: object = None
        self.alone: Any = None


def parse_request(head: bytes) -> RequestHead:
    """`head` ends with its empty line. Raises `BadFraming`."""
    whole = _REQUEST.fullmatch(head)
    if whole is None or len(head) > HEAD_LIMIT_BYTES:
        raise BadFraming(_what_is_wrong(head))
    if whole[1] == b"CONNECT":
        raise BadFraming("the gateway is no tunnel")
    asked = RequestHead(whole[1], whole[2], http10=whole[3] == b"0")
    first, last = whole.span(4)
    digits: tuple[int, int] | None = None
    hosts = 0
    dropped: list[tuple[int, int]] = []
    named: list[bytes] = []
    for found in _REQUEST_NOTED.finditer(head, first - 1):
        name = found[1].lower()
        value = found[2].strip(b" \t")
        if name == b"host":
            hosts += 1
            asked.host = value
            continue
        if name == b"content-length":
            if digits is not None:
                raise BadFraming("two Content-Length headers")
            digits = digits_of(head, found)
            if digits is None:
                raise BadFraming("the Content-Length is no number")
            asked.content_length = int(value)
            continue
        if name == b"transfer-encoding":
            if asked.chunked or value.lower() != b"chunked":
                raise BadFraming("the only Transfer-Encoding understood is a single `chunked`")
            asked.chunked = True
        elif name == b"connection":
            asked.keep_alive = note_connection(value, asked.keep_alive, named)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadFraming("the only Expect understood is `100-continue`")
            asked.expects_continue = not asked.http10
        elif name == b"upgrade":
            asked.upgrade = value.lower()
        elif name in _CREDENTIALS:
            _note_credential(asked, name, value)
            asked.credentials += head[found.start() + 1 : found.end() + 1]
        elif name == b"traceparent":
            asked.traceparent = b"twice" if asked.traceparent else value  # malformed on purpose: it is begun anew
        elif name == b"x-request-id":
            asked.request_id = value
        elif name in _OURS:
            field = _OURS[name]
            if getattr(asked, field) not in (b"", value):
                raise BadFraming(f"two {name.decode()} headers")
            setattr(asked, field, value)
        dropped.append((found.start() + 1, found.end() + 1))
    if asked.chunked and (digits is not None or asked.http10):
        raise BadFraming("Transfer-Encoding together with Content-Length or HTTP/1.0")
    if hosts > 1 or (hosts == 0 and not asked.http10):
        raise BadFraming("exactly one Host header is needed")
    if head.count(b"\r\n") > HEADERS_LIMIT + 2:
        raise BadFraming("too many headers")
    _second_opinion(head)
    asked.before, asked.after = kept_lines(head, first, last, digits, dropped, named)
    if not hosts:  # it is forwarded as HTTP/1.1, which is nothing without (RFC 9112, section 3.2)
        asked.before = b"Host:\r\n" + asked.before
    asked.seal(head, digits)
    if digits is not None and not asked.traceparent and not asked.request_id:
        asked.usual = True
        asked.start = b"%b %b HTTP/1.1\r\n%b" % (asked.method, asked.target, asked.before)
        asked.finish = asked.after + b"traceparent: 00-"
    return asked


def digits_of(head: bytes, found: "re.Match[bytes]") -> tuple[int, int] | None:
    """Where in `head` the digits of this header's value are; None: it is no number."""
    value = found[2]
    start = found.start(2) + len(value) - len(value.lstrip(b" \t"))
    number = _DIGITS.match(head, start)
    if number is None or head[number.end() : found.end(2)].strip(b" \t"):
        return None
    return number.span()


def _note_credential(asked: RequestHead, name: bytes, value: bytes) -> None:
    if name == b"authorization":
        if asked.authorization not in (b"", value):
            raise BadFraming("two Authorization headers")
        asked.authorization = value
    elif asked.api_key not in (b"", value):
        raise BadFraming("two API keys")
    else:
        asked.api_key = value


def kept_lines(
    head: bytes,
    first: int,
    last: int,
    digits: tuple[int, int] | None,
    dropped: list[tuple[int, int]],
    named: list[bytes],
) -> tuple[bytes, bytes]:
    """The header lines to forward, before and after the digits of Content-Length."""
    if digits is None:
        return _without(head, first, last, dropped, named), b""
    return (
        _without(head, first, digits[0], [span for span in dropped if span[0] < digits[0]], named),
        _without(head, digits[1], last, [span for span in dropped if span[0] > digits[0]], named),
    )


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


def note_connection(value: bytes, keep_alive: bool, named: list[bytes]) -> bool:
    for option in value.lower().split(b","):
        option = option.strip(b" \t")
        if option == b"close":
            keep_alive = False
        elif option in _NEVER_NAMED:
            raise BadFraming("the Connection header names a header that must be forwarded")
        elif option not in (b"", b"keep-alive"):
            named.append(option)
    return keep_alive


def _without(head: bytes, first: int, last: int, dropped: list[tuple[int, int]], named: list[bytes]) -> bytes:
    kept = []
    for start, end in dropped:
        kept.append(head[first:start])
        first = end
    kept.append(head[first:last])
    left = b"".join(kept)
    if not named:
        return left
    names = frozenset(named)
    return b"".join(line for line in left.splitlines(keepends=True) if line.partition(b":")[0].lower() not in names)


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
    if re.fullmatch(TOKEN + rb"+ [^ ]+ HTTP/1\.[01]", line) is None:
        return "the request line is malformed"
    if not line.partition(b" ")[2].startswith(b"/"):
        return "the request's target must be a path"
    for field in fields.split(b"\r\n")[:-2]:
        if field[:1] in (b" ", b"\t"):
            return "a header is folded over two lines"
        if re.fullmatch(TOKEN + rb"+:" + VALUE + rb"*", field) is None:
            return "a header line is malformed"
    return "the head is malformed"
