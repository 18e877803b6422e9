"""Request smuggling, both ways: what two servers could read differently reaches neither a replica nor a client."""

from collections.abc import AsyncIterator, Iterator

import pytest
from gateway_world import AsProcess, answer, client, routed, routes, service, until
from raw_sockets import (
    GET,
    GET_FORWARDED,
    Running,
    answers,
    linked,
    raw_upstream,
    running_process,
    say,
    still_serves,
)

START = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
GOOD_FORWARDED = GET_FORWARDED
"""`still_serves` asks to close; the header is of that connection alone and is not forwarded."""


def head(lines: bytes, body: bytes = b"") -> bytes:
    return START + lines + b"\r\n" + body


FRAMING = {
    "a length and chunks": head(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunks and a length": head(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
    "a length of zero and chunks": head(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "two equal lengths": head(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
    "two lengths": head(b"Content-Length: 0\r\nContent-Length: 40\r\n"),
    "a list of equal lengths": head(b"Content-Length: 3, 3\r\n", b"abc"),
    "a signed length": head(b"Content-Length: +3\r\n", b"abc"),
    "a negative length": head(b"Content-Length: -1\r\n"),
    "a hexadecimal length": head(b"Content-Length: 0x3\r\n", b"abc"),
    "a length with a fraction": head(b"Content-Length: 3.0\r\n", b"abc"),
    "a length in two words": head(b"Content-Length: 3 3\r\n", b"abc"),
    "a length in other digits": head(b"Content-Length: \xd9\xa3\r\n", b"abc"),
    "a length over 64 bits": head(b"Content-Length: 18446744073709551619\r\n", b"abc"),
    "a length that wraps 32 bits and is too large": head(b"Content-Length: 4294967299\r\n", b"abc"),
    "no length at all": head(b"Content-Length:\r\n"),
    "a length with a quote": head(b'Content-Length: "3"\r\n', b"abc"),
    "an unknown coding": head(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "a coding after chunked": head(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    "a coding before chunked": head(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "chunked, chunked": head(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "chunked on two lines": head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunked and identity": head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "identity alone": head(b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n"),
    "chunked with a comma": head(b"Transfer-Encoding: chunked,\r\n", b"0\r\n\r\n"),
    "chunked with a parameter": head(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"),
    "chunked in quotes": head(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
    "an empty coding": head(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"),
    "a space before the colon": head(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "a tab before the colon": head(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n"),
    "a length with a space before the colon": head(b"Content-Length : 3\r\n", b"abc"),
    "a vertical tab before chunked": head(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    "a form feed before chunked": head(b"Transfer-Encoding:\x0cchunked\r\n", b"0\r\n\r\n"),
    "a no-break space after chunked": head(b"Transfer-Encoding: chunked\xa0\r\n", b"0\r\n\r\n"),
    "a folded coding": head(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "a folded length": head(b"Content-Length:\r\n\t3\r\n", b"abc"),
    "a fold on the first line": head(b" Content-Length: 3\r\n", b"abc"),
    "a header named in Connection": head(b"Connection: content-length\r\nContent-Length: 3\r\n", b"abc"),
    "chunked named in Connection": head(b"Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"),
    "a bare line feed": head(b"X: y\nContent-Length: 3\r\n", b"abc"),
    "a bare carriage return": head(b"X: y\rContent-Length: 3\r\n", b"abc"),
    "a carriage return twice": head(b"X: y\r\r\nContent-Length: 3\r\n", b"abc"),
    "a NUL in a value": head(b"X: y\x00z\r\n"),
    "a NUL in a name": head(b"X\x00: y\r\n"),
    "a line without a colon": head(b"Content-Length 3\r\n", b"abc"),
    "a name that is no token": head(b"Content Length: 3\r\n", b"abc"),
    "an underscore is another header": head(b"Content_Length: 3\r\nContent-Length: 3\r\nContent-Length: 0\r\n"),
    "two hosts": head(b"Host: b\r\n"),
    "chunks in HTTP/1.0": b"POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an expectation of another kind": head(b"Expect: 100-continue, x\r\nContent-Length: 0\r\n"),
}

LINES = {
    "no host": b"GET /v1/x HTTP/1.1\r\n\r\n",
    "absolute form": b"GET http://a/v1/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": b"GET /v1/x#y HTTP/1.1\r\nHost: a\r\n\r\n",
    "an empty target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a space": b"GET /v1/x HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a tab": b"GET /v1\t/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /v1/x\r\n\r\n",
    "HTTP/1.2": b"GET /v1/x HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/01.1": b"GET /v1/x HTTP/01.1\r\nHost: a\r\n\r\n",
    "http in lower case": b"GET /v1/x http/1.1\r\nHost: a\r\n\r\n",
    "an empty line first": b"\r\nGET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space first": b" GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare line feeds alone": b"GET /v1/x HTTP/1.1\nHost: a\n\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a TLS hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x5a" * 32,
    "a head over 64 KB": b"GET /v1/x HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 66_000 + b"\r\n\r\n",
    "a target over 64 KB": b"GET /" + b"y" * 66_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "257 lines": b"GET /v1/x HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 256 + b"\r\n",
    "a method of 33 letters": b"A" * 33 + b" /v1/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a WebSocket": b"GET /v1/x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n",
}

CHUNKS = {
    "a size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "a signed size": b"+3\r\nabc\r\n0\r\n\r\n",
    "a size with an underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "a space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a space after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a size over 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a size of nine digits": b"000000003\r\nabc\r\n0\r\n\r\n",
    "a size in words": b"three\r\nabc\r\n0\r\n\r\n",
    "a bare line feed after the size": b"3\nabc\r\n0\r\n\r\n",
    "a bare carriage return after the size": b"3\rabc\r\n0\r\n\r\n",
    "a line feed in an extension": b"3;x\ny\r\nabc\r\n0\r\n\r\n",
    "a NUL in an extension": b"3;x\x00\r\nabc\r\n0\r\n\r\n",
    "an endless extension": b"3;" + b"x" * 2000 + b"\r\nabc\r\n0\r\n\r\n",
    "many long extensions": (b"1;" + b"x" * 900 + b"\r\na\r\n") * 100 + b"0\r\n\r\n",
    "no line end after the data": b"3\r\nabc0\r\n\r\n",
    "a bare line feed after the data": b"3\r\nabc\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "a last chunk with data": b"3\r\nabc\r\n0\r\nabc\r\n\r\n",
    "a trailer without a colon": b"3\r\nabc\r\n0\r\nX y\r\n\r\n",
    "a folded trailer": b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
    "a bare line feed in a trailer": b"3\r\nabc\r\n0\r\nX: y\n\r\n\r\n",
    "a trailer of two kilobytes": b"3\r\nabc\r\n0\r\nX: " + b"y" * 2000 + b"\r\n\r\n",
    "endless trailers": b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 4000 + b"\r\n",
}

TAKEN = {
    "tabs around a length": (
        head(b"Content-Length:\t3 \r\n", b"abc"),
        START + b"Content-Length:\t3 \r\n\r\nabc",
    ),
    "chunks become a length": (
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
        START + b"Content-Length: 3\r\n\r\nabc",
    ),
    "chunked in capitals": (
        head(b"transfer-ENCODING:  Chunked \r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        START + b"Content-Length: 3\r\n\r\nabc",
    ),
    "a short extension is dropped": (
        CHUNKED + b"3;a=b\r\nabc\r\n0 ;c\r\n\r\n",
        START + b"Content-Length: 3\r\n\r\nabc",
    ),
    "trailers that look like framing are dropped": (
        CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n",
        START + b"Content-Length: 3\r\n\r\nabc",
    ),
    "what Connection names is dropped": (
        head(b"Connection: X-Mine\r\nX-Mine: 1\r\nx-mine: 2\r\nX-Mine2: 3\r\nContent-Length: 3\r\n", b"abc"),
        START + b"X-Mine2: 3\r\nContent-Length: 3\r\n\r\nabc",
    ),
    "an upgrade to HTTP/2 is not offered to a replica": (
        head(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 0\r\n"),
        START + b"Content-Length: 0\r\n\r\n",
    ),
    "a request within a body stays a body": (
        head(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        START + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    ),
    "256 lines": (
        b"GET /v1/x HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 255 + b"\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 255 + b"\r\n",
    ),
}


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    yield from running_process()


@pytest.fixture
async def gateway(process: Running) -> AsyncIterator[AsProcess]:
    async with linked(process) as one:
        yield one


# From clients


REFUSED = FRAMING | LINES | {f"chunks: {why}": CHUNKED + body for why, body in CHUNKS.items()}


@pytest.mark.parametrize("whole", [True, False], ids=["at once", "in pieces"])
@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused_reaches_no_replica_and_nothing_after_it_is_served(
    gateway: AsProcess, raw: bytes, whole: bool
) -> None:
    sent = raw + SMUGGLED
    middle = sent.find(b"\r\n") + 1  # between a carriage return and its line feed
    pieces = [sent] if whole else [sent[:middle], sent[middle : len(raw) - 1], sent[len(raw) - 1 :]]
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))

        said = answers(await say(gateway, *pieces, pause_s=0.0 if whole else 0.005))
        reached = one.received
        served = await still_serves(gateway)

        assert reached == b""
        assert [400 <= answered.status <= 501 for answered in said] == [True]
        assert b"\r\nConnection: close" in said[0].head
        assert (served, one.received) == (b"hello", GOOD_FORWARDED)


@pytest.mark.parametrize(("raw", "forwarded"), TAKEN.values(), ids=TAKEN.keys())
async def test_what_is_taken_is_forwarded_as_it_was_judged(gateway: AsProcess, raw: bytes, forwarded: bytes) -> None:
    async with raw_upstream() as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one.address)))

        asking.send(raw + GET)
        first, second = await asking.answer(), await asking.answer()

        assert one.requests == [forwarded, GET_FORWARDED]
        assert one.received == forwarded + GET_FORWARDED
        assert (first.body, second.body) == (b"hello", b"hello")


async def test_a_good_request_is_answered_before_the_bad_one_behind_it_is_refused(gateway: AsProcess) -> None:
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))

        good, refused = answers(await say(gateway, GET + FRAMING["a length and chunks"] + SMUGGLED))

        assert (good.body, refused.status) == (b"hello", 400)
        assert one.received == GET_FORWARDED


async def test_an_answer_of_the_gateways_own_never_opens_the_way_for_a_body(gateway: AsProcess) -> None:
    """A body that nobody waits for must not be read as the next request."""
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))
        body = SMUGGLED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        raw = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)

        (health,) = answers(await say(gateway, raw + body + GET))

        assert (health.status, one.received) == (200, b"")


# From replicas


OK = b"HTTP/1.1 200 OK\r\n"
POISON = answer(b"for somebody else")

BROKEN = {
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    "two equal lengths": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": OK + b"Content-Length: +3\r\n\r\nabc",
    "a length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": OK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a header named in Connection": OK + b"Connection: content-length\r\nContent-Length: 3\r\n\r\nabc",
    "a bare line feed": OK + b"X: y\nContent-Length: 3\r\n\r\nabc",
    "a bare carriage return": OK + b"X: y\rContent-Length: 3\r\n\r\nabc",
    "a folded header": OK + b"X: y\r\n Content-Length: 3\r\n\r\nabc",
    "a NUL": OK + b"X: \x00\r\nContent-Length: 3\r\n\r\nabc",
    "garbage": b"\x00\xff\xfe garbage\r\n\r\n",
    "a request": GET,
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n",
    "a head without end": OK + b"X: " + b"y" * 70_000,
    "a head of too many lines": OK + b"X: y\r\n" * 300 + b"Content-Length: 3\r\n\r\nabc",
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_two_could_read_differently_reaches_no_client(gateway: AsProcess, raw: bytes) -> None:
    async with raw_upstream(raw + POISON) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one.address, one.address)))  # the second attempt comes at once
        asking.post()
        first = await asking.answer()
        await gateway.route(routes(routed(service(), one.address)))  # as a new replica, which need not rest
        one.said = POISON.replace(b"somebody else", b"this request!")
        asking.post(b"again")
        second = await asking.answer()

        assert (first.status, first.code) == (502, "upstream_failed")
        assert (second.status, second.body) == (200, b"for this request!")
        assert b"somebody" not in first.head + first.body + second.head


LYING = {
    "more than its length": OK + b"Content-Length: 3\r\n\r\nabc",
    "more than its chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "more than no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "more than a 304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 17\r\n\r\n",
}


@pytest.mark.parametrize("raw", LYING.values(), ids=LYING.keys())
async def test_an_answer_behind_an_answer_is_nobodys(gateway: AsProcess, raw: bytes) -> None:
    async with raw_upstream(raw + POISON) as one, client(gateway) as asking, client(gateway) as other:
        await gateway.route(routes(routed(service(), one.address, slots=1)))
        bodiless = raw.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304"))
        for _ in range(3):
            for somebody in (asking, other):
                somebody.post()
                answered = await somebody.answer(bodiless=bodiless)

                assert answered.body == (b"" if bodiless else b"abc")

        assert len(one.links) == 6  # none of them was used again


async def test_a_body_behind_an_answer_to_head_is_nobodys(gateway: AsProcess) -> None:
    async with raw_upstream(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one.address, slots=1)))
        asking.send(b"HEAD /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
        first = await asking.answer(bodiless=True)
        one.said = answer(b"abc")
        asking.send(GET)
        second = await asking.answer()

        assert (first.status, second.body) == (200, b"abc")
        assert len(one.links) == 2


async def test_an_answer_that_nobody_asked_for_is_dropped_with_its_connection(gateway: AsProcess) -> None:
    async with raw_upstream() as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one.address, slots=1)))
        asking.send(GET)
        first = await asking.answer()
        one.links[0].transport.write(POISON)  # while the connection is kept for the next request
        await until(lambda: one.open_links == 0)
        asking.send(GET)
        second = await asking.answer()

        assert (first.body, second.body) == (b"hello", b"hello")
        assert [link.received for link in one.links] == [GET_FORWARDED, GET_FORWARDED]
