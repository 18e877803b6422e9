"""What several processes cost: the arbiter behind a socket against the one in the same process, and small JSON through
one, two and three workers, for each CPU-second of all processes together. `python bench/gateway_workers.py [--quick]`.
"""

import asyncio
import os
import signal
import socket
import statistics
import sys
import time
from contextlib import suppress

from figures import report
from gateway.candidates import Launch, Setting
from gateway.ours import Fleetctl
from gateway.samples import Work, broken, middle, ratio, rotated
from gateway.tables import asked, table
from gateway.world import side_by_side

from fleetctl.gateway.arbitration import Arbiter
from fleetctl.gateway.loops import run_loop, settle_garbage
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.arbiter import FairArbiter
from fleetctl.gateway.scheduler.ticket import Seat, Ticket
from fleetctl.gateway.workers.hosting import ArbiterHost
from fleetctl.gateway.workers.links import Link
from fleetctl.gateway.workers.messages import Down, Hello, Up
from fleetctl.gateway.workers.remote import RemoteArbiter
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route, Routes, Upstream

CHAT = ServiceName("chat")
REPLICAS, SLOTS = 64, 64
PREFIXES = [(number, number << 8, number << 16, number << 24) for number in range(1, 101)]
REQUESTS, QUICK_REQUESTS = 60_000, 15_000
CONCURRENT = (1, 32, 256)
ADDED_GOAL_US = 5.0
WORKERS = (1, 2, 3)
ROUNDS, SECONDS = 7, 1.0
QUICK_ROUNDS, QUICK_SECONDS = 3, 0.7


def routes() -> tuple[Route, ...]:
    upstreams = tuple(
        Upstream(replica=ReplicaId(f"r{number}"), address=f"10.0.0.{number}:8000", slots=SLOTS)
        for number in range(REPLICAS)
    )
    return (Route(service=CHAT, models=("org/chat",), upstreams=upstreams),)


class Carrier:
    """Keeps so many requests running: each is answered in the turn after its grant, and another one is asked for."""

    def __init__(self, requests: int) -> None:
        self.arbiter: Arbiter[Ticket]
        self.left = requests
        self.over = asyncio.get_running_loop().create_future()
        self._granted: list[Ticket] = []
        self._running = 0

    def granted(self, ticket: Ticket) -> None:
        if not self._granted:
            asyncio.get_running_loop().call_soon(self._answer)
        self._granted.append(ticket)

    def refused(self, ticket: Ticket, refusal: Refusal) -> None:
        self.over.set_exception(RuntimeError(f"refused: {refusal.code}"))

    def probe(self, seat: Seat) -> None:
        raise AssertionError("no replica fails here")

    def starved(self, service: ServiceName) -> None:
        raise AssertionError("there are replicas")

    def ask(self) -> None:
        self.left -= 1
        self._running += 1
        ticket = Ticket(CHAT)
        ticket.prefix = PREFIXES[self.left % len(PREFIXES)]
        ticket.input_tokens, ticket.size_bytes = 512, 2048
        self.arbiter.ask(ticket, time.monotonic())

    def _answer(self) -> None:
        granted, self._granted = self._granted, []
        for ticket in granted:
            now = time.monotonic()
            self.arbiter.hears(ticket, now)
            self.arbiter.finish(ticket, now, answered=True, input_tokens=512, output_tokens=128)
            self._running -= 1
            if self.left:
                self.ask()
        if not self._running and not self.over.done():
            self.over.set_result(None)


async def local(requests: int, concurrent: int) -> float:
    """CPU µs for each request."""
    carrier = Carrier(requests)
    arbiter: FairArbiter[Ticket] = FairArbiter(carrier)
    arbiter.configure(routes(), time.monotonic())
    carrier.arbiter = arbiter
    settle_garbage()
    before = time.process_time()
    for _ in range(concurrent):
        carrier.ask()
    await carrier.over
    return (time.process_time() - before) / requests * 1e6


async def remote(requests: int, concurrent: int, sock: socket.socket, scheduler: int) -> tuple[float, float]:
    """CPU µs for each request, of the worker and of the scheduler."""
    loop = asyncio.get_running_loop()
    carrier = Carrier(requests)
    arbiter: RemoteArbiter[Ticket] = RemoteArbiter(carrier, lambda _: None)
    carrier.arbiter = arbiter
    link: Link[Down] = Link(Down, loop=loop, takes=arbiter.takes, lost=lambda _: None)
    await loop.create_unix_connection(lambda: link, sock=sock)
    arbiter.linked_by(link, Hello(1, os.getpid()))
    await asyncio.sleep(0.2)  # the other process has begun by then
    settle_garbage()
    before, scheduler_before = time.process_time(), cpu_s(scheduler)
    for _ in range(concurrent):
        carrier.ask()
    await carrier.over
    spent = time.process_time() - before, cpu_s(scheduler) - scheduler_before
    link.close()
    return spent[0] / requests * 1e6, spent[1] / requests * 1e6


