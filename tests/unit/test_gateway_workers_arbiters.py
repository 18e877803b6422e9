"""One arbiter for many workers, over real sockets: slots are never split, never lost, never given twice."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from fleetctl.gateway.measures import PlaneMeasures
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Band, Fault, Phase, Seat, Ticket
from fleetctl.gateway.workers.hosting import ArbiterHost
from fleetctl.gateway.workers.links import Link
from fleetctl.gateway.workers.messages import BadFrame, Down, Finish, Hears, Hello, Identified, Named, Report, Up
from fleetctl.gateway.workers.remote import RemoteArbiter
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Route, Routes, Upstream

CHAT = ServiceName("chat")
WITHIN_S = 30.0


def routes(*slots: int, limit: int = 100) -> Routes:
    upstreams = tuple(
        Upstream(replica=ReplicaId(f"r{number}"), address=f"127.0.0.1:{number + 1}", slots=count)
        for number, count in enumerate(slots)
    )
    return Routes(fence=1, routes=(Route(service=CHAT, models=(), upstreams=upstreams, queue_limit=limit, shed=False),))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110  what is watched has no event
            await asyncio.sleep(0)


class Carrier:
    """A worker without HTTP: the Tickets it has, and what it was told."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.arbiter: RemoteArbiter[Ticket] = RemoteArbiter(self, self.configured)
        self.link: Link[Down] | None = None
        self.given: list[Ticket] = []
        self.refusals: list[tuple[Ticket, Refusal]] = []
        self.probes: list[Seat] = []
        self.told: list[Named | Identified] = []

    def granted(self, ticket: Ticket) -> None:
        self.given.append(ticket)

    def refused(self, ticket: Ticket, refusal: Refusal) -> None:
        self.refusals.append((ticket, refusal))

    def probe(self, seat: Seat) -> None:
        self.probes.append(seat)

    def starved(self, service: ServiceName) -> None:
        raise AssertionError("only the scheduler can say so")

    def configured(self, one: Named | Identified) -> None:
        self.told.append(one)

    def ask(self, band: Band = Band.NORMAL) -> Ticket:
        ticket = Ticket(CHAT)
        ticket.band = band
        self.arbiter.ask(ticket, 0.0)
        return ticket

    def answer_probes(self, *, well: bool) -> None:
        while self.probes:
            self.arbiter.probed(self.probes.pop(), 0.0, well=well)

    def running(self) -> list[Ticket]:
        return [one for one in dict.fromkeys(self.given) if one.phase is Phase.RUNNING]


