"""Any order of events, with a reference that only counts: nothing is lost, doubled, overtaken or left waiting."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scheduler_world import CHAT, Plane, a_ticket

from fleetctl.gateway.scheduler.replicas import PROBE_PATIENCE_S
from fleetctl.gateway.scheduler.ticket import Band, Fault, Phase, Seat, Ticket
from fleetctl.model.names import ReplicaId
from fleetctl.model.routes import Identity, Route, TenantEntry, TenantLimits, Upstream

LIMIT = 8
LIMIT_BYTES = 40
BOUNDS: dict[str, Any] = {
    "queue_limit": LIMIT,
    "queue_limit_bytes": LIMIT_BYTES,
    "queue_timeout_s": 5.0,
    "cold_timeout_s": 9.0,
}
PREFIXES = ((), (1, 2), (1, 2, 3), (1, 2, 4), (7, 8, 9, 10))
RATES = {"a": 0.0, "b": 4000.0, "c": 2000.0, "z": 0.0}
"""Prompts per second that are said of each replica; windows of half a second close within a few prompts."""
TENANTS = ("", "one", "two")
IDENTITY = Identity(
    tenants=(
        TenantEntry(name="one", weight=2.0, limits=TenantLimits(in_flight=5)),
        TenantEntry(name="two", weight=0.5, limits=TenantLimits(requests_per_minute=30)),
    )
)


def a_route(slots: dict[str, int], *, shed: bool) -> Route:
    upstreams = tuple(
        Upstream(
            replica=ReplicaId(name),
            address=f"10.0.0.1:{ord(name)}",
            slots=count,
            prefill_tokens_per_s=RATES[name],
            adapters=("french",) if name == "b" else (),
        )
        for name, count in slots.items()
    )
    return Route(service=CHAT, models=(), upstreams=upstreams, shed=shed, **BOUNDS)


class ArbiterMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.slots: dict[str, int] = {"a": 2}
        self.shed = False
        self.plane = Plane(a_route(self.slots, shed=False))
        self.plane.on_grant = self.check_grant
        self.plane.well = None
        self.plane.arbiter.identify(IDENTITY, 0.0, 1.8e9)
        self.tickets: list[Ticket] = []
        self.where: dict[Ticket, Seat] = {}
        """What runs, counted here."""
        self.over: dict[Ticket, Phase] = {}
        """What ended, and how: at most once."""

    @property
    def line(self) -> Any:
        return self.plane.arbiter._lines[CHAT]

    def of(self, phase: Phase) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.phase is phase]

    def end(self, ticket: Ticket) -> None:
        assert ticket not in self.over
        self.over[ticket] = ticket.phase

    def check_grant(self, ticket: Ticket) -> None:
        seat = ticket.seat
        assert seat is not None and seat.listed
        assert ticket not in self.where and ticket not in self.over
        there = [other for other, its in self.where.items() if its is seat]
        assert len(there) < self.slots.get(seat.replica, 0), "a slot was given that is not there"
        computing = sum(other.prefilling for other in there if not other.heard)
        rate = RATES[seat.replica]
        assert not rate or computing < rate / 2, "its window was closed"
        assert not (ticket.avoids is seat and sum(1 for slots in self.slots.values() if slots) > 1)
        assert ticket.deadline_s > self.plane.now, "its time was over"
        if not ticket.again:  # those that are tried again come first
            for other in self.of(Phase.QUEUED):
                waits_for_one = other.overdue_s > self.plane.now or other.again
                assert waits_for_one or other.band >= ticket.band or other.deadline_s <= self.plane.now, "overtaken"
        self.where[ticket] = seat

    # what happens

    @rule(
        tenant=st.sampled_from(TENANTS),
        band=st.sampled_from(Band),
        prefix=st.sampled_from(PREFIXES),
        adapter=st.sampled_from(("", "", "french", "latin")),
        input_tokens=st.sampled_from((1, 300, 3000)),
        size_bytes=st.integers(0, 12),
        streams=st.booleans(),
        patience_s=st.sampled_from((None, None, 0.3, 2.0, 20.0)),
    )
    def ask(self, **fields: Any) -> None:
        ticket = a_ticket(**fields)
        self.tickets.append(ticket)
        queued = len(self.of(Phase.QUEUED))
        starving = len(self.plane.starving)
        self.plane.asks(ticket)
        listed = sum(1 for slots in self.slots.values() if slots)
        assert len(self.plane.starving) - starving == (0 if listed else 1)
        refusal = self.plane.refusals.get(ticket)
        if refusal is not None and refusal.code == "queue_full":
            assert queued >= LIMIT or self.line.waiting.size_bytes + ticket.size_bytes > LIMIT_BYTES
            assert not any(other.band > ticket.band and not other.again for other in self.of(Phase.QUEUED)) or (
                queued >= LIMIT or ticket.size_bytes > 0
            )

    @precondition(lambda self: self.of(Phase.RUNNING))
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        self.plane.hears(data.draw(st.sampled_from(self.of(Phase.RUNNING))))

    @precondition(lambda self: self.of(Phase.RUNNING))
    @rule(data=st.data(), answered=st.booleans(), tokens=st.sampled_from((0, 5, 4000)))
    def finish(self, data: st.DataObject, answered: bool, tokens: int) -> None:
        ticket = data.draw(st.sampled_from(self.of(Phase.RUNNING)))
        del self.where[ticket]
        self.plane.finish(ticket, answered=answered, input_tokens=tokens, output_tokens=tokens)
        self.end(ticket)

    @precondition(lambda self: self.of(Phase.RUNNING))
    @rule(data=st.data(), fault=st.sampled_from(Fault))
    def fail(self, data: st.DataObject, fault: Fault) -> None:
        ticket = data.draw(st.sampled_from(self.of(Phase.RUNNING)))
        del self.where[ticket]
        if fault is Fault.UNREACHED or ticket.retriable:
            assert fault is Fault.UNREACHED or not ticket.retried
            self.plane.arbiter.give_back(ticket, fault, self.plane.now)
        else:
            self.plane.finish(ticket, answered=False)
            self.end(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.tickets))
        alive = ticket.phase in (Phase.QUEUED, Phase.RUNNING)
        self.where.pop(ticket, None)
        self.plane.arbiter.cancel(ticket, self.plane.now)
        if alive:
            self.end(ticket)

    @rule(slots=st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3), shed=st.booleans())
    def configure(self, slots: dict[str, int], shed: bool) -> None:
        self.slots, self.shed = slots, shed
        self.plane.route(a_route(slots, shed=shed))

    @rule(seconds=st.floats(0, 4))
    def pass_time(self, seconds: float) -> None:
        self.plane.passes(seconds)

    @precondition(lambda self: self.plane.probes)
    @rule(data=st.data(), well=st.booleans())
    def probed(self, data: st.DataObject, well: bool) -> None:
        seat = data.draw(st.sampled_from(self.plane.probes))
        self.plane.probes.remove(seat)
        self.plane.arbiter.probed(seat, self.plane.now, well=well)

    @rule()
    def identify_again(self) -> None:
        self.plane.arbiter.identify(IDENTITY, self.plane.now, 1.8e9 + self.plane.now)

    # what always holds

    @invariant()
    def the_counts_agree(self) -> None:
        for ticket in self.plane.refusals:
            if ticket not in self.over:
                self.end(ticket)
        running, waiting = self.of(Phase.RUNNING), self.of(Phase.QUEUED)
        assert set(running) == set(self.where)
        counted: dict[str, int] = {}
        for seat in self.where.values():
            counted[seat.replica] = counted.get(seat.replica, 0) + 1
        view = self.plane.view
        assert {replica: used for replica, used in view.in_flight if used} == counted
        assert (view.running, view.queued) == (len(running), len(waiting))
        assert view.queued_bytes == sum(ticket.size_bytes for ticket in waiting)
        assert [band.queued for band in view.bands] == [sum(one.band is band for one in waiting) for band in Band]
        assert all(ticket.seat is None for ticket in self.tickets if ticket.phase is not Phase.RUNNING)
        assert len(self.over) + len(running) + len(waiting) == len(self.tickets)
        ended = view.answered + view.failed + view.cancelled + view.expired + view.refused
        assert ended == len(self.over)
        for tenant in TENANTS[1:]:
            mine = [ticket for ticket in running + waiting if ticket.tenant == tenant]
            assert self.plane.arbiter.quotas.in_flight(tenant) == len(mine)
        for replica in self.line.seating.replicas.values():
            there = [ticket for ticket, seat in self.where.items() if seat is replica.seat]
            assert replica.prefilling == sum(ticket.prefilling for ticket in there if not ticket.heard)
            patient = [ticket for lane in self.line.waiting.lanes for ticket in lane.patient]
            assert replica.awaited == sum(ticket.replica is replica for ticket in patient)

    @invariant()
    def nobody_waits_while_a_slot_can_be_used(self) -> None:
        free = [replica for replica in self.line.seating.replicas.values() if replica.free]
        listed = sum(1 for slots in self.slots.values() if slots)
        for ticket in self.of(Phase.QUEUED):
            if ticket.again:
                usable = [one for one in free if one.seat is not ticket.avoids or listed <= 1]
            else:
                usable = [] if ticket.overdue_s > self.plane.now else free
            # one whose patience ended since time was last told is found at the next telling
            assert not usable or ticket.overdue_s or ticket.deadline_s <= self.plane.now
        for replica in self.line.seating.replicas.values():
            well = not replica.failures and replica.pace > replica.cap and not replica.prefilling
            assert replica.free or not well or replica.used >= self.slots.get(replica.seat.replica, 0)

    @invariant()
    def the_queue_is_bounded(self) -> None:
        fresh = [ticket for ticket in self.of(Phase.QUEUED) if not ticket.again]
        assert len(fresh) <= LIMIT
        assert sum(ticket.size_bytes for ticket in fresh) <= LIMIT_BYTES

    def teardown(self) -> None:
        """Faults stop: with one healthy replica everything left ends, and no slot and no quota stays taken."""
        self.slots = {"z": 100}
        self.plane.well = True
        self.plane.route(a_route(self.slots, shed=False))
        for seat in tuple(self.plane.probes):
            self.plane.arbiter.probed(seat, self.plane.now, well=True)
        for _ in range(2):
            for ticket in self.of(Phase.RUNNING):
                del self.where[ticket]
                self.plane.finish(ticket)
                self.end(ticket)
            self.plane.passes(PROBE_PATIENCE_S)
        self.the_counts_agree()
        assert self.plane.view.queued == self.plane.view.running == 0
        assert self.plane.in_flight == {"z": 0}
        assert all(not lane.patient and not lane.weight_waiting for lane in self.line.waiting.lanes)
        assert all(not share.running for lane in self.line.waiting.lanes for share in lane.shares.values())
        assert all(not replica.awaited for replica in self.line.seating.replicas.values())


TestArbiterMachine = ArbiterMachine.TestCase
TestArbiterMachine.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
