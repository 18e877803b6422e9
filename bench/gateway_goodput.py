"""How many requests get their first token in time, by who decides where they go. `python bench/gateway_goodput.py`.

A discrete simulation of engines; the arbiter is the product's own, driven through its own interface, and the peers are
the policies of common balancers. Eight engines of 32 slots compute prompts one after another at 8,000 tokens per second
and keep the 25 prefixes used last; a prompt is one of 200 prefixes of about 2,000 tokens (Zipf) and a part of its own.
Load 1 is what the eight could compute if nine of ten prefixes were kept. In the last column four engines become eight
after a sixth of the run, at 0.7 of the load of eight.

The arbiter knows nothing of an engine's memory or speed but what it granted and when first bytes came: prefixes are
links of 256 B, 1 kB, 4 kB and 16 kB, as the gateway hashes them. Goodput is the share of all requests, refused ones
included, whose first token came within two seconds of their arrival.
"""

import argparse
import statistics
import sys
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import accumulate, count
from random import Random

from figures import report

from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.arbiter import FairArbiter
from fleetctl.gateway.scheduler.ticket import Seat, Ticket
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route, Upstream

CHAT = ServiceName("chat")
ENGINES = 8
SLOTS = 32
PREFILL_TOKENS_PER_S = 8000.0
PREFIXES = 200
KEPT = 25
ZIPF = 1.0
PREFIX_TOKENS = (1500, 2500)
OWN_TOKENS = (200, 1560)
OUTPUT_TOKENS_MEAN = 120.0
SECONDS_PER_TOKEN = 0.02
PROMISE_S = 2.0
QUEUE_S = 1.25
"""What of the promise a request may wait for a slot: the rest is for the engine, half a second for prompts that were
given to it before, and a quarter for this one."""
LINKS_COVER = (64, 256, 1024, 4096)
"""Tokens that each link of a prompt's chain covers; a prompt's last link may cover tokens of its own too."""
REQUESTS = 12_000
SEEDS = 3
FIRST_SEED = 11
"""The scheduler's constants were chosen with seeds 1 to 3 in sight; those here were not looked at before."""
LOADS = (0.3, 0.5, 0.7, 0.9, 1.1)
TICK_S = 0.25
GOALS = {"0.9": 99.0, "1.1": 90.0}


@dataclass(slots=True, eq=False)
class Request:
    number: int
    at: float
    prefix: int
    prefix_tokens: int
    own_tokens: int
    output_tokens: int
    engine: "Engine | None" = None
    ticket: "Asked | None" = None
    first_s: float | None = None
    hit: bool = False


class Asked(Ticket):
    __slots__ = ("request",)

    def __init__(self, request: Request) -> None:
        super().__init__(CHAT)
        self.request = request


@dataclass(slots=True, eq=False)
class Engine:
    """One engine: at most SLOTS requests in it, the others wait before it; prompts one at a time."""

    name: str
    waiting: deque[Request] = field(default_factory=deque)
    inside: int = 0
    prompts: deque[Request] = field(default_factory=deque)
    computing: Request | None = None
    kept: OrderedDict[int, None] = field(default_factory=OrderedDict)
    assigned: int = 0
    """In it and before it."""
    backlog_tokens: float = 0.0
    """Prompts given to it and not computed; only for the peer that sheds, which is told exactly."""


class World:
    """Time, engines and requests; a policy says what happens at an arrival and when something has ended."""

    def __init__(self, engines: int) -> None:
        self.now = 0.0
        self.engines = [Engine(name=f"e{number}") for number in range(engines)]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.on_first: Callable[[Request], None] = lambda request: None
        self.on_end: Callable[[Request], None] = lambda request: None
        self.hits = 0
        self.computed = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        heappush(self._events, (when, next(self._numbers), what))

    def run(self) -> None:
        while self._events:
            self.now, _, what = heappop(self._events)
            what()

    def give(self, request: Request, engine: Engine) -> None:
        request.engine = engine
        engine.assigned += 1
        engine.backlog_tokens += self.tokens(request, engine)
        if engine.inside < SLOTS:
            self._enter(request, engine)
        else:
            engine.waiting.append(request)

    @staticmethod
    def tokens(request: Request, engine: Engine) -> int:
        return request.own_tokens + (0 if request.prefix in engine.kept else request.prefix_tokens)

    def _enter(self, request: Request, engine: Engine) -> None:
        engine.inside += 1
        engine.prompts.append(request)
        if engine.computing is None:
            self._compute(engine)

    def _compute(self, engine: Engine) -> None:
        request = engine.computing = engine.prompts.popleft()
        request.hit = request.prefix in engine.kept
        tokens = self.tokens(request, engine)
        self.hits += request.hit
        self.computed += 1
        engine.kept[request.prefix] = None
        engine.kept.move_to_end(request.prefix)
        if len(engine.kept) > KEPT:
            engine.kept.popitem(last=False)

        def computed() -> None:
            request.first_s = self.now
            engine.computing = None
            engine.backlog_tokens = max(0.0, engine.backlog_tokens - tokens)
            self.at(self.now + request.output_tokens * SECONDS_PER_TOKEN, ended)
            if engine.prompts:
                self._compute(engine)
            self.on_first(request)

        def ended() -> None:
            engine.inside -= 1
            engine.assigned -= 1
            if engine.waiting:
                self._enter(engine.waiting.popleft(), engine)
            self.on_end(request)

        self.at(self.now + tokens / PREFILL_TOKENS_PER_S, computed)


