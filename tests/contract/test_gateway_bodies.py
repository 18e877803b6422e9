"""Large bodies, bodies in a million pieces, bodies of nobody we know, and clients that speak HTTP/1.0."""

from collections.abc import AsyncIterator, Iterator

import pytest
from gateway_world import AsProcess, answer, ask, in_process, routed, routes, service, until
from raw_sockets import Running, answers, dial, linked, raw_upstream, running_process, say, still_serves

from fleetctl.gateway.limits import BODY_LIMIT_BYTES, HELD_LIMIT_BYTES
from fleetctl.model.routes import Identity

POST = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    yield from running_process()


@pytest.fixture
async def gateway(process: Running) -> AsyncIterator[AsProcess]:
    async with linked(process) as one:
        yield one


# Large bodies


async def test_the_largest_body_passes_unchanged_and_one_byte_more_does_not(gateway: AsProcess) -> None:
    pattern = bytes(range(256)) * 4096
    largest = pattern * (BODY_LIMIT_BYTES // len(pattern))
    chunk = b"%x\r\n%b\r\n" % (len(pattern), pattern)
    in_chunks = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * (BODY_LIMIT_BYTES // len(pattern))
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))

        taken = (await ask(gateway, largest)).status, (await ask(gateway, b"x")).status
        (counted,) = answers(await say(gateway, POST + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT_BYTES + 1)))
        expected = POST + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (BODY_LIMIT_BYTES + 1)
        (not_continued,) = answers(await say(gateway, expected))
        (chunked,) = answers(await say(gateway, in_chunks, b"1\r\nx\r\n0\r\n\r\n"))

        assert taken == (200, 200)
        assert one.requests[0].partition(b"\r\n\r\n")[2] == largest
        assert [said.status for said in (counted, not_continued, chunked)] == [413] * 3
        assert len(one.requests) == 2


async def test_a_body_in_a_million_chunks_takes_no_more_memory_than_it_counts(
    gateway: AsProcess, process: Running
) -> None:
    chunks, rounds = 50_000, 20
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))
        await still_serves(gateway)
        before = process.memory_bytes
        async with dial(gateway) as (reader, writer):
            writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(rounds):
                writer.write(b"2\r\nab\r\n" * chunks)
                await writer.drain()
            await until(lambda: writer.transport.get_write_buffer_size() == 0)
            metrics = ""
            while f"held_bytes {2 * chunks * rounds}\n" not in metrics:  # all of it has been read
                metrics = await gateway.metrics()
            grown = process.memory_bytes - before
            writer.write(b"0\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 200")
        assert one.requests[1].endswith(b"ab" * (chunks * rounds))
    assert grown < 16 * 2**20
    assert HELD_LIMIT_BYTES >= 16 * 2**20


async def test_a_body_of_nobody_we_know_is_not_even_read() -> None:
    """Else whoever has no key could fill what the gateway may hold, and everybody else would be refused."""
    head = POST + b"Content-Length: %d\r\n" % BODY_LIMIT_BYTES
    async with in_process(identity=Identity(required=True)) as gateway, raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))

        expecting = answers(await say(gateway, head + b"Expect: 100-continue\r\n\r\n", within_s=2))
        sending = answers(await say(gateway, head + b"\r\n" + b"x" * 1000, within_s=2))

        assert [said.status for said in expecting] == [said.status for said in sending] == [401]
        assert gateway.plane.held_bytes == 0


# Old clients


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"GET /v1/x HTTP/1.0\r\n\r\n", b""),
        (b"GET /v1/x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", b""),
        (b"POST /v1/x HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", b"abc"),
    ],
    ids=["bare", "that would be kept", "with a body"],
)
async def test_an_http_1_0_client_is_answered_and_closed(gateway: AsProcess, raw: bytes, body: bytes) -> None:
    async with raw_upstream(answer(b"abc")) as one:
        await gateway.route(routes(routed(service(), one.address)))

        (said,) = answers(await say(gateway, raw))

        assert (said.status, said.body) == (200, b"abc")
        assert b"Connection: close" in said.head
        assert one.received.startswith(raw.split(b"1.0")[0] + b"1.1\r\n")
        assert one.received.endswith(b"\r\n\r\n" + body)