class Gateway:
    """A scheduler and its workers in one loop, over socket pairs."""

    def __init__(self, carriers: int) -> None:
        self.carriers = [Carrier(number + 1) for number in range(carriers)]
        self.starved: list[ServiceName] = []
        self.cuts: list[tuple[int, Exception]] = []
        self.config: Routes | None = None
        self.now = 0.0
        self.host = self.new_host(expected=0)

    def new_host(self, expected: int) -> ArbiterHost:
        return ArbiterHost(
            expected=expected,
            starved=self.starved.append,
            cut=lambda *why: self.cuts.append(why),
            now=lambda: self.now,
        )

    async def start(self, config: Routes | None = None, expected: int | None = None) -> None:
        """A scheduler, joined by all workers."""
        self.config = config or self.config
        self.host = self.new_host(len(self.carriers) if expected is None else expected)
        if self.config is not None:
            self.host.configure(self.config)
        for carrier in self.carriers:
            await self.join(carrier)

    async def join(self, carrier: Carrier) -> None:
        await self.greet(carrier, await self.introduce(carrier))

    async def introduce(self, carrier: Carrier) -> socket.socket:
        """The scheduler knows that it is there, and has heard nothing of it. Its end of the link."""
        loop = asyncio.get_running_loop()
        mine, its = socket.socketpair()
        side = self.host.join(carrier.number)
        up: Link[Up] = Link(Up, loop=loop, takes=side.takes, lost=side.lost)
        side.linked_by(up)
        await loop.create_unix_connection(lambda: up, sock=mine)
        return its

    async def greet(self, carrier: Carrier, its: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def lost(_: Exception | None) -> None:
            if carrier.link is down:
                carrier.link = None
                carrier.arbiter.unlinked()

        down: Link[Down] = Link(Down, loop=loop, takes=carrier.arbiter.takes, lost=lost)
        await loop.create_unix_connection(lambda: down, sock=its)
        carrier.link = down
        carrier.arbiter.linked_by(down, Hello(carrier.number, 1000 + carrier.number))

    async def kill(self, carrier: Carrier) -> None:
        """As `kill -9`: its Tickets are nobody's, its socket closes."""
        link = carrier.link
        assert link is not None
        carrier.link = None
        link.close()
        await until(lambda: all(one.number != carrier.number for one in self.host.workers))

    async def kill_scheduler(self) -> None:
        self.host.close()
        await until(lambda: all(not one.arbiter.linked for one in self.carriers))

    async def settle(self) -> None:
        """Until nothing is said any more: each side has answered what the other said."""
        for _ in range(12):
            await asyncio.sleep(0)

    def in_flight(self) -> dict[str, int]:
        (view,) = self.host.arbiter.views(0.0)
        return {replica: count for replica, count in view.in_flight if count}


@asynccontextmanager
async def gateway(carriers: int, *slots: int, limit: int = 100) -> AsyncIterator[Gateway]:
    made = Gateway(carriers)
    await made.start(routes(*slots, limit=limit))
    await until(lambda: made.host.ready)
    try:
        yield made
    finally:
        made.host.close()
        for carrier in made.carriers:
            if carrier.link is not None:
                carrier.link.close()
        await made.settle()


async def test_a_slot_that_one_worker_frees_is_the_others() -> None:
    async with gateway(2, 1) as world:
        one, other = world.carriers
        first = one.ask()
        await until(lambda: first.phase is Phase.RUNNING)
        second = other.ask()
        await until(lambda: world.host.arbiter.views(0.0)[0].queued == 1)
        assert second.phase is Phase.QUEUED
        assert first.seat is not None

        one.arbiter.hears(first, 0.0)
        one.arbiter.finish(first, 0.0, answered=True, input_tokens=5, output_tokens=7)

        await until(lambda: second.phase is Phase.RUNNING)
        assert first.phase is Phase.ANSWERED
        assert first.seat is None
        assert second.seat is not None
        assert (second.seat.replica, second.seat.address) == ("r0", "127.0.0.1:1")
        assert world.in_flight() == {"r0": 1}


async def test_what_a_dead_worker_said_and_is_read_after_its_successor_has_come_takes_no_slot() -> None:
    async with gateway(1, 1) as world:
        (dead,) = world.carriers
        lost = dead.ask()
        successor = Carrier(1)
        world.carriers.append(successor)

        await world.join(successor)
        asked = successor.ask()
        await until(lambda: asked.phase is Phase.RUNNING)
        await world.settle()

        assert lost.phase is not Phase.RUNNING
        assert (world.host.arbiter.views(0.0)[0].arrived, world.in_flight()) == (1, {"r0": 1})


async def test_what_begins_and_ends_in_one_turn_is_said_once() -> None:
    async with gateway(1, 2) as world:
        (carrier,) = world.carriers
        short, long = carrier.ask(), carrier.ask()
        await until(lambda: len(carrier.running()) == 2)
        assert carrier.link is not None

        carrier.arbiter.hears(short, 0.0)
        carrier.arbiter.finish(short, 0.0, answered=True, input_tokens=5, output_tokens=7)
        assert carrier.link.newest() == Finish(short.number, True, 5, 7, True)
        carrier.arbiter.hears(long, 0.0)
        await until(lambda: world.in_flight() == {"r0": 1})
        carrier.arbiter.finish(long, 0.0, answered=True, input_tokens=5, output_tokens=7)
        assert carrier.link.newest() == Finish(long.number, True, 5, 7, False)

        await until(lambda: world.in_flight() == {})
        assert world.host.arbiter.views(0.0)[0].answered == 2


async def test_what_is_said_before_the_link_stands_is_not_lost() -> None:
    loop = asyncio.get_running_loop()
    mine, its = socket.socketpair()
    heard: list[Up] = []
    link: Link[Down] = Link(Down, loop=loop, takes=lambda _: None, lost=lambda _: None)
    link.say(Hears(1))
    await asyncio.sleep(0)
    link.say(Hears(2))
    other: Link[Up] = Link(Up, loop=loop, takes=heard.extend, lost=lambda _: None)
    await loop.create_unix_connection(lambda: other, sock=its)

    await loop.create_unix_connection(lambda: link, sock=mine)

    await until(lambda: heard == [Hears(1), Hears(2)])
    link.close()
    other.close()
    await asyncio.sleep(0)


async def test_bands_and_refusals_go_through() -> None:
    async with gateway(2, 1, limit=1) as world:
        one, other = world.carriers
        running = one.ask()
        await until(lambda: running.phase is Phase.RUNNING)
        low = one.ask(Band.LOW)
        await until(lambda: world.host.arbiter.views(0.0)[0].queued == 1)

        high = other.ask(Band.HIGH)  # the queue has one place, and it goes before

        await until(lambda: bool(one.refusals))
        assert one.refusals[0][0] is low
        assert one.refusals[0][1].status == 429
        assert low.phase is Phase.REFUSED
        one.arbiter.finish(running, 0.0, answered=True)
        await until(lambda: high.phase is Phase.RUNNING)


async def test_a_killed_workers_slots_are_free_at_once_and_once() -> None:
    async with gateway(2, 2) as world:
        dies, lives = world.carriers
        tickets = [dies.ask() for _ in range(5)]
        await until(lambda: len(dies.running()) == 2)
        waiting = [lives.ask() for _ in range(3)]
        await until(lambda: world.host.arbiter.views(0.0)[0].queued == 6)

        await world.kill(dies)

        await until(lambda: len(lives.running()) == 2)
        await world.settle()
        assert [one.phase for one in waiting] == [Phase.RUNNING, Phase.RUNNING, Phase.QUEUED]
        assert world.in_flight() == {"r0": 2}
        assert world.host.arbiter.views(0.0)[0].cancelled == len(tickets)
        for ticket in lives.running():
            lives.arbiter.finish(ticket, 0.0, answered=True)
        await until(lambda: waiting[2].phase is Phase.RUNNING)
        assert world.in_flight() == {"r0": 1}


async def test_a_cancel_that_crosses_its_grant_leaves_no_slot_taken() -> None:
    async with gateway(1, 1) as world:
        (carrier,) = world.carriers
        gone = carrier.ask()
        await until(lambda: world.in_flight() == {"r0": 1})  # granted there; here it is not known yet
        assert gone.phase is Phase.QUEUED

        carrier.arbiter.cancel(gone, 0.0)

        assert gone.phase is Phase.CANCELLED
        await until(lambda: world.in_flight() == {})
        assert gone not in carrier.given
        follows = carrier.ask()
        await until(lambda: follows.phase is Phase.RUNNING)


async def test_what_a_replica_failed_is_tried_at_another() -> None:
    async with gateway(1, 1, 1) as world:
        (carrier,) = world.carriers
        ticket = carrier.ask()
        await until(lambda: ticket.phase is Phase.RUNNING)
        assert ticket.retriable
        first = ticket.seat
        assert first is not None

        carrier.arbiter.give_back(ticket, Fault.BROKEN, 0.0)

        await until(lambda: ticket.phase is Phase.RUNNING)
        assert ticket.seat is not None
        assert ticket.seat.replica != first.replica
        assert ticket.retried
        assert not ticket.retriable
        with pytest.raises(ValueError, match="only a running request"):
            carrier.arbiter.give_back(Ticket(CHAT), Fault.BUSY, 0.0)


async def test_the_scheduler_dies_and_what_ran_keeps_its_slot_in_the_next_one() -> None:
    async with gateway(2, 2) as world:
        one, other = world.carriers
        running = [one.ask(), other.ask()]
        await until(lambda: all(ticket.phase is Phase.RUNNING for ticket in running))
        waits = one.ask()
        await until(lambda: world.host.arbiter.views(0.0)[0].queued == 1)

        await world.kill_scheduler()

        assert waits.phase is Phase.REFUSED
        assert [(ticket, refusal.code, refusal.retry_after_s) for ticket, refusal in one.refusals] == [
            (waits, "scheduler_lost", 1)
        ]
        assert one.ask().phase is Phase.REFUSED  # nobody is there
        assert [ticket.phase for ticket in running] == [Phase.RUNNING, Phase.RUNNING]

        other.arbiter.finish(running[1], 0.0, answered=True)  # nobody hears this, and nobody needs to
        await world.start()
        await until(lambda: world.host.ready)
        late = [other.ask(), other.ask()]

        await until(lambda: late[0].phase is Phase.RUNNING)
        await world.settle()
        assert late[1].phase is Phase.QUEUED  # `running[0]` holds the other slot still
        assert world.host.carried() == Counter({("chat", "r0", "127.0.0.1:1"): 1})
        one.arbiter.hears(running[0], 0.0)
        one.arbiter.finish(running[0], 0.0, answered=True)
        await until(lambda: not world.host.carried())
        world.host.advance()
        await until(lambda: late[1].phase is Phase.RUNNING)


async def test_a_carried_request_that_fails_is_refused_and_not_tried_again() -> None:
    async with gateway(1, 1) as world:
        (carrier,) = world.carriers
        ticket = carrier.ask()
        await until(lambda: ticket.phase is Phase.RUNNING)
        await world.kill_scheduler()
        await world.start()
        await until(lambda: world.host.ready)

        carrier.arbiter.give_back(ticket, Fault.BROKEN, 0.0)

        assert ticket.phase is Phase.REFUSED
        assert carrier.refusals[0][1].status == 503
        await until(lambda: not world.host.carried())


async def test_a_worker_dies_with_what_it_carried_on_and_the_slot_is_free() -> None:
    async with gateway(2, 1) as world:
        dies, lives = world.carriers
        carried = dies.ask()
        await until(lambda: carried.phase is Phase.RUNNING)
        await world.kill_scheduler()
        await world.start()
        await until(lambda: world.host.ready)
        waits = lives.ask()
        await world.settle()
        assert waits.phase is Phase.QUEUED

        await world.kill(dies)

        world.host.advance()
        await until(lambda: waits.phase is Phase.RUNNING)
        assert not world.host.carried()


async def test_the_first_grant_waits_for_all_workers_but_not_for_ever() -> None:
    world = Gateway(1)
    now = 0.0
    world.host = ArbiterHost(expected=2, starved=world.starved.append, cut=lambda *_: None, now=lambda: now)
    world.host.configure(routes(1))
    (carrier,) = world.carriers
    await world.join(carrier)
    ticket = carrier.ask()
    await world.settle()
    assert ticket.phase is Phase.QUEUED

    world.host.advance()
    await world.settle()
    assert ticket.phase is Phase.QUEUED
    now = 60.0
    world.host.advance()

    await until(lambda: ticket.phase is Phase.RUNNING)
    world.host.close()
    await world.settle()


async def test_a_new_worker_does_not_stand_for_one_that_still_holds_slots() -> None:
    async with gateway(3, 1) as world:
        one, silent, killed = world.carriers
        runs = silent.ask()
        await until(lambda: runs.phase is Phase.RUNNING)
        await world.kill(killed)
        world.carriers = [one, silent]
        await world.kill_scheduler()
        world.host = world.new_host(expected=2)
        world.host.configure(routes(1))
        its = await world.introduce(silent)
        await world.join(one)
        successor = Carrier(killed.number)
        world.carriers.append(successor)
        await world.join(successor)
        waits = successor.ask()
        await world.settle()

        assert waits.phase is Phase.QUEUED  # two were expected and two are there, but not those two
        await world.greet(silent, its)
        await world.settle()
        assert waits.phase is Phase.QUEUED
        assert world.host.carried().total() == 1
        silent.arbiter.finish(runs, 0.0, answered=True)
        await until(lambda: not world.host.carried())
        world.host.advance()
        await until(lambda: waits.phase is Phase.RUNNING)


async def test_the_first_grant_does_not_wait_for_a_worker_that_dies_before_it_is_heard_of() -> None:
    async with gateway(2, 1) as world:
        one, dies = world.carriers
        await world.kill_scheduler()
        world.host = world.new_host(expected=2)
        world.host.configure(routes(1))
        its = await world.introduce(dies)
        await world.join(one)
        ticket = one.ask()
        await world.settle()
        assert ticket.phase is Phase.QUEUED

        its.close()

        await until(lambda: ticket.phase is Phase.RUNNING)


async def test_a_probe_goes_to_another_worker_when_its_own_dies() -> None:
    async with gateway(2, 1) as world:
        dies, lives = world.carriers
        seat = Seat(CHAT, ReplicaId("r0"), "127.0.0.1:1", 77)
        world.host.probe(seat)
        await until(lambda: bool(dies.probes) or bool(lives.probes))
        asked, other = (dies, lives) if dies.probes else (lives, dies)
        assert not other.probes

        await world.kill(asked)

        await until(lambda: bool(other.probes))
        assert (other.probes[0].replica, other.probes[0].address) == ("r0", "127.0.0.1:1")


async def test_names_go_to_workers_and_slots_do_not() -> None:
    async with gateway(2, 1) as world:
        one, other = world.carriers
        named = [told for told in one.told if isinstance(told, Named)]
        assert [route.upstreams for route in named[-1].routes.routes] == [()]

        world.host.configure(routes(5))  # only slots have changed
        world.host.identify(Identity(required=False))
        await until(lambda: any(isinstance(told, Identified) for told in other.told))

        assert [told for told in one.told if isinstance(told, Named)] == named
        tickets = [one.ask() for _ in range(5)]
        await until(lambda: all(ticket.phase is Phase.RUNNING for ticket in tickets))


async def test_a_seat_that_left_the_routes_is_not_listed_in_workers() -> None:
    async with gateway(1, 1, 1) as world:
        (carrier,) = world.carriers
        tickets = [carrier.ask(), carrier.ask()]
        await until(lambda: all(ticket.phase is Phase.RUNNING for ticket in tickets))
        seats = {seat.replica: seat for ticket in tickets if (seat := ticket.seat) is not None}

        world.host.configure(routes(1))

        await until(lambda: not seats[ReplicaId("r1")].listed)
        assert seats[ReplicaId("r0")].listed


async def test_a_request_without_replicas_is_told_to_whoever_makes_them() -> None:
    async with gateway(1) as world:
        waits = world.carriers[0].ask()

        await until(lambda: world.starved == [CHAT])

        assert waits.phase is Phase.QUEUED
        world.host.configure(routes(1))
        await until(lambda: waits.phase is Phase.RUNNING)


async def test_a_worker_that_speaks_nonsense_is_cut() -> None:
    async with gateway(2, 1) as world:
        mad, sane = world.carriers
        ticket = mad.ask()
        await until(lambda: ticket.phase is Phase.RUNNING)
        assert mad.link is not None

        mad.link.say_now([Hello(1, 1)])  # twice

        await until(lambda: bool(world.cuts))
        assert world.cuts[0][0] == mad.number
        assert isinstance(world.cuts[0][1], BadFrame)
        other = sane.ask()
        await until(lambda: other.phase is Phase.RUNNING)


async def test_what_workers_counted_is_added_and_stays_when_they_are_gone() -> None:
    async with gateway(2, 1) as world:
        for carrier in world.carriers:
            assert carrier.link is not None
            counted = PlaneMeasures(malformed=carrier.number, client_connections=10, refusals={"queue_full": 1})
            carrier.link.say(Report(msgspec.msgpack.encode(counted), (f"key{carrier.number}",)))
        await until(lambda: world.host.measures().malformed == 3)
        assert world.host.measures().client_connections == 20

        await world.kill(world.carriers[0])

        merged = world.host.measures()
        assert (merged.malformed, merged.refusals, merged.client_connections) == (3, {"queue_full": 2}, 10)
        assert world.host.take_used() == ("key1", "key2")
        assert world.host.take_used() == ()


DEEDS = ("ask", "finish", "fail", "cancel", "turn", "probe", "kill", "restart")
WEIGHTS = (8, 6, 2, 2, 6, 1, 0.3, 0.2)


@pytest.mark.parametrize("seed", range(12))
async def test_under_any_interleaving_slots_hold_and_nothing_is_left(seed: int) -> None:
    chance = random.Random(seed)
    slots = [chance.randint(1, 3) for _ in range(chance.randint(1, 3))]
    world = Gateway(3)
    await world.start(routes(*slots))
    asked: list[Ticket] = []
    killed: set[Ticket] = set()
    try:
        for _ in range(250):
            carrier = chance.choice(world.carriers)
            running = carrier.running()
            match chance.choices(DEEDS, WEIGHTS)[0]:
                case "ask":
                    asked.append(carrier.ask(chance.choice(list(Band))))
                case "finish" if running:
                    carrier.arbiter.finish(chance.choice(running), 0.0, answered=chance.random() < 0.9)
                case "fail" if running:
                    failed = chance.choice(running)
                    if failed.retriable:
                        carrier.arbiter.give_back(failed, Fault.BUSY, 0.0)
                case "cancel":
                    waiting = [one for one in asked if one.phase is Phase.QUEUED and one not in killed]
                    if waiting:
                        gone = chance.choice(waiting)
                        for one in world.carriers:
                            if gone in one.arbiter.tickets:
                                one.arbiter.cancel(gone, 0.0)
                case "kill" if carrier.link is not None:
                    killed.update(carrier.arbiter.tickets)
                    await world.kill(carrier)
                    number = world.carriers.index(carrier)
                    world.carriers[number] = Carrier(carrier.number)
                    await world.join(world.carriers[number])
                case "probe":
                    carrier.answer_probes(well=chance.random() < 0.7)
                case "restart":
                    await world.kill_scheduler()
                    await world.start()
                case _:
                    await asyncio.sleep(0)
            world.now += 0.01
            world.host.advance()
            taken = Counter(
                ticket.seat.replica for one in world.carriers for ticket in one.running() if ticket.seat is not None
            )
            assert all(taken[ReplicaId(f"r{number}")] <= count for number, count in enumerate(slots)), (taken, slots)
        for _ in range(1000):
            await world.settle()
            world.now += 0.25
            world.host.advance()
            over = [(one, ticket) for one in world.carriers for ticket in one.running()]
            for one, ticket in over:
                one.arbiter.finish(ticket, 0.0, answered=True)
            for one in world.carriers:
                one.answer_probes(well=True)
            if all(ticket.phase not in (Phase.QUEUED, Phase.RUNNING) or ticket in killed for ticket in asked):
                break
        await world.settle()

        (view,) = world.host.arbiter.views(0.0)
        assert (view.queued, view.running, world.in_flight(), world.host.carried()) == (0, 0, {}, Counter())
        assert world.cuts == []
        left = [ticket.phase for ticket in asked if ticket not in killed]
        assert not {Phase.NEW, Phase.QUEUED, Phase.RUNNING} & set(left)
        assert Phase.ANSWERED in left
    finally:
        world.host.close()
        for carrier in world.carriers:
            if carrier.link is not None:
                carrier.link.close()
        await world.settle()
