"""The gateway's reading of HTTP/1.1 against two others, and against noise: what it forwards, all read alike."""

import asyncio
import contextlib
import itertools
import random
import re
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from gateway_world import AsProcess, InProcess, in_process, routed, routes, service
from http1_readers import HEADS, HOP_BY_HOP, SPOILS, by_llhttp, by_the_book, end_to_end, spoiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_sockets import RawUpstream, Running, answers, linked, raw_upstream, running_process, say, still_serves

from fleetctl.gateway.http1_chunks import BadFraming, ChunkScanner
from fleetctl.gateway.http1_heads import parse_request
from fleetctl.gateway.limits import CHUNK_EXTENSIONS_LIMIT_BYTES, CHUNK_LINE_LIMIT_BYTES, TRAILER_LIMIT_BYTES

LIVE_S = 8.0
"""For each live campaign: some thousand connections."""
DOCUMENTED = frozenset((200, 400, 403, 404, 408, 413, 431, 501, 502))
"""502 where what was forwarded is no request for the raw replica, which then says nothing; it never is 500."""


def fixed(examples: int) -> settings:
    """The same examples in every run."""
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# Heads


_LENGTH = re.compile(rb"(content-length:[ \t]*)\d+", re.IGNORECASE)


@fixed(3000)
@given(HEADS)
def test_a_head_that_is_accepted_is_read_alike_by_two_others(head: bytes) -> None:
    try:
        asked = parse_request(head)
    except BadFraming:
        return

    for other in (by_the_book(head), by_llhttp(head)):
        assert (asked.method, asked.target) == (other.method, other.target)
        assert (asked.content_length, asked.chunked) == (other.length, other.chunked)


async def campaign(gateway: InProcess, one: RawUpstream, heads: list[bytes]) -> int:
    """Send each on a connection of its own; judge what reached the replica. Returns how many were forwarded."""
    forwarded = 0
    for head in heads:
        one.forget()
        body = b""
        with contextlib.suppress(ValueError):
            read = by_the_book(head)
            body = b"0\r\n\r\n" if read.chunked else b"z" * min(read.length, 20_000)
        await _send(gateway, head + body)
        reached = one.received
        if not reached:
            continue
        forwarded += 1
        came, empty_line, rest = reached.partition(b"\r\n\r\n")
        sent = by_the_book(head)  # a ValueError here: it forwarded what is no request
        named = any(name == b"host" for name, _ in sent.headers)
        # What goes on is HTTP/1.1, which needs a Host; HTTP/1.0 may have come without.
        added = [] if named else [(b"host", b"")]
        book, llhttp = by_the_book(came + empty_line), by_llhttp(came + empty_line)
        for read in (book, llhttp):
            assert (read.method, read.length, read.chunked) == (sent.method, sent.length, False), head
            assert read.target == sent.target, head
            assert end_to_end(read) == added + end_to_end(sent), head
            assert not {name for name, _ in read.headers} & (HOP_BY_HOP - {b"content-length"}), head
        assert len(rest) == sent.length, head
    return forwarded


def twins(head: bytes) -> list[bytes]:
    """The head, and the same with another length: one that is nearly known may be read less carefully."""
    others = (b"1", b"12345", b"+1", b"1 1", b"1,1", b"", b"1\r\nX-A: 1", b"1234567890123456")
    found = _LENGTH.search(head)
    if found is None:
        return [head, head]
    return [head, *(head[: found.end(1)] + other + head[found.end() :] for other in others)]


async def _send(gateway: InProcess, raw: bytes) -> None:
    """Half-closed at once it would be abandoned: it is closed when an answer or an end has come."""
    host, _, port = gateway.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(raw)
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(0.05):  # a head that is not complete gets no answer
            await reader.read(1)
    writer.transport.abort()


async def test_what_reaches_a_replica_is_read_alike_by_all_and_lacks_nothing() -> None:
    drawn: list[bytes] = []

    @fixed(2500)
    @given(HEADS)
    def draw(head: bytes) -> None:
        drawn.append(head)

    draw()
    heads = [twin for head in dict.fromkeys(drawn) if head.endswith(b"\r\n\r\n") for twin in twins(head)]
    async with in_process() as gateway, raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))
        begun = time.monotonic()
        forwarded = 0
        for start in range(0, len(heads), 50):
            forwarded += await campaign(gateway, one, heads[start : start + 50])
            if time.monotonic() - begun > LIVE_S:
                break

    assert forwarded > 100


# Chunks


_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")


def whole(body: bytes) -> tuple[bytes, int] | None:
    """The payload and the length of a body that is there in full; None: it is malformed or incomplete."""
    payload, at, extensions = b"", 0, 0
    while True:
        found = _SIZE.match(body, at)
        if found is None or len(found[0]) > CHUNK_LINE_LIMIT_BYTES:
            return None
        extensions += len(found[0]) if len(found[0]) > 10 else 0
        if extensions > CHUNK_EXTENSIONS_LIMIT_BYTES:
            return None
        size, at = int(found[1], 16), found.end()
        if size == 0:
            break
        if body[at + size : at + size + 2] != b"\r\n":
            return None
        payload += body[at : at + size]
        at += size + 2
    begun = at
    while found := _TRAILER.match(body, at):
        if len(found[0]) > CHUNK_LINE_LIMIT_BYTES:
            return None
        at = found.end()
    if body[at : at + 2] != b"\r\n" or at + 2 - begun > TRAILER_LIMIT_BYTES:
        return None
    return payload, at + 2


