"""CPU to scrape and read 1,000 engines, against prometheus_client's parser alone on the same body.

Each target is a loopback HTTP server with a port of its own that serves a captured vLLM exposition; all live in one
other process, whose CPU time is not counted. Run: python bench/loop_scrape.py
"""

import asyncio
import gc
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from figures import report
from prometheus_client.parser import text_string_to_metric_families

from fleetctl.engines import engine
from fleetctl.model.names import ReplicaId
from fleetctl.model.signals import Reading, Target
from fleetctl.scrape.exposition import read_load
from fleetctl.scrape.source import HttpSignals

TARGETS = 1000
"""What the goal is stated for."""
ROUNDS = 7
"""Enough for a median on a noisy machine, a few seconds in all."""
PEER_ROUNDS = 20
"""Of one body each, some 5 ms apiece."""
PARSE_ROUNDS = 2000
"""Of one body each, some 20 µs apiece."""
TIME_LIMIT_S = 60.0
"""For all of it; it takes about five seconds."""
FILES_NEEDED = 2 * TARGETS + 256
"""A listening and an accepted socket for each target."""
RATIO_GOAL = 20.0

BODY = Path(__file__).parent.parent / "tests" / "fixtures" / "vllm_metrics.txt"


class WallClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Server(asyncio.Protocol):
    """Answers every request head with the same response and keeps the connection, unless asked to close it."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while b"\r\n\r\n" in self._read:
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            self._transport.write(self._response)
            if b"connection: close" in head.lower():
                self._transport.close()


def raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_NEEDED if hard == resource.RLIM_INFINITY else min(FILES_NEEDED, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def serve(ports: Connection, body: bytes) -> None:
    """Serve until ended by the parent process, or for TIME_LIMIT_S."""
    raise_file_limit()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    response = head.encode() + body

    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda: Server(response), "127.0.0.1", 0) for _ in range(TARGETS)]
        ports.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.sleep(TIME_LIMIT_S)

    asyncio.run(run())


def cpu_ms(work: Callable[[], object], times: int) -> list[float]:
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append((time.process_time() - began) * 1e3)
    return spent


async def scrape(ports: list[int]) -> tuple[float, list[float], float]:
    """CPU ms for each target: of the first round, which dials everyone; of the others; and their wall time in ms."""
    targets = [
        Target(replica=ReplicaId(f"r-{place}"), address=f"127.0.0.1:{port}", engine="vllm")
        for place, port in enumerate(ports)
    ]
    import aiohttp  # noqa: F401  (HttpSignals imports it at its first read, which is not what is measured)

    signals = HttpSignals(WallClock())
    spent, walls = [], []
    try:
        for _ in range(ROUNDS + 1):
            gc.collect()
            began, began_wall = time.process_time(), time.perf_counter()
            results = await signals.read(targets)
            spent.append((time.process_time() - began) * 1e3 / TARGETS)
            walls.append((time.perf_counter() - began_wall) * 1e3)
            wrong = [
                result
                for result in results.values()
                if not isinstance(result, Reading) or (result.running, result.waiting) != (2.0, 14.0)
            ]
            if wrong or len(results) != TARGETS:
                sys.exit(f"{len(wrong)} of {TARGETS} targets were read wrongly, the first: {wrong[:1]}")
    finally:
        await signals.close()
    return spent[0], spent[1:], statistics.median(walls[1:])


async def measured(ports: list[int]) -> tuple[float, list[float], float]:
    async with asyncio.timeout(TIME_LIMIT_S):
        return await scrape(ports)


def main() -> None:
    raise_file_limit()
    body = BODY.read_bytes()
    text, loads = body.decode(), engine("vllm").loads
    # The peer's best against our median: a bad moment of the machine must not flatter us.
    peer_ms = min(cpu_ms(lambda: list(text_string_to_metric_families(text)), PEER_ROUNDS))
    parse_ms = cpu_ms(lambda: [read_load(body, loads, now=0.0) for _ in range(PARSE_ROUNDS)], 1)[0] / PARSE_ROUNDS
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    server = context.Process(target=serve, args=(child, body), daemon=True)
    server.start()
    try:
        if not parent.poll(TIME_LIMIT_S):
            sys.exit("the servers did not start")
        cold_ms, warm_ms, wall_ms = asyncio.run(measured(parent.recv()))
    finally:
        server.terminate()
        server.join()
    print(f"{TARGETS} targets, {len(body)} bytes each; a round takes {wall_ms:.0f} ms", file=sys.stderr)
    print(f"{'measure':28} {'CPU each':>11} {'parser alone':>13} {'ratio':>9}", file=sys.stderr)
    say("scrape_parse_1000", statistics.median(warm_ms), peer_ms)
    say("scrape_parse_1000_first", cold_ms, peer_ms)
    say("parse_only", parse_ms, peer_ms)


def say(measure: str, value_ms: float, peer_ms: float) -> None:
    ratio = peer_ms / value_ms
    print(f"{measure:28} {value_ms:8.4f} ms {peer_ms:10.4f} ms {ratio:8.1f}x", file=sys.stderr)
    parser = "prometheus_client parser alone"
    report(measure, value_ms, "CPU ms each", peer=parser, peer_value=peer_ms)
    report(f"{measure}_faster", ratio, f"x {parser}", at_least=RATIO_GOAL)


if __name__ == "__main__":
    main()
