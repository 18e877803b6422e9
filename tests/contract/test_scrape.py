"""HttpSignals against real sockets: what every kind of answer is taken for, and that no target harms another."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fleetctl.model.names import ReplicaId
from fleetctl.model.services import EngineMetrics
from fleetctl.model.signals import Reading, Target, Unknown
from fleetctl.scrape.source import LANES, HttpSignals

NOW = 1_700_000_000.0
BODY = (Path(__file__).parent.parent / "fixtures" / "vllm_metrics.txt").read_bytes()
PATIENCE_S = 40.0
"""More than any of these takes on a slow machine; a test that needs it fails."""


class StandingClock:
    """A Clock that shows one time. Nothing here asks it to sleep."""

    def now(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody should sleep for {seconds} s here")


class Connection(asyncio.Protocol):
    """One accepted connection. Its engine's behaviour is called with each request's head."""

    transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.append(self)
        self._server.idle.clear()
        self._server.dialled += 1
        self._server.most_at_once = max(self._server.most_at_once, len(self._server.connections))

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.remove(self)
        if not self._server.connections:
            self._server.idle.set()

    def data_received(self, data: bytes) -> None:
        self._read += data
        while b"\r\n\r\n" in self._read:
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            self._server.heads.append(head)
            self._server.behaviour(self)


class Server:
    """A real listening socket whose answers a test decides, down to the byte."""

    address: str

    def __init__(self, behaviour: Callable[[Connection], None]) -> None:
        self.behaviour = behaviour
        self.connections: list[Connection] = []
        self.idle = asyncio.Event()
        """No connection is open."""
        self.idle.set()
        self.dialled = 0
        self.most_at_once = 0
        self.heads: list[bytes] = []


@asynccontextmanager
async def serving(behaviour: Callable[[Connection], None]) -> AsyncIterator[Server]:
    server = Server(behaviour)
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", 0)
    server.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for connection in server.connections:
            connection.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            await server.idle.wait()
        await listening.wait_closed()


@asynccontextmanager
async def signals(**bounds: float) -> AsyncIterator[HttpSignals]:
    source = HttpSignals(StandingClock(), **bounds)  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield source
    finally:
        await source.close()


def target(address: str, *, name: str = "r", engine: str = "vllm", metrics: EngineMetrics | None = None) -> Target:
    return Target(replica=ReplicaId(name), address=address, engine=engine, metrics=metrics)


async def read_one(given: Target, **bounds: float) -> Reading | Unknown:
    async with signals(**bounds) as source:
        return (await source.read([given]))[given.replica]


def reason(result: Reading | Unknown) -> str:
    assert isinstance(result, Unknown)
    assert result.since == NOW
    return result.reason


def response(body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body


def sends(data: bytes, *, then_close: bool = False) -> Callable[[Connection], None]:
    def behave(connection: Connection) -> None:
        connection.transport.write(data)
        if then_close:
            connection.transport.close()

    return behave


def hangs(connection: Connection) -> None:
    """Never answers."""


GOOD = sends(response(BODY))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n"

READ = [
    ("a body of a known length", GOOD),
    ("a chunked body", sends(CHUNKED + b"0\r\n\r\n")),
    ("a body that ends with the connection", sends(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, then_close=True)),
]


@pytest.mark.parametrize(("why", "behaviour"), READ, ids=[row[0] for row in READ])
async def test_reads(why: str, behaviour: Callable[[Connection], None]) -> None:
    async with serving(behaviour) as server:
        result = await read_one(target(server.address))

    assert isinstance(result, Reading), why
    assert (result.at, result.running, result.waiting, result.input_tokens) == (NOW, 2.0, 14.0, 685.0), why
    assert server.heads[0].startswith(b"GET /metrics HTTP/1.1\r\n")
    assert b"gzip" not in server.heads[0]


UNKNOWN = [
    ("never answers", hangs, "no answer from ADDRESS within 0.3 s"),
    ("stops after the head", sends(response(b"", length=9)), "no answer from ADDRESS within 0.3 s"),
    ("stops within the body", sends(response(BODY[:-9], length=len(BODY))), "no answer from ADDRESS within 0.3 s"),
    ("hangs up at once", sends(b"", then_close=True), "cannot read ADDRESS"),
    ("does not speak HTTP", sends(b"SSH-2.0-OpenSSH_9.2\r\n", then_close=True), "cannot read ADDRESS"),
    (
        "hangs up within a body of a known length",
        sends(response(BODY[:-9], length=len(BODY)), then_close=True),
        "partial: ADDRESS broke off",
    ),
    ("hangs up before the last chunk", sends(CHUNKED, then_close=True), "partial: ADDRESS broke off"),
    (
        "hangs up within a body of no known length",
        sends(b"HTTP/1.0 200 OK\r\n\r\n" + BODY[:-9], then_close=True),
        "partial: the exposition stops",
    ),
    ("an empty body", sends(response(b"")), "empty"),
    ("a body of something else", sends(response(b"<html></html>\n")), "missing"),
    ("a malformed sample", sends(response(b"vllm:num_requests_running NaN\n")), "malformed"),
    ("a body said to be huge", sends(response(b"", length=10**12)), "malformed: ADDRESS/metrics has more than 100000"),
    (
        "a huge body of no known length",
        sends(b"HTTP/1.0 200 OK\r\n\r\n" + BODY * 3, then_close=True),
        "malformed: ADDRESS/metrics has more than 100000",
    ),
    ("a head without end", sends(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**6, then_close=True), "cannot read ADDRESS"),
    ("an error", sends(response(BODY, status="500 Oops")), "HTTP 500 from ADDRESS/metrics"),
    ("still loading", sends(response(b"{}", status="503 Loading")), "HTTP 503 from ADDRESS/metrics"),
    ("not there", sends(response(b"", status="404 Not Found")), "HTTP 404 from ADDRESS/metrics"),
    ("no content", sends(response(b"", status="204 No Content")), "HTTP 204 from ADDRESS/metrics"),
    (
        "compressed though we take only plain text",
        sends(response(gzip.compress(BODY), headers="Content-Encoding: gzip\r\n")),
        "malformed: ADDRESS/metrics is encoded as gzip",
    ),
]


@pytest.mark.parametrize(("why", "behaviour", "wanted"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
async def test_is_unknown(why: str, behaviour: Callable[[Connection], None], wanted: str) -> None:
    async with serving(behaviour) as server:
        result = await read_one(target(server.address), timeout_s=0.3, body_limit_bytes=100_000)

    assert reason(result).startswith(wanted.replace("ADDRESS", server.address)), why


async def test_nobody_listening_is_unknown() -> None:
    async with serving(GOOD) as server:
        address = server.address

    assert reason(await read_one(target(address))).startswith(f"cannot read {address}: ")


@pytest.mark.parametrize(
    "address", ["", ":", "no port", "127.0.0.1:99999", "[::1", "a" * 300 + ":1", "127.0.0.1:1/x?#"]
)
async def test_an_address_that_is_none_is_unknown(address: str) -> None:
    assert reason(await read_one(target(address))).startswith(f"cannot read {address}: ")


async def test_a_redirect_is_not_followed() -> None:
    async with (
        serving(GOOD) as elsewhere,
        serving(
            sends(response(b"", status="302 Found", headers=f"Location: http://{elsewhere.address}/\r\n"))
        ) as server,
    ):
        result = await read_one(target(server.address))

    assert reason(result) == f"HTTP 302 from {server.address}/metrics"
    assert elsewhere.dialled == 0


async def test_a_generic_engine_is_read_by_the_names_it_is_given() -> None:
    async with serving(sends(response(b"busy 3\nqueued 4\n"))) as server:
        both = await read_one(
            target(server.address, engine="generic", metrics=EngineMetrics(running="busy", waiting="queued"))
        )
        one = await read_one(target(server.address, engine="generic", metrics=EngineMetrics(running="busy")))
        none = await read_one(target(server.address, engine="generic"))
        unheard = await read_one(target(server.address, engine="vlm"))

    assert both == Reading(at=NOW, running=3.0, waiting=4.0)
    assert one == Reading(at=NOW, running=3.0, waiting=0.0)
    assert reason(none) == "engine generic has no metric names of its own"
    assert reason(unheard) == "no engine is named 'vlm'"


async def test_no_targets_no_readings() -> None:
    async with signals() as source:
        assert await source.read([]) == {}


async def test_connections_are_kept_between_reads() -> None:
    async with serving(GOOD) as server, signals() as source:
        for _ in range(3):
            assert isinstance((await source.read([target(server.address)]))[ReplicaId("r")], Reading)

        assert (server.dialled, len(server.heads)) == (1, 3)


async def test_a_connection_the_engine_closed_meanwhile_is_dialled_again() -> None:
    async with serving(GOOD) as server, signals() as source:
        await source.read([target(server.address)])
        server.connections[0].transport.abort()
        again = await source.read([target(server.address)])

    assert isinstance(again[ReplicaId("r")], Reading)
    assert server.dialled == 2


async def test_a_connection_the_engine_closes_at_the_next_request_is_dialled_again() -> None:
    def once_each(connection: Connection) -> None:
        if server.dialled == 1 and len(server.heads) == 2:
            connection.transport.abort()
        else:
            GOOD(connection)

    async with serving(once_each) as server, signals() as source:
        await source.read([target(server.address)])
        again = await source.read([target(server.address)])

    assert isinstance(again[ReplicaId("r")], Reading)
    assert server.dialled == 2


def many(address: str, name: str, count: int) -> Sequence[Target]:
    return [target(address, name=f"{name}-{number}") for number in range(count)]


async def test_many_are_read_at_once_but_never_more_than_the_lanes() -> None:
    async with serving(GOOD) as server, signals(timeout_s=PATIENCE_S, sweep_timeout_s=PATIENCE_S) as source:
        results = await source.read(many(server.address, "good", 5 * LANES))

        assert len(results) == 5 * LANES
        assert all(isinstance(result, Reading) for result in results.values())
        assert 1 < server.most_at_once <= LANES


async def test_engines_that_hang_do_not_spoil_the_others() -> None:
    async with (
        serving(hangs) as hanging,
        serving(GOOD) as good,
        signals(timeout_s=1.0, sweep_timeout_s=PATIENCE_S) as source,
    ):
        targets = [*many(hanging.address, "hanging", LANES + 1), *many(good.address, "good", LANES)]
        results = await source.read(targets)

        assert {name for name, result in results.items() if isinstance(result, Reading)} == {
            given.replica for given in targets if given.replica.startswith("good")
        }
        assert len(results) == len(targets)
        assert hanging.most_at_once <= LANES


async def test_who_was_not_reached_in_time_comes_first_next_time() -> None:
    bounds = {"timeout_s": 5.0, "sweep_timeout_s": 0.8}
    async with serving(hangs) as hanging, serving(GOOD) as good, signals(**bounds) as source:
        targets = [*many(hanging.address, "hanging", LANES), target(good.address, name="good")]
        first = await source.read(targets)
        second = await source.read(targets)

    assert reason(first[ReplicaId("good")]) == "not reached within 0.8 s"
    assert isinstance(second[ReplicaId("good")], Reading)
    assert isinstance(second[ReplicaId("hanging-0")], Unknown)


async def test_a_closed_source_can_be_closed_again() -> None:
    source = HttpSignals(StandingClock())

    await source.close()
    await source.close()


DCGM = b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 80\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 40\n'


async def test_latencies_and_gpus_are_read_where_they_are_wanted_and_an_exporter_spoils_nothing() -> None:
    async with serving(GOOD) as server, serving(sends(response(DCGM))) as exporter, serving(hangs) as silent:
        plain = target(server.address)
        ports = [int(one.address.rpartition(":")[2]) for one in (exporter, silent)]
        wanted = replace(plain, latencies=True, gpus=(1,), gpu_metrics_port=ports[0])

        nothing = await read_one(plain)
        found = await read_one(wanted)
        unknown = await read_one(replace(wanted, gpu_metrics_port=ports[1]), timeout_s=0.3)
        own = await read_one(replace(wanted, gpu_metrics_port=None))

    assert isinstance(nothing, Reading)
    assert (nothing.ttft, nothing.end_to_end, nothing.gpu_utilization) == (None, None, None)
    assert isinstance(found, Reading)
    assert found.ttft is not None
    assert found.end_to_end is not None
    assert found.gpu_utilization == 0.4
    assert isinstance(unknown, Reading), "the load is known all the same"
    assert (unknown.running, unknown.gpu_utilization) == (found.running, None)
    assert isinstance(own, Reading)
    assert own.gpu_utilization is None, "vLLM does not tell"
