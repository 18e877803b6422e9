"""What a request asks of the gateway itself: how long it would wait, how urgent it is, how long an answer it wants."""

import re
from typing import Final

from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.limits import PATIENCE_LONGEST_S
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Band, Ticket

_PATIENCE: Final = re.compile(rb"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)")
_SECONDS: Final = {b"ms": 0.001, b"s": 1.0, b"m": 60.0, b"h": 3600.0}
_BANDS: Final = {b"high": Band.HIGH, b"normal": Band.NORMAL, b"low": Band.LOW}
_OUTPUT: Final = re.compile(rb'"max_(?:completion_|output_|new_)?tokens"\s*+:\s*+([0-9]{1,9})(?![0-9.eE])')
_OUTPUT_NEEDLE: Final = b'"max_'
_TOKEN_BYTES: Final = 4
"""About as many bytes of English JSON make one token; it need not be exact, engines tell the true number later."""
_WINDOW_BYTES: Final = 256
"""Looked into at both ends of a body: parameters stand before or after the prompt."""


_STREAM_NEEDLE: Final = b'"stream"'
_STREAMS: Final = (b'"stream":true', b'"stream": true')
_STREAM: Final = re.compile(rb'"stream"\s*+:\s*+true')


def look_into(ticket: Ticket, body: bytes) -> None:
    """Note in the ticket what its body says at either end, as far as it can be seen without parsing: how long an answer
    the client wants, and whether as a stream.
    """
    size = len(body)
    ticket.size_bytes = size
    ticket.input_tokens = size // _TOKEN_BYTES or 1
    at = body.find(_OUTPUT_NEEDLE, 0, _WINDOW_BYTES)
    if at < 0 and size > _WINDOW_BYTES:
        at = body.find(_OUTPUT_NEEDLE, size - _WINDOW_BYTES)
    if at >= 0 and (wanted := _OUTPUT.match(body, at, at + _WINDOW_BYTES)) is not None:
        ticket.output_tokens = int(wanted[1])
    at = body.find(_STREAM_NEEDLE, 0, _WINDOW_BYTES)
    if at < 0 and size > _WINDOW_BYTES:
        at = body.find(_STREAM_NEEDLE, size - _WINDOW_BYTES)
    if at >= 0:
        ticket.streams = body.startswith(_STREAMS, at) or _STREAM.match(body, at, at + _WINDOW_BYTES) is not None


def apply_wishes(ticket: Ticket, asked: RequestHead) -> Refusal | None:
    """Note in the ticket what its headers ask for; a Refusal where that cannot be understood."""
    if asked.priority:
        band = band_of(asked, ticket.band)
        if isinstance(band, Refusal):
            return band
        ticket.band = band
    if asked.timeout:
        patience_s = patience_of(asked)
        if isinstance(patience_s, Refusal):
            return patience_s
        ticket.patience_s = patience_s
    return None


def patience_of(asked: RequestHead) -> float | Refusal | None:
    """Seconds from `x-fleetctl-timeout`; None: the client does not say."""
    if not asked.timeout:
        return None
    found = _PATIENCE.fullmatch(asked.timeout)
    if found is not None and 0 < (seconds := float(found[1]) * _SECONDS[found[2]]) <= PATIENCE_LONGEST_S:
        return seconds
    return Refusal(
        status=400,
        code="bad_timeout",
        message="The header x-fleetctl-timeout must be a number with a unit, longer than 0 and at most 24h: "
        "250ms, 10s, 1.5m or 2h.",
    )


def band_of(asked: RequestHead, allowed: Band) -> Band | Refusal:
    """`x-fleetctl-priority` may ask for a later band than its key's, never for an earlier one."""
    if not asked.priority:
        return allowed
    wished = _BANDS.get(asked.priority)
    if wished is not None:
        return max(wished, allowed)
    return Refusal(
        status=400, code="bad_priority", message="The header x-fleetctl-priority must be high, normal or low."
    )
