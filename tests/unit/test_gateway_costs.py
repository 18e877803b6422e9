"""What one request may cost: the loop that reads it carries all the others, too."""

import time
from collections.abc import Callable

import pytest

from fleetctl.gateway.control_paths import steers
from fleetctl.gateway.http1_heads import parse_request
from fleetctl.gateway.limits import BODY_LIMIT_BYTES, HEAD_LIMIT_BYTES
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.routing import Table
from fleetctl.gateway.scheduler.ticket import Ticket
from fleetctl.gateway.wishes import look_into
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route

WITHIN_S = 0.2
"""Of CPU: many times what the slowest takes, and less than what each took that looked at all of it."""


def head(*lines: bytes, target: bytes = b"/v1/x", host: bytes = b"a") -> bytes:
    return b"\r\n".join((b"POST %b HTTP/1.1" % target, b"Host: " + host, *lines, b"", b""))


def table() -> Table:
    return Table(
        tuple(
            Route(service=ServiceName(name), models=(), upstreams=(), hosts=(f"*.{name}.example.org",))
            for name in ("one", "other")
        )
    )


BLANKS = b" " * BODY_LIMIT_BYTES
UNSAID, UNSTREAMED = b'{"max_tokens"' + BLANKS, b'{"stream"' + BLANKS
MANY = HEAD_LIMIT_BYTES // 2 - 100
LONG: dict[str, Callable[[], object]] = {
    "a path of many segments": lambda: steers(b"/a" * MANY),
    "a path of many dots": lambda: steers(b"/.." * (MANY // 2)),
    "a host of many labels": lambda: table().choose(parse_request(head(host=b"a." * MANY)), b'{"model": "one"}'),
    "a Connection that names much": lambda: parse_request(
        head(
            b"Connection: " + b",".join(b"a%d" % number for number in range(8000)),
            *(b"b%d: 1" % number for number in range(250)),
        )
    ),
    "a parameter and then nothing": lambda: look_into(Ticket(ServiceName("one")), UNSAID),
    "a stream that is not said": lambda: look_into(Ticket(ServiceName("one")), UNSTREAMED),
}


@pytest.mark.parametrize("made", LONG.values(), ids=LONG.keys())
def test_what_is_as_long_as_it_may_be_is_looked_at_in_no_time(made: Callable[[], object]) -> None:
    began = time.process_time()

    made()

    assert time.process_time() - began < WITHIN_S


@pytest.mark.parametrize("path", [b"/v1/load_lora_adapter", b"/v1/load_lora_adapter/x/y/z", b"/sleep/" + b"a/" * 9000])
def test_deep_below_a_path_that_steers_is_still_below_it(path: bytes) -> None:
    assert steers(path)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_body_of_brackets_alone_is_a_bad_one(opening: bytes) -> None:
    asked = parse_request(head())

    found = table().choose(asked, b'{"x":' + opening * 100_000)

    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (400, "invalid_body")
