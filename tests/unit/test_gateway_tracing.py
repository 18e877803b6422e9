"""Trace context and request ids: kept where they are well-formed, begun where not."""

import re

import pytest

from fleetctl.gateway.tracing import TraceIds, forwarded, trace_of

IDS = b"a" * 32 + b"b" * 16
TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = b"00-" + TRACE + b"-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("traceparent", "trace", "why"),
    [
        (GIVEN, TRACE, "as in the standard"),
        (b"01-" + TRACE + b"-00f067aa0ba902b7-01-more", TRACE, "a later version may say more"),
        (GIVEN + b"-more", b"", "this one may not"),
        (b"ff-" + TRACE + b"-00f067aa0ba902b7-01", b"", "no version"),
        (b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"", "no trace"),
        (b"00-" + TRACE + b"-0000000000000000-01", b"", "no span"),
        (GIVEN.upper(), b"", "lower case only"),
        (GIVEN[:-1], b"", "cut"),
        (b"", b"", "nothing"),
    ],
)
def test_a_traceparent_is_judged_by_the_standard(traceparent: bytes, trace: bytes, why: str) -> None:
    assert trace_of(traceparent) == trace


def test_what_the_client_sent_is_kept() -> None:
    lines, request_id, trace_id = forwarded(IDS, GIVEN, b"req-1")

    assert lines == b"traceparent: " + GIVEN + b"\r\nx-request-id: req-1\r\n"
    assert (request_id, trace_id) == (b"req-1", TRACE)


@pytest.mark.parametrize("request_id", [b"two words", b"x" * 129, b"caf\xc3\xa9", b""])
def test_what_is_malformed_is_begun_anew_and_not_sampled(request_id: bytes) -> None:
    lines, made, trace_id = forwarded(IDS, b"garbage", request_id)

    assert lines == b"traceparent: 00-%b-%b-00\r\nx-request-id: %b\r\n" % (b"a" * 32, b"b" * 16, b"a" * 32)
    assert made == trace_id == b"a" * 32


def test_ids_are_well_formed_and_differ() -> None:
    ids = TraceIds()

    made = {ids.begin() for _ in range(1000)}

    assert len(made) == 1000
    assert all(re.fullmatch(rb"[0-9a-f]{48}", one) for one in made)
    assert all(trace_of(b"00-%b-%b-00" % (one[:32], one[32:])) == one[:32] for one in made)
