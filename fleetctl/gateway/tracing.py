"""Names by which one request is found again: W3C trace context, and `x-request-id`."""

import os
import re
from typing import Final

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[\x21-\x7e]*+)?")
_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")
"""Printable and short: it goes back to the client in a header, and into logs."""
_NOT_SAMPLED: Final = b"00"
"""Whoever records traces decides that; we only begin them."""
_ID_BYTES: Final = 24
"""A trace's 16 and a span's 8. Neither may be all zeros, which happens to one in 2^64."""
_AT_ONCE: Final = 256


class TraceIds:
    """Makes identifiers, many at once: the kernel is asked once for all of them."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[bytes] = []

    def begin(self) -> bytes:
        """48 hexadecimal digits: 32 of a trace, 16 of its first span."""
        ready = self._ready
        if not ready:
            text = os.urandom(_AT_ONCE * _ID_BYTES).hex().encode()
            ready += [text[start : start + 2 * _ID_BYTES] for start in range(0, len(text), 2 * _ID_BYTES)]
        return ready.pop()


def forwarded(ids: bytes, traceparent: bytes, request_id: bytes) -> tuple[bytes, bytes, bytes]:
    """The header lines for the replica, the request id, and the trace id.

    `ids` are fresh ones. What the client sent and is well-formed is kept as it is, anything else is replaced.
    """
    trace_id = ids[:32]
    if traceparent and (given := trace_of(traceparent)):
        trace_id = given
    else:
        traceparent = b"00-%b-%b-%b" % (trace_id, ids[32:], _NOT_SAMPLED)
    if not request_id or _REQUEST_ID.fullmatch(request_id) is None:
        request_id = ids[:32]
    return b"traceparent: %b\r\nx-request-id: %b\r\n" % (traceparent, request_id), request_id, trace_id


def trace_of(traceparent: bytes) -> bytes:
    """The trace id in a `traceparent`; empty: it is malformed. A later version may have more behind the flags."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return b""
    version, trace, span, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return b""
    if not trace.strip(b"0") or not span.strip(b"0"):
        return b""
    return trace
