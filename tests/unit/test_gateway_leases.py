"""Slots shared out among several gateways: towards demand, and never more than there are, whatever gets lost."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.gateway_leases import FENCED_S, SILENT_S, leased, may_use, step
from fleetctl.decide.gateway_shares import shared_out
from fleetctl.model.gateways import Front, GatewayBeat, GatewayGrant, Heard
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route, Routes, Upstream
from fleetctl.model.signals import QueueStats

CHAT = ServiceName("chat")
REPLICAS = tuple(ReplicaId(f"r{number}") for number in range(3))


def front(name: str, demand: int = 0, *, waited_s: float = 0.0, unreachable: tuple[str, ...] = ()) -> Front:
    return Front(
        name=name,
        incarnation=name,
        demand={CHAT: demand},
        oldest_wait_s={CHAT: waited_s},
        in_flight={},
        follows=0,
        unreachable=frozenset(ReplicaId(one) for one in unreachable),
    )


def shares(capacities: Mapping[str, int], *fronts: Front, has: Mapping[str, Mapping[str, int]] | None = None):
    left = {ReplicaId(one): count for one, count in capacities.items()}
    present = {one.incarnation: (has or {}).get(one.incarnation, {}) for one in fronts}
    return shared_out(CHAT, left, fronts, present)


# shares


@pytest.mark.parametrize(
    ("capacity", "demands", "totals", "why"),
    [
        (8, (0, 0), (4, 4), "nobody asks: everyone has a floor"),
        (8, (6, 0), (7, 1), "everyone gets what it needs, and an equal part of the rest"),
        (8, (8, 0), (8, 0), "no room for a floor"),
        (7, (3, 3), (4, 3), "the odd slot goes to one"),
        (8, (30, 10), (6, 2), "too few: in proportion to what waits"),
        (8, (1000, 1), (7, 1), "who asks gets one at least"),
        (1, (0, 5), (0, 1), "one slot goes where it is needed"),
    ],
)
def test_slots_follow_demand(capacity: int, demands: tuple[int, int], totals: tuple[int, int], why: str) -> None:
    found = shares({"r": capacity}, front("a", demands[0]), front("b", demands[1]))

    assert (found["a"][ReplicaId("r")], found["b"][ReplicaId("r")]) == totals, why


def test_with_fewer_slots_than_gateways_each_has_its_turn() -> None:
    found = shares({"r": 1}, front("a", 9, waited_s=1.0), front("b", 1, waited_s=3.0), has={"a": {"r": 1}})

    assert found == {"a": {"r": 0}, "b": {"r": 1}}


def test_each_gateway_has_its_part_of_each_replica() -> None:
    found = shares({"r0": 8, "r1": 8, "r2": 8}, front("a", 100), front("b", 100))

    assert found == {"a": {"r0": 4, "r1": 4, "r2": 4}, "b": {"r0": 4, "r1": 4, "r2": 4}}


def test_what_is_good_enough_stays() -> None:
    present = {"a": {"r": 5}, "b": {"r": 3}}

    assert shares({"r": 8}, front("a", 2), front("b", 3), has=present) == present
    assert shares({"r": 8}, front("a", 51), front("b", 31), has=present) == present
    assert shares({"r": 8}, front("a", 2), front("b", 4), has=present) != present


def test_what_only_one_reaches_is_its_own_and_counts_for_it() -> None:
    found = shares({"far": 4, "near": 4}, front("a", 6), front("b", 9, unreachable=("near",)))

    assert found == {"a": {"far": 1, "near": 4}, "b": {"far": 3}}


@given(
    capacities=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    demands=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    present=st.lists(st.lists(st.integers(0, 9), min_size=6, max_size=6), min_size=5, max_size=5),
)
def test_all_that_is_there_is_shared_out_and_no_more(
    capacities: list[int], demands: list[int], present: list[list[int]]
) -> None:
    left = {f"r{number}": count for number, count in enumerate(capacities)}
    fronts = [front(f"g{number}", count) for number, count in enumerate(demands)]
    has = {
        one.incarnation: {replica: present[number][place] for place, replica in enumerate(left)}
        for number, one in enumerate(fronts)
    }

    found = shares(left, *fronts, has=has)

    for replica, capacity in left.items():
        assert sum(slots[ReplicaId(replica)] for slots in found.values()) == capacity
    totals = {name: sum(slots.values()) for name, slots in found.items()}
    everything, wanted = sum(capacities), sum(demands)
    asking = [number for number, count in enumerate(demands) if count]
    if everything >= len(asking):
        assert all(totals[f"g{number}"] >= 1 for number in asking)
    if wanted <= everything:
        assert all(totals[f"g{number}"] >= demands[number] for number in asking)
    elif any(totals[f"g{number}"] < count for number, count in enumerate(demands)):
        # Nobody keeps more than a floor that it does not use while another waits.
        assert all(totals[f"g{number}"] <= max(count, 1) for number, count in enumerate(demands))


# steps


def beat(name: str, number: int, *, follows: int = 0, demand: int = 0, in_flight: Mapping[str, int] | None = None):
    running = tuple((ReplicaId(one), count) for one, count in (in_flight or {}).items())
    return GatewayBeat(
        name=name,
        incarnation=name,
        address="",
        host="",
        version="",
        number=number,
        follows=follows,
        queues=(
            QueueStats(
                at=0.0,
                service=CHAT,
                queued=demand - sum(count for _, count in running),
                oldest_wait_s=0.0,
                in_flight=running,
                arrived=0,
                completed=0,
                failed=0,
            ),
        ),
    )


SLOTS = {CHAT: {ReplicaId("r"): 4}}


def test_a_slot_is_taken_and_given_up_before_another_gets_it() -> None:
    full = GatewayGrant(name="a", incarnation="a", number=1, slots={"r": 4}, held={"r": 4})  # type: ignore[dict-item]

    first = step(SLOTS, [beat("a", 1, follows=1), beat("b", 1, demand=4)], [full], {}, 0.0, unreachable={})
    told = step(
        SLOTS, [beat("a", 1, follows=1), beat("b", 2, follows=1, demand=4)], first.grants, first.heard, 1.0,
        unreachable={},
    )  # fmt: skip
    busy = beat("a", 2, follows=2, in_flight={"r": 3}, demand=3)
    busy_still = step(SLOTS, [busy, beat("b", 3, follows=1, demand=4)], told.grants, told.heard, 2.0, unreachable={})
    now = busy_still
    for number in range(3, 6):
        numbers = [one.number for one in now.grants]
        beats = [beat("a", number, follows=numbers[0]), beat("b", number + 1, follows=numbers[1], demand=4)]
        now = step(SLOTS, beats, now.grants, now.heard, float(number), unreachable={})
        assert may_use(now.grants, ReplicaId("r")) <= 4

    assert [dict(one.slots) for one in first.grants] == [{}, {}]
    assert first.pending
    assert [dict(one.slots) for one in told.grants] == [{}, {}], "it has not said that it has given them up"
    assert [dict(one.slots) for one in busy_still.grants][1] == {"r": 1}, "three of them run still"
    assert [dict(one.slots) for one in now.grants] == [{}, {"r": 4}]
    assert not step(
        SLOTS, [beat("a", 9, follows=now.grants[0].number), beat("b", 9, follows=now.grants[1].number, demand=4)],
        now.grants, now.heard, 9.0, unreachable={},
    ).pending  # fmt: skip


def test_what_a_silent_gateway_held_comes_back_after_the_named_time() -> None:
    a = GatewayGrant(name="a", incarnation="a", number=1, slots={"r": 3}, held={"r": 3})  # type: ignore[dict-item]
    b = GatewayGrant(name="b", incarnation="b", number=1, slots={"r": 1}, held={"r": 1})  # type: ignore[dict-item]
    heard = {"a": Heard(number=7, at=0.0), "b": Heard(number=7, at=0.0)}

    def at(now: float):
        return step(
            SLOTS, [beat("a", 7), beat("b", 8, follows=1, demand=9)], [a, b], heard, now, unreachable={}
        )  # fmt: skip

    early, late = at(SILENT_S - 0.1), at(SILENT_S)

    assert early.over == ()
    assert {one.name: dict(one.slots) for one in early.grants} == {"a": {"r": 3}, "b": {"r": 1}}
    assert late.over == ("a",)
    assert {one.name: dict(one.slots) for one in late.grants} == {"b": {"r": 4}}


def test_a_controller_that_was_restarted_holds_what_it_has_not_heard() -> None:
    a = GatewayGrant(name="a", incarnation="a", number=1, slots={"r": 3}, held={"r": 3})  # type: ignore[dict-item]

    found = step(SLOTS, [beat("b", 1, demand=9)], [a], {}, 1e9, unreachable={})

    assert found.over == ()
    assert {one.name: dict(one.slots) for one in found.grants} == {"a": {"r": 3}, "b": {"r": 1}}


def test_routes_have_the_slots_that_are_the_gateways() -> None:
    def upstream(name: str, slots: int) -> Upstream:
        return Upstream(replica=ReplicaId(name), address=f"{name}:80", slots=slots)

    routes = Routes(
        fence=3,
        epoch="e",
        routes=(Route(service=CHAT, models=(), upstreams=(upstream("r0", 4), upstream("r1", 0), upstream("r2", 4))),),
    )

    found = leased(routes, {ReplicaId("r0"): 3, ReplicaId("r1"): 2})

    assert [one.slots for one in found.routes[0].upstreams] == [3, 0, 0], "a replica that drains has none for anybody"


# the law, in a world where everything gets lost

CAPACITY = 3


@dataclass
class Process:
    """A gateway as it behaves: it obeys the grant that it read last, and stops when it cannot say that it lives."""

    name: str
    incarnation: str
    beats: int = 0
    follows: int = 0
    slots: dict[ReplicaId, int] = field(default_factory=dict)
    in_flight: dict[ReplicaId, int] = field(default_factory=dict)
    queued: int = 0
    contact: float = 0.0
    cut_off: bool = False
    joined: bool = False
    replaces: str = ""

    def says(self) -> GatewayBeat:
        self.beats += 1
        return GatewayBeat(
            name=self.name,
            incarnation=self.incarnation,
            address="",
            host="",
            version="",
            number=self.beats,
            follows=self.follows,
            replaces=self.replaces,
            queues=(
                QueueStats(
                    at=0.0,
                    service=CHAT,
                    queued=self.queued,
                    oldest_wait_s=float(self.queued),
                    in_flight=tuple(self.in_flight.items()),
                    arrived=0,
                    completed=0,
                    failed=0,
                ),
            ),
        )

    def fence(self) -> None:
        self.follows, self.slots = 0, {}


@dataclass
class World:
    """A store, a controller that may be slow, and gateway processes."""

    now: float = 0.0
    beats: dict[str, GatewayBeat] = field(default_factory=dict)
    grants: dict[str, GatewayGrant] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)
    read: tuple[list[GatewayBeat], list[GatewayGrant], float] | None = None
    processes: list[Process] = field(default_factory=list)
    made: int = 0
    capacity: dict[ReplicaId, int] = field(default_factory=lambda: dict.fromkeys(REPLICAS, CAPACITY))

    def start(self, name: str, *, knows: str = "") -> None:
        self.made += 1
        self.processes.append(Process(name=name, incarnation=f"{name}/{self.made}", replaces=knows, contact=self.now))

    # the controller

    def look(self) -> None:
        self.read = (list(self.beats.values()), list(self.grants.values()), self.now)

    def decide(self) -> None:
        """What it has read may be old by now; the store refuses to take back what has said something since."""
        if self.read is None:
            return
        beats, grants, at = self.read
        self.read = None
        made = step({CHAT: self.capacity}, beats, grants, self.heard, at, unreachable={})
        for incarnation in made.over:
            known = [one for one in beats if one.incarnation == incarnation]
            newest = [one for one in self.beats.values() if one.incarnation == incarnation]
            if newest and (not known or newest[0].number > known[0].number):
                return  # it lives: look again
        self.heard = dict(made.heard)
        for incarnation in made.over:
            self.grants.pop(incarnation, None)
            self.beats = {name: one for name, one in self.beats.items() if one.incarnation != incarnation}
        for grant in made.grants:
            self.grants[grant.incarnation] = grant

    # gateways

    def beat(self, process: Process) -> None:
        if process.cut_off:
            return
        there = self.beats.get(process.name)
        mine = there is not None and there.incarnation == process.incarnation
        if process.joined and not mine:
            process.fence()
            if there is not None:
                self.processes.remove(process)  # another has taken its name: it ends, with what it runs
                return
        process.joined = True
        process.contact = self.now
        self.beats[process.name] = process.says()

    def poll(self, process: Process) -> None:
        if process.cut_off or not process.joined or self.now - process.contact >= FENCED_S:
            return
        there = self.beats.get(process.name)
        grant = self.grants.get(process.incarnation)
        if there is None or there.incarnation != process.incarnation or grant is None:
            process.fence()
        else:
            process.follows, process.slots = grant.number, dict(grant.slots)

    def serve(self, process: Process) -> None:
        for replica in REPLICAS:
            if process.in_flight.get(replica, 0) < process.slots.get(replica, 0):
                process.in_flight[replica] = process.in_flight.get(replica, 0) + 1
                process.queued = max(0, process.queued - 1)
                return

    def finish(self, process: Process, replica: ReplicaId) -> None:
        process.in_flight[replica] = max(0, process.in_flight.get(replica, 0) - 1)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        for process in self.processes:
            silent_s = self.now - process.contact
            if silent_s >= FENCED_S:
                process.fence()
            if silent_s >= SILENT_S:
                process.in_flight = {}  # what ran has had the time between the two to end

    def check(self) -> None:
        for replica in REPLICAS:
            used = sum(
                max(process.slots.get(replica, 0), process.in_flight.get(replica, 0)) for process in self.processes
            )
            assert used <= CAPACITY, f"{replica}: {used} of {CAPACITY}"
            assert may_use(self.grants.values(), replica) <= CAPACITY


DOINGS = {
    "look": 6, "decide": 6, "beat": 12, "poll": 12, "serve": 12, "finish": 4, "ask": 3, "quiet": 1, "cut": 1, "mend": 2,
    "die": 0.3, "revive": 0.3, "start": 0.5, "forget": 0.3, "pass": 6, "long": 0.5,
}  # fmt: skip
"""How often each of them is done, relative to the others."""
STEPS = 400


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_no_replica_ever_has_more_than_it_takes_and_all_is_given_out_in_the_end(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    world.start("a")
    world.start("b")

    for doing in chance.choices(tuple(DOINGS), tuple(DOINGS.values()), k=STEPS):
        process = chance.choice(world.processes) if world.processes else None
        if doing == "look":
            world.look()
        elif doing == "decide":
            world.decide()
        elif doing == "forget":
            world.heard = {}
            world.read = None
        elif doing == "pass":
            world.passes(chance.uniform(0.0, 2.0))
        elif doing == "long":
            world.passes(chance.uniform(0.0, SILENT_S))
        elif doing == "start":
            if len(world.processes) < 4:
                world.start(chance.choice("abcd"))
        elif process is None:
            continue
        elif doing == "beat":
            world.beat(process)
        elif doing == "poll":
            world.poll(process)
        elif doing == "serve":
            world.serve(process)
        elif doing == "finish":
            world.finish(process, chance.choice(REPLICAS))
        elif doing == "ask":
            process.queued += chance.randint(1, 9)
        elif doing == "quiet":
            process.queued = 0
        elif doing in ("cut", "mend"):
            process.cut_off = doing == "cut"
        elif doing in ("die", "revive"):
            world.processes.remove(process)
            if doing == "revive":
                world.start(process.name, knows=process.incarnation)
        world.check()

    # No more faults: whoever is there gets what it needs.
    for process in world.processes:
        process.cut_off = False
        process.in_flight = {}
        process.queued = 2
    for _ in range(80):
        for process in list(world.processes):
            world.beat(process)
            world.poll(process)
        world.look()
        world.decide()
        world.passes(1.0)
        world.check()
    if world.processes:
        for replica in REPLICAS:
            assert sum(process.slots.get(replica, 0) for process in world.processes) == CAPACITY
        assert all(sum(process.slots.values()) >= 1 for process in world.processes)
