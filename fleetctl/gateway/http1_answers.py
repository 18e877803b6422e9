"""Heads of answers, judged as strictly as those of requests."""

import re
from typing import Final

from fleetctl.gateway.http1_chunks import BadFraming
from fleetctl.gateway.http1_heads import FIELDS, VALUE, KnownHead, digits_of, kept_lines, note_connection
from fleetctl.gateway.limits import HEAD_LIMIT_BYTES, HEADERS_LIMIT

_ANSWER: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}(?: " + VALUE + rb"*+)?)\r\n" + FIELDS)
_ANSWER_NOTED: Final = re.compile(
    rb"\n(content-length|transfer-encoding|connection|keep-alive|proxy-connection|upgrade|x-request-id|content-type)"
    rb":([^\r]*+)\r",
    re.IGNORECASE,
)


class AnswerHead(KnownHead):
    """An answer's head."""

    __slots__ = ("after", "before", "chunked", "keep_alive", "reason", "sse", "status")

    def __init__(self, reason: bytes, *, keep_alive: bool) -> None:
        super().__init__()
        self.status = int(reason[:3])
        self.reason = reason
        """The status line after the version."""
        self.chunked = False
        self.keep_alive = keep_alive
        self.sse = False
        self.before = b""
        """The status line and the header lines to forward, up to the digits of Content-Length; without one, all."""
        self.after = b""

    @property
    def length(self) -> int | None:
        """None: not given."""
        return self.content_length if self.ending else None


def parse_answer(head: bytes) -> AnswerHead:
    """`head` ends with its empty line. Raises `BadFraming`."""
    whole = _ANSWER.fullmatch(head)
    if whole is None or len(head) > HEAD_LIMIT_BYTES:
        raise BadFraming("the answer's head is malformed")
    minor, reason = whole[1], whole[2]
    answer = AnswerHead(reason, keep_alive=minor == b"1")
    first, last = whole.span(3)
    digits: tuple[int, int] | None = None
    dropped: list[tuple[int, int]] = []
    named: list[bytes] = []
    for found in _ANSWER_NOTED.finditer(head, first - 1):
        name = found[1].lower()
        value = found[2].strip(b" \t")
        if name == b"content-length":
            if digits is not None or (digits := digits_of(head, found)) is None:
                raise BadFraming("the answer's Content-Length is given twice or is no number")
            answer.content_length = int(value)
            continue
        if name == b"content-type":
            answer.sse = value[:17].lower() == b"text/event-stream"
            continue
        if name == b"transfer-encoding":
            if answer.chunked or value.lower() != b"chunked" or minor == b"0":
                raise BadFraming("the answer has a Transfer-Encoding other than a single `chunked`")
            answer.chunked = True
            continue
        if name == b"connection":
            answer.keep_alive = note_connection(value, answer.keep_alive, named)
        dropped.append((found.start() + 1, found.end() + 1))
    if answer.chunked and digits is not None:
        raise BadFraming("the answer has both Transfer-Encoding and Content-Length")
    if head.count(b"\r\n") > HEADERS_LIMIT + 2:
        raise BadFraming("the answer has too many headers")
    before, answer.after = kept_lines(head, first, last, digits, dropped, named)
    answer.before = b"HTTP/1.1 %b\r\n%b" % (reason, before)
    answer.seal(head, digits)
    return answer
