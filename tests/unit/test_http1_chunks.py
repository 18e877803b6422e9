"""The chunked coding: every way to cut it into reads gives the same; what is malformed is refused, at once."""

from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.gateway.http1_chunks import BadFraming, ChunkScanner


def encoded(chunks: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return body + b"0\r\n" + trailers + b"\r\n"


def fed(scanner: ChunkScanner, raw: bytes, cuts: list[int]) -> int:
    """Feeds `raw` cut in pieces; the bytes that belonged to the body, or -1."""
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for start, end in pairwise(edges):
        taken = scanner.feed(raw[start:end])
        if taken >= 0:
            return start + taken
    return -1


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(CHUNKS, CUTS, st.sampled_from([b"", b";a=b", b" ; x"]), st.sampled_from([b"", b"X: y\r\n", b"A:\r\nB: c\r\n"]))
def test_cuts_change_nothing(chunks: list[bytes], cuts: list[int], extension: bytes, trailers: bytes) -> None:
    raw = encoded(chunks, extension, trailers)
    scanner = ChunkScanner(keep=True)

    end = fed(scanner, raw + b"NEXT", cuts)

    assert end == len(raw)
    assert b"".join(scanner.payload) == b"".join(chunks)
    assert scanner.payload_bytes == sum(map(len, chunks))


@given(CHUNKS, CUTS)
def test_another_parser_reads_the_same_payload(chunks: list[bytes], cuts: list[int]) -> None:
    class Heard:
        body = b""
        complete = False

        def on_body(self, data: bytes) -> None:
            self.body += data

        def on_message_complete(self) -> None:
            self.complete = True

    raw = encoded(chunks)
    heard = Heard()

    httptools.HttpResponseParser(heard).feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    scanner = ChunkScanner(keep=True)
    fed(scanner, raw, cuts)

    assert heard.complete
    assert b"".join(scanner.payload) == heard.body


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"g\r\n", "no hexadecimal digit"),
        (b"-1\r\n", "a sign"),
        (b"0x1\r\na\r\n", "a prefix that int() takes"),
        (b"1_0\r\n", "an underscore that int() takes"),
        (b"\r\n", "no size"),
        (b" 1\r\na\r\n", "a space before the size"),
        (b"1\na\r\n", "a bare line feed after the size"),
        (b"1;a\nb\r\n", "a bare line feed in an extension"),
        (b"1;\x00\r\n", "a NUL in an extension"),
        (b"1\r\nab\r\n", "a chunk longer than it said"),
        (b"1\r\na\n", "a bare line feed after the data"),
        (b"123456789\r\n", "a size beyond 32 bits"),
        (b"1;" + b"x" * 2000, "an endless extension"),
        (b"0\r\nX y\r\n\r\n", "a trailer without a colon"),
        (b"0\r\nX: y\nZ: w\r\n\r\n", "a bare line feed in the trailers"),
        (b"0\r\n" + b"X: y\r\n" * 5000, "endless trailers"),
    ],
)
@pytest.mark.parametrize("one_by_one", [False, True], ids=["whole", "byte by byte"])
def test_malformed_chunks_are_refused_as_soon_as_they_are_seen(raw: bytes, why: str, one_by_one: bool) -> None:
    scanner = ChunkScanner()

    with pytest.raises(BadFraming):
        for piece in [raw[i : i + 1] for i in range(len(raw))] if one_by_one else [raw]:
            scanner.feed(piece)


def test_it_knows_when_it_stands_between_two_chunks() -> None:
    scanner = ChunkScanner()
    seen = []

    for piece in (b"3\r\nabc\r\n", b"3", b"\r\n", b"abc", b"\r", b"\n"):
        scanner.feed(piece)
        seen.append(scanner.between_chunks)

    assert seen == [True, False, False, False, False, True]