def requests_of(seed: int, load: float) -> list[Request]:
    draw = Random(seed)
    weights = list(accumulate(1 / (rank + 1) ** ZIPF for rank in range(PREFIXES)))
    lengths = [draw.randint(*PREFIX_TOKENS) for _ in range(PREFIXES)]
    mean = sum(OWN_TOKENS) / 2 + 0.1 * sum(PREFIX_TOKENS) / 2
    rate = load * ENGINES * PREFILL_TOKENS_PER_S / mean
    now = 0.0
    made = []
    for number in range(REQUESTS):
        now += draw.expovariate(rate)
        prefix = bisect_left(weights, draw.random() * weights[-1])
        made.append(
            Request(
                number=number,
                at=now,
                prefix=prefix,
                prefix_tokens=lengths[prefix],
                own_tokens=draw.randint(*OWN_TOKENS),
                output_tokens=1 + int(draw.expovariate(1 / OUTPUT_TOKENS_MEAN)),
            )
        )
    return made


Play = Callable[[World, list[Request], Random], None]
"""Sets up a policy in a world, so that running it serves the requests."""


def pushing(choose: Callable[[World, Request, Random], Engine | None]) -> Play:
    """Policies that give every request to an engine when it comes, or refuse it."""

    def play(world: World, requests: list[Request], draw: Random) -> None:
        def arrive(request: Request) -> None:
            engine = choose(world, request, draw)
            if engine is not None:
                world.give(request, engine)

        for request in requests:
            world.at(request.at, lambda request=request: arrive(request))  # type: ignore[misc]

    return play


def round_robin(world: World, request: Request, draw: Random) -> Engine:
    return world.engines[request.number % len(world.engines)]


def least_connections(world: World, request: Request, draw: Random) -> Engine:
    least = min(engine.assigned for engine in world.engines)
    return draw.choice([engine for engine in world.engines if engine.assigned == least])


def power_of_two(world: World, request: Request, draw: Random) -> Engine:
    one, other = draw.sample(world.engines, 2)
    return one if one.assigned <= other.assigned else other


_RING: list[tuple[int, int]] = []
for _engine in range(ENGINES):
    for _copy in range(64):
        insort(_RING, (int.from_bytes(blake2b(b"%d/%d" % (_engine, _copy), digest_size=8).digest(), "big"), _engine))


def bounded_hash(world: World, request: Request, draw: Random) -> Engine:
    """Consistent hashing with bounded load, c = 1.25."""
    bound = 1.25 * (1 + sum(engine.assigned for engine in world.engines)) / len(world.engines)
    key = int.from_bytes(blake2b(b"p%d" % request.prefix, digest_size=8).digest(), "big")
    place = bisect_left(_RING, (key, 0))
    for step in range(len(_RING)):
        number = _RING[(place + step) % len(_RING)][1]
        if number < len(world.engines) and world.engines[number].assigned + 1 <= bound:
            return world.engines[number]
    return least_connections(world, request, draw)


def bounded_hash_shedding(world: World, request: Request, draw: Random) -> Engine | None:
    """The same, and it refuses what would be late, knowing exactly what each engine has to compute."""
    engine = bounded_hash(world, request, draw)
    tokens = engine.backlog_tokens + world.tokens(request, engine)
    return engine if tokens <= PROMISE_S * PREFILL_TOKENS_PER_S and engine.assigned < SLOTS else None


def pulling(world: World, requests: list[Request], draw: Random) -> None:
    """One queue; an engine with a slot takes the oldest."""
    queue: deque[Request] = deque()

    def pump(_: Request | None = None) -> None:
        while queue:
            engine = least_connections(world, queue[0], draw)
            if engine.assigned >= SLOTS:
                return
            world.give(queue.popleft(), engine)

    def arrive(request: Request) -> None:
        queue.append(request)
        pump()

    world.on_end = pump
    for request in requests:
        world.at(request.at, lambda request=request: arrive(request))  # type: ignore[misc]