async def schedule(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    host = ArbiterHost(expected=1, starved=lambda _: None, cut=lambda *_: None)
    host.configure(Routes(fence=1, routes=routes()))
    side = host.join(1)

    def lost(why: Exception | None) -> None:
        side.lost(why)
        over.set_result(None)

    link: Link[Up] = Link(Up, loop=loop, takes=side.takes, lost=lost)
    side.linked_by(link)
    await loop.create_unix_connection(lambda: link, sock=sock)
    settle_garbage()
    await over


def cpu_s(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)  # the kernel's CPU-time clock of a process: clock_getcpuclockid(3)


def over_a_socket(requests: int, concurrent: int) -> tuple[float, float]:
    mine, its = socket.socketpair()
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            mine.close()
            run_loop(lambda: schedule(its))
        os._exit(0)
    its.close()
    try:
        return run_loop(lambda: remote(requests, concurrent, mine, pid))
    finally:
        mine.close()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def arbiters(requests: int, rounds: int) -> None:
    print("CPU µs for each request: asked, granted, heard, finished", file=sys.stderr)
    print(f"{'at once':>8}{'local':>8}{'remote':>8}{'worker':>8}{'scheduler':>11}{'added':>8}", file=sys.stderr)
    for concurrent in CONCURRENT:
        here: list[float] = []
        there: list[tuple[float, float]] = []
        count = requests // 4 if concurrent == 1 else requests
        for _ in range(rounds):
            here.append(run_loop(lambda n=count, c=concurrent: local(n, c)))  # type: ignore[misc]
            there.append(over_a_socket(count, concurrent))
        own = statistics.median(here)
        worker, scheduler = (statistics.median(one[at] for one in there) for at in (0, 1))
        added = statistics.median(sum(far) - near for near, far in zip(here, there, strict=True))
        print(
            f"{concurrent:8}{own:8.2f}{worker + scheduler:8.2f}{worker:8.2f}{scheduler:11.2f}{added:8.2f}",
            file=sys.stderr,
        )
        goal = ADDED_GOAL_US if concurrent > 1 else None  # one at a time: each message is a system call of its own
        report(f"arbiter_added_{concurrent}", added, "us", at_most=goal, peer="local", peer_value=own)


class Workers(Fleetctl):
    """The gateway with so many workers, all on the candidate's core: what counts is CPU time, not how it overlaps."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self._workers = workers
        self.name = f"{workers} worker{'s' if workers > 1 else ''}"

    def launch(self, setting: Setting) -> Launch:
        one = super().launch(setting)
        return Launch(command=(*one.command, "--workers", str(self._workers)), env=one.env, cwd=one.cwd)


def throughput(rounds: int, seconds: float, seed: int) -> None:
    works = [Work(mode="http", count=count, seconds=seconds) for count in (32, 256)]
    candidates = [Workers(count) for count in WORKERS]
    with side_by_side(candidates) as world:
        found = rotated(world, works, rounds=rounds, seed=seed)
        names = [one.name for one in world.running]
    for work in works:
        table(found, names, work, f"small JSON, {work.count} connections: requests per CPU-second of all processes")
        for name in names:
            if broken(found[name, work.name]):
                continue
            report(
                f"{work.name}_per_core: {name}",
                middle(found[name, work.name], "per_core"),
                "1/s",
                peer=names[0],
                peer_value=middle(found[names[0], work.name], "per_core"),
            )
            to_one = ratio(found, name, names[0], work)
            if to_one is not None:
                report(f"{work.name}_to_one_worker: {name}", to_one, "of 1 worker's")


def main() -> None:
    given = asked(__doc__.splitlines()[0])
    arbiters(QUICK_REQUESTS if given.quick else REQUESTS, 3 if given.quick else 5)
    if given.quick:
        throughput(QUICK_ROUNDS, QUICK_SECONDS, given.seed)
    else:
        throughput(ROUNDS, SECONDS, given.seed)


if __name__ == "__main__":
    main()
