"""What requests ask of the gateway itself, in headers and in what can be seen of their bodies."""

import json

import pytest

from fleetctl.gateway.http1_heads import parse_request
from fleetctl.gateway.limits import PATIENCE_LONGEST_S
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Band, Ticket
from fleetctl.gateway.wishes import apply_wishes, look_into
from fleetctl.model.names import ServiceName


def wished(header: str, band: Band = Band.NORMAL) -> tuple[Ticket, Refusal | None]:
    ticket = Ticket(ServiceName("chat"))
    ticket.band = band
    head = parse_request(f"POST /v1/x HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n".encode())
    return ticket, apply_wishes(ticket, head)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("10s", 10.0), ("250ms", 0.25), ("1.5m", 90.0), ("2h", 7200.0), ("24h", PATIENCE_LONGEST_S)],
)
def test_a_timeout_is_a_number_with_a_unit(value: str, seconds: float) -> None:
    ticket, refusal = wished(f"X-Fleetctl-Timeout: {value}")

    assert refusal is None
    assert ticket.patience_s == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["10", "0s", "-1s", "s", "1e3s", "10 s", "25h", "10S", "1d", "9999999999ms", "inf"])
def test_any_other_timeout_is_refused(value: str) -> None:
    ticket, refusal = wished(f"x-fleetctl-timeout: {value}")

    assert refusal is not None
    assert (refusal.status, refusal.code, ticket.patience_s) == (400, "bad_timeout", None)


@pytest.mark.parametrize(
    ("allowed", "value", "band"),
    [
        (Band.NORMAL, "low", Band.LOW),
        (Band.NORMAL, "high", Band.NORMAL),
        (Band.HIGH, "normal", Band.NORMAL),
        (Band.LOW, "high", Band.LOW),
        (Band.HIGH, "high", Band.HIGH),
    ],
)
def test_a_request_may_ask_to_be_less_urgent_never_more(allowed: Band, value: str, band: Band) -> None:
    ticket, refusal = wished(f"X-FLEETCTL-Priority: {value}", allowed)

    assert (refusal, ticket.band) == (None, band)


def test_an_unknown_priority_is_refused() -> None:
    _, refusal = wished("x-fleetctl-priority: urgent")

    assert refusal is not None
    assert (refusal.status, refusal.code) == (400, "bad_priority")


@pytest.mark.parametrize(
    ("body", "output", "streams", "why"),
    [
        (b'{"max_tokens":128,"stream":true}', 128, True, "plain"),
        (b'{"max_completion_tokens" : 64, "stream" : false}', 64, False, "the newer name"),
        (b'{"stream":true,"max_tokens":7,"prompt":"' + b"x" * 5000 + b'"}', 7, True, "before a long prompt"),
        (b'{"prompt":"' + b"x" * 5000 + b'","max_tokens":7,"stream":true}', 7, True, "behind a long prompt"),
        (b'{"stream_options":{},"max_tokens":null}', 0, False, "others of the same beginning"),
        (b'{"max_tokens":1.5}', 0, False, "no count"),
        (json.dumps({"prompt": '"max_tokens": 9, "stream": true'}).encode(), 0, False, "a prompt that looks like it"),
        (b"", 0, False, "nothing"),
    ],
)
def test_a_body_is_looked_into_at_its_ends(body: bytes, output: int, streams: bool, why: str) -> None:
    ticket = Ticket(ServiceName("chat"))

    look_into(ticket, body)

    assert (ticket.output_tokens, ticket.streams, ticket.size_bytes) == (output, streams, len(body))
    assert ticket.input_tokens == max(1, len(body) // 4)