def in_pieces(pieces: list[bytes]) -> tuple[bytes, int] | None:
    """By two scanners, for what is kept (requests) and for what only passes (answers); they must agree."""
    kept, passed, before = ChunkScanner(keep=True), ChunkScanner(), 0
    for piece in pieces:
        end, passed_end = _fed(kept, piece), _fed(passed, piece)
        assert end == passed_end
        if end is None:
            return None
        if end >= 0:
            assert (passed.payload_bytes, passed.payload) == (kept.payload_bytes, [])
            return b"".join(kept.payload), before + end
        before += len(piece)
    return None


def _fed(scanner: ChunkScanner, piece: bytes) -> int | None:
    try:
        return scanner.feed(piece)
    except BadFraming:
        return None


_chunk = st.builds(
    lambda data, zeros, extension: b"%b%x%b\r\n%b\r\n" % (zeros, len(data), extension, data),
    st.binary(min_size=1, max_size=40),
    st.sampled_from((b"", b"0", b"000")),
    st.sampled_from((b"", b";a", b" ;a=b", b"\t;", b";" + b"x" * 1015, b";" + b"x" * 1030)),
)
_trailers = st.lists(
    st.sampled_from(
        (
            b"X: y\r\n",
            b"Content-Length: 3\r\n",
            b"X:\r\n",
            b": y\r\n",
            b"Y: " + b"z" * 1019 + b"\r\n",
            b"Y: " + b"z" * 1020 + b"\r\n",
            b"Z: y\r\n" * 2000,
        )
    ),
    max_size=2,
)
BODIES = st.builds(
    lambda chunks, last, trailers, rest, spoils: spoiled(b"".join([*chunks, last, *trailers, b"\r\n", rest]), spoils),
    st.lists(_chunk, max_size=20),
    st.sampled_from((b"0\r\n", b"000\r\n", b"0;a\r\n", b"")),
    _trailers,
    st.sampled_from((b"", b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n")),
    st.just([]) | SPOILS,
)


@fixed(4000)
@given(BODIES, st.lists(st.floats(0, 1), max_size=12))
def test_chunks_are_read_alike_however_they_are_split(body: bytes, cuts: list[float]) -> None:
    places = sorted({int(cut * len(body)) for cut in cuts} | {0, len(body)})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    expected = whole(body)

    assert in_pieces([body]) == expected
    assert in_pieces(pieces) == expected
    if len(body) < 300:
        assert in_pieces([body[at : at + 1] for at in range(len(body))]) == expected


# Noise


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    yield from running_process()


@pytest.fixture
async def gateway(process: Running) -> AsyncIterator[AsProcess]:
    async with linked(process) as one:
        yield one


START = b"POST /v1/x HTTP/1.1\r\n"
BEGINNINGS = (b"", b"GET /", START + b"Host: a\r\n", START + b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n")
LETTERS = (bytes(range(256)), b"\r\n\t :;,0a", b"0123456789abcdef\r\n;", b"ABCxyz: \r\n")
READ_HEADERS = (
    b"Authorization", b"x-api-key", b"x-fleetctl-timeout", b"x-fleetctl-priority", b"x-fleetctl-service",
    b"traceparent", b"x-request-id", b"Accept",
)  # fmt: skip
VALUES = (b"0123456789.eE+-_ infa", b"0123456789abcdef-", b"\xff\xfe\x80abc", b"ms0123", bytes(range(0x20, 0x7F)))


def noise(draw: random.Random) -> list[bytes]:
    """Bytes that may begin well, or a value that the gateway reads; in pieces."""
    if draw.random() < 0.5:
        raw = draw.choice(BEGINNINGS) + bytes(draw.choices(draw.choice(LETTERS), k=draw.randrange(400)))
        raw += draw.choice((b"", b"\r\n\r\n", b"\r\n0\r\n\r\n"))
    else:
        value = bytes(draw.choices(draw.choice(VALUES), k=draw.choice((0, 1, 3, 20, 55, 600))))
        raw = START + b"Host: a\r\n%b: %b\r\nConnection: close\r\n\r\n" % (draw.choice(READ_HEADERS), value)
    cuts = sorted(draw.choices(range(len(raw) + 1), k=draw.randrange(5)))
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


async def test_noise_is_answered_or_closed_and_the_process_lives_on(gateway: AsProcess) -> None:
    draw = random.Random(6)
    seen: dict[int, int] = {}
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))

        async def one_of(pieces: list[bytes]) -> None:
            with contextlib.suppress(TimeoutError):  # it waits for the rest of a request: nothing is wrong with that
                for said in answers(await say(gateway, *pieces, pause_s=0.001, within_s=0.3)):
                    seen[said.status] = seen.get(said.status, 0) + 1

        begun = time.monotonic()
        rounds = 0
        while rounds < 20 and time.monotonic() - begun < LIVE_S:
            await asyncio.gather(*(one_of(noise(draw)) for _ in range(50)))
            rounds += 1
        served = await still_serves(gateway)

        assert served == b"hello"
        assert seen.keys() <= DOCUMENTED, seen
        assert seen[200] > 10
        assert seen[400] > 100
