"""What the arbiter costs per request. `python bench/gateway_scheduler.py [--profile]`.

One request is asked for, granted, heard of and finished, at two sizes: 256 replicas, 1,000 tenants and 8,000 waiting
requests, and 16, 60 and 500. Every slot is taken and the queue keeps its length: each finish grants the next. Requests
carry a prefix of three links, one of 4,000, and sizes as prompts have them. A second pair is without prefixes.
"""

import cProfile
import gc
import pstats
import random
import sys
import time
from dataclasses import dataclass

from figures import report

from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.arbiter import FairArbiter
from fleetctl.gateway.scheduler.ticket import NO_PREFIX, Band, Seat, Ticket
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Route, TenantEntry, Upstream

CHAT = ServiceName("chat")
SLOTS = 32
ROUNDS = 7
REQUESTS = 20_000
PREFIXES = 4000
GOAL_US = 10.0
SLOPE_GOAL = 2.5
"""Sixteen times the replicas and tenants and the queue: log(256)/log(16) = 2, and memory that no cache holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    replicas: int
    tenants: int
    queued: int


LARGE = Size(replicas=256, tenants=1000, queued=8000)
SMALL = Size(replicas=16, tenants=60, queued=500)


class Sink:
    """A `Bearer` that keeps what it was granted."""

    def __init__(self) -> None:
        self.granted_now: list[Ticket] = []
        self.refusals = 0

    def granted(self, ticket: Ticket) -> None:
        self.granted_now.append(ticket)

    def refused(self, ticket: Ticket, refusal: Refusal) -> None:
        self.refusals += 1

    def probe(self, seat: Seat) -> None:
        raise AssertionError("no replica fails here")

    def starved(self, service: ServiceName) -> None:
        raise AssertionError("there are replicas")


def a_request(draw: random.Random, size: Size, *, prefixes: bool) -> Ticket:
    ticket = Ticket(CHAT)
    ticket.tenant = f"tenant-{draw.randrange(size.tenants)}"
    ticket.band = Band.NORMAL if draw.random() < 0.8 else Band.LOW
    ticket.input_tokens = draw.randrange(50, 3000)
    ticket.size_bytes = 4 * ticket.input_tokens
    ticket.streams = True
    ticket.prefix = NO_PREFIX
    if prefixes:
        start = draw.randrange(PREFIXES) * 3
        ticket.prefix = (start, start + 1, start + 2)
    return ticket


def measure(size: Size, *, prefixes: bool, profile: cProfile.Profile | None) -> float:
    """CPU microseconds per request: the least of several rounds, for what else the machine does only adds to it."""
    draw = random.Random(7)
    sink = Sink()
    arbiter: FairArbiter[Ticket] = FairArbiter(sink)
    tenants = tuple(TenantEntry(name=f"tenant-{n}", weight=1.0 + n % 3) for n in range(size.tenants))
    arbiter.identify(Identity(tenants=tenants), 0.0, 1.8e9)
    upstreams = tuple(
        Upstream(replica=ReplicaId(f"r{n}"), address=f"10.0.{n >> 8}.{n & 255}:80", slots=SLOTS)
        for n in range(size.replicas)
    )
    arbiter.configure((Route(service=CHAT, models=(), upstreams=upstreams),), 0.0)
    now = 0.0
    running: list[Ticket] = []

    def ask() -> None:
        arbiter.ask(a_request(draw, size, prefixes=prefixes), now)

    while len(running) < size.replicas * SLOTS or arbiter.views(now)[0].queued < size.queued:
        for _ in range(64):
            ask()
        for ticket in sink.granted_now:
            arbiter.hears(ticket, now + 0.2)
            running.append(ticket)
        sink.granted_now.clear()
    rounds = []
    for _ in range(ROUNDS):
        requests = [a_request(draw, size, prefixes=prefixes) for _ in range(REQUESTS)]
        places = [draw.random() for _ in range(REQUESTS)]
        gc.collect()
        gc.disable()
        if profile is not None:
            profile.enable()
        began = time.process_time()
        for request, place in zip(requests, places, strict=True):
            now += 1e-5
            arbiter.ask(request, now)
            at = int(place * len(running))
            done = running[at]
            running[at] = running[-1]
            running.pop()
            arbiter.finish(done, now, answered=True, input_tokens=done.input_tokens, output_tokens=200)
            granted = sink.granted_now
            while granted:
                ticket = granted.pop()
                arbiter.hears(ticket, now)
                running.append(ticket)
        rounds.append((time.process_time() - began) / REQUESTS * 1e6)
        if profile is not None:
            profile.disable()
        gc.enable()
        arbiter.advance(now)
    view = arbiter.views(now)[0]
    assert view.queued >= size.queued * 0.9 and not sink.refusals, "the queue did not keep its length"
    assert view.running >= size.replicas * SLOTS * 0.9, "slots were left free"
    return min(rounds)


def main() -> None:
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    print(f"{'':>14} {'16 / 60 / 500':>14} {'256 / 1000 / 8000':>18} {'ratio':>6}", file=sys.stderr)
    for kind, prefixes in (("plain", False), ("prefixes", True)):
        small = measure(SMALL, prefixes=prefixes, profile=None)
        large = measure(LARGE, prefixes=prefixes, profile=profile)
        print(f"{kind:>14} {small:>11.2f} µs {large:>15.2f} µs {large / small:>6.2f}", file=sys.stderr)
        report(f"operation_{kind}_256x8000", large, "us CPU", at_most=GOAL_US)
        report(f"operation_{kind}_slope", large / small, "ratio", at_most=SLOPE_GOAL)
    if profile is not None:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