class Plane:
    """The arbiter's data plane in the simulation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.arbiter: FairArbiter[Asked] = FairArbiter(self)

    def granted(self, ticket: Asked) -> None:
        assert ticket.seat is not None
        self.world.give(ticket.request, self.world.engines[int(ticket.seat.replica[1:])])

    def refused(self, ticket: Asked, refusal: Refusal) -> None:
        ticket.request.ticket = None

    def probe(self, seat: Seat) -> None:
        raise AssertionError("no engine fails here")

    def starved(self, service: ServiceName) -> None:
        raise AssertionError("there are engines")


def fair(world: World, requests: list[Request], draw: Random) -> None:
    plane = Plane(world)
    configured = 0

    def configure() -> None:
        nonlocal configured
        configured = len(world.engines)
        upstreams = tuple(
            Upstream(replica=ReplicaId(engine.name), address=f"10.0.0.1:{number}", slots=SLOTS)
            for number, engine in enumerate(world.engines)
        )
        route = Route(service=CHAT, models=(), upstreams=upstreams, queue_timeout_s=QUEUE_S)
        plane.arbiter.configure((route,), world.now)

    def advance() -> None:
        if len(world.engines) != configured:
            configure()
        plane.arbiter.advance(world.now)
        if world.now < requests[-1].at + PROMISE_S:
            world.at(world.now + TICK_S, advance)

    def arrive(request: Request) -> None:
        ticket = request.ticket = Asked(request)
        ticket.streams = True
        ticket.input_tokens = request.prefix_tokens + request.own_tokens
        ticket.prefix = tuple(
            -place - 4 * request.prefix - 1 if covers <= request.prefix_tokens else request.number
            for place, covers in enumerate(LINKS_COVER)
            if covers <= ticket.input_tokens
        )
        plane.arbiter.ask(ticket, world.now)

    def first(request: Request) -> None:
        assert request.ticket is not None
        plane.arbiter.hears(request.ticket, world.now)

    def end(request: Request) -> None:
        assert request.ticket is not None
        plane.arbiter.finish(
            request.ticket,
            world.now,
            answered=True,
            input_tokens=request.prefix_tokens + request.own_tokens,
            output_tokens=request.output_tokens,
        )

    world.on_first, world.on_end = first, end
    configure()
    world.at(TICK_S, advance)
    for request in requests:
        world.at(request.at, lambda request=request: arrive(request))  # type: ignore[misc]


POLICIES: dict[str, Play] = {
    "round robin": pushing(round_robin),
    "power of two": pushing(power_of_two),
    "least connections": pushing(least_connections),
    "bounded hash": pushing(bounded_hash),
    "bounded hash, shedding": pushing(bounded_hash_shedding),
    "plain pull": pulling,
    "fleetctl": fair,
}


def played(play: Play, load: float, seed: int, *, grows: bool) -> tuple[float, float]:
    """Goodput and hits, both in percent."""
    requests = requests_of(seed, load)
    world = World(ENGINES // 2 if grows else ENGINES)
    if grows:

        def grow() -> None:
            world.engines += [Engine(name=f"e{number}") for number in range(ENGINES // 2, ENGINES)]

        world.at(requests[-1].at / 6, grow)
    play(world, requests, Random(seed))
    world.run()
    good = sum(1 for one in requests if one.first_s is not None and one.first_s - one.at <= PROMISE_S)
    return 100 * good / len(requests), 100 * world.hits / max(1, world.computed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="policies whose name contains this")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first seed; 1 to 3 were tuned on")
    chosen = parser.parse_args()
    columns = [(f"{load:g}", load, False) for load in LOADS] + [("4 to 8 at 0.7", 0.7, True)]
    print(f"{'goodput % (hits %)':>24}" + "".join(f"{name:>15}" for name, _, _ in columns), file=sys.stderr)
    found: dict[str, dict[str, float]] = {}
    for policy, play in POLICIES.items():
        if chosen.only not in policy:
            continue
        row = f"{policy:>24}"
        found[policy] = {}
        for name, load, grows in columns:
            runs = [played(play, load, seed, grows=grows) for seed in range(chosen.first, chosen.first + chosen.seeds)]
            good, hits = (statistics.mean(values) for values in zip(*runs, strict=True))
            found[policy][name] = good
            row += f"{f'{good:.1f} ({hits:.0f})':>15}"
        print(row, file=sys.stderr, flush=True)
    for name, _, _ in columns:
        peers = {policy: good[name] for policy, good in found.items() if policy != "fleetctl"}
        best = max(peers, key=lambda policy: peers[policy]) if peers else None
        ours = found.get("fleetctl", {}).get(name)
        if ours is None:
            continue
        goal = GOALS.get(name)
        share = f"goodput_at_{name.replace(' ', '_')}"
        report(share, ours, "%", at_least=goal, peer=best, peer_value=None if best is None else peers[best])


if __name__ == "__main__":
    main()
