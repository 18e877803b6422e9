"""The queue: who is served when, and that no slot is ever lost, doubled or given twice."""

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleetctl.gateway.limits import REST_FIRST_S, REST_LONGEST_S
from fleetctl.gateway.queue import Fault, Phase, ServiceQueue, Ticket
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route, Upstream


def route(*upstreams: tuple[str, int], limit: int = 100, timeout_s: float = 60.0) -> Route:
    return Route(
        service=ServiceName("chat"),
        models=(),
        upstreams=tuple(
            Upstream(replica=ReplicaId(name), address=f"10.0.0.1:{ord(name[0])}", slots=slots)
            for name, slots in upstreams
        ),
        queue_limit=limit,
        queue_timeout_s=timeout_s,
    )


def offered(queue: ServiceQueue[Ticket], count: int, now: float = 0.0) -> list[Ticket]:
    tickets = [Ticket() for _ in range(count)]
    for ticket in tickets:
        assert queue.offer(ticket, now)
    return tickets


def pulled(queue: ServiceQueue[Ticket]) -> list[Ticket]:
    taken = []
    while (ticket := queue.pull()) is not None:
        taken.append(ticket)
    return taken


def places(tickets: Iterable[Ticket]) -> list[str]:
    return [ticket.incarnation.replica if ticket.incarnation else "-" for ticket in tickets]


def test_requests_wait_in_order_until_a_replica_comes() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route())
    tickets = offered(queue, 3)
    assert pulled(queue) == []

    queue.reroute(route(("a", 2)))

    assert pulled(queue) == tickets[:2]
    assert queue.queued == 1
    assert queue.oldest_wait_s(7.0) == 7.0


def test_the_least_loaded_replica_is_served_first_by_share_of_its_slots() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 2), ("b", 4)))

    tickets = offered(queue, 6)
    pulled(queue)

    assert places(tickets[:3]) == ["a", "b", "b"]
    assert queue.in_flight() == {"a": 2, "b": 4}


def test_a_draining_replica_gets_nothing_and_ends_what_it_has() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 1), ("b", 1)))
    offered(queue, 2)
    on_a, on_b = pulled(queue)

    queue.reroute(route(("a", 0), ("b", 1)))
    (waiting,) = offered(queue, 1)
    queue.finish(on_a, answered=True)
    assert pulled(queue) == []
    queue.finish(on_b, answered=True)

    assert pulled(queue) == [waiting]
    assert queue.in_flight() == {"a": 0, "b": 1}


def test_a_removed_replica_is_counted_until_its_requests_end() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 1)))
    (ticket,) = offered(queue, 1)
    pulled(queue)

    queue.reroute(route())
    before = queue.in_flight()
    queue.finish(ticket, answered=True)

    assert before == {"a": 1}
    assert queue.in_flight() == {}


def test_a_replica_that_returns_with_requests_running_does_not_get_its_slots_twice() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 2)))
    offered(queue, 2)
    pulled(queue)

    queue.reroute(route())
    queue.reroute(route(("a", 2)))
    offered(queue, 1)

    assert pulled(queue) == []


def test_a_full_queue_refuses_and_counts_it() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(limit=2))
    offered(queue, 2)

    accepted = queue.offer(Ticket(), 0.0)

    assert not accepted
    assert (queue.arrived, queue.refused) == (2, 1)


def test_those_that_waited_too_long_come_back_oldest_first() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(timeout_s=10))
    early = offered(queue, 2, now=0.0)
    late = offered(queue, 1, now=5.0)

    over = queue.advance(10.0)

    assert over == early
    assert [ticket.phase for ticket in over] == [Phase.EXPIRED] * 2
    assert queue.advance(15.0) == late


def test_a_request_that_broke_a_replica_goes_first_to_another_and_only_once() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 1), ("b", 1)))
    first, _, third = offered(queue, 3)
    _, second = pulled(queue)
    assert queue.give_back(first, Fault.BROKEN, 0.0)
    assert pulled(queue) == []  # a rests, b is busy

    queue.finish(second, answered=True)

    assert pulled(queue) == [first]
    assert places([first]) == ["b"]
    assert not queue.give_back(first, Fault.BROKEN, 0.0)
    queue.finish(first, answered=False)
    assert third.phase is Phase.QUEUED


def test_a_busy_replica_does_not_rest_but_is_avoided_by_the_request_it_refused() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 1), ("b", 1)))
    first, _, third = offered(queue, 3)
    pulled(queue)

    assert queue.give_back(first, Fault.BUSY, 0.0)

    assert pulled(queue) == [third]
    assert places([third]) == ["a"]
    assert first.phase is Phase.QUEUED


def test_the_answer_of_the_only_replica_stands_though_it_is_busy() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 1), ("b", 0)))
    (ticket,) = offered(queue, 1)
    pulled(queue)

    again = queue.give_back(ticket, Fault.BUSY, 0.0)

    assert not again
    assert ticket.phase is Phase.RUNNING


def test_the_only_replica_is_asked_again_after_its_rest() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 1)))
    (ticket,) = offered(queue, 1)
    pulled(queue)
    assert queue.give_back(ticket, Fault.BROKEN, 0.0)
    assert pulled(queue) == []

    queue.advance(REST_FIRST_S)

    assert pulled(queue) == [ticket]


def test_an_unreached_replica_rests_longer_each_time_and_is_tried_with_one_request() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 8), timeout_s=1000))
    tickets = offered(queue, 8)
    for ticket in pulled(queue):
        assert queue.give_back(ticket, Fault.UNREACHED, 0.0)

    now, rest = 0.0, REST_FIRST_S
    for _ in range(6):
        queue.advance(now + rest * 0.99)
        assert pulled(queue) == []
        now += rest
        queue.advance(now)
        (probe,) = pulled(queue)
        assert probe is tickets[0]  # still the oldest: nothing was delivered, so nothing was used up
        queue.give_back(probe, Fault.UNREACHED, now)
        rest = min(REST_LONGEST_S, rest * 2)
    now += rest
    queue.advance(now)
    (probe,) = pulled(queue)
    assert queue.hears(probe)

    assert len(pulled(queue)) == 7


def test_a_dead_replica_does_not_hold_up_the_others() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 10), ("b", 1)))
    tickets = offered(queue, 4)
    served = []

    for _ in range(20):
        for ticket in pulled(queue):
            if places([ticket]) == ["a"]:
                queue.give_back(ticket, Fault.UNREACHED, 0.0)
            else:
                queue.finish(ticket, answered=True)
                served.append(ticket)

    assert sorted(ticket.number for ticket in served) == [ticket.number for ticket in tickets]


def test_a_slot_cannot_be_given_back_twice() -> None:
    queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 1)))
    (ticket,) = offered(queue, 1)
    pulled(queue)
    queue.finish(ticket, answered=True)

    queue.cancel(ticket)
    with pytest.raises(ValueError, match="running"):
        queue.finish(ticket, answered=True)

    assert queue.in_flight() == {"a": 0}
    assert (queue.answered, queue.cancelled) == (1, 0)


class QueueMachine(RuleBasedStateMachine):
    """Any order of events: a reference that only counts must agree with the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.slots: dict[str, int] = {"a": 2}
        self.queue: ServiceQueue[Ticket] = ServiceQueue(route(("a", 2), limit=6, timeout_s=5))
        self.tickets: list[Ticket] = []
        self.accepted = 0

    def of(self, phase: Phase) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.phase is phase]

    @rule()
    def offer(self) -> None:
        ticket = Ticket()
        room = self.queue.queued < 6
        assert self.queue.offer(ticket, self.now) is room
        if room:
            self.tickets.append(ticket)
            self.accepted += 1

    @rule()
    def pull(self) -> None:
        before = self.queue.in_flight()
        ticket = self.queue.pull()
        if ticket is None:
            return
        assert ticket.phase is Phase.RUNNING and ticket.incarnation is not None
        replica = ticket.incarnation.replica
        assert before.get(replica, 0) < self.slots.get(replica, 0)

    @precondition(lambda self: self.of(Phase.RUNNING))
    @rule(data=st.data(), answered=st.booleans())
    def finish(self, data: st.DataObject, answered: bool) -> None:
        self.queue.finish(data.draw(st.sampled_from(self.of(Phase.RUNNING))), answered=answered)

    @precondition(lambda self: self.of(Phase.RUNNING))
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        self.queue.hears(data.draw(st.sampled_from(self.of(Phase.RUNNING))))

    @precondition(lambda self: self.of(Phase.RUNNING))
    @rule(data=st.data(), fault=st.sampled_from(Fault))
    def fail(self, data: st.DataObject, fault: Fault) -> None:
        ticket = data.draw(st.sampled_from(self.of(Phase.RUNNING)))
        retried = ticket.retried
        if not self.queue.give_back(ticket, fault, self.now):
            assert fault is not Fault.UNREACHED
            self.queue.finish(ticket, answered=False)
        elif fault is not Fault.UNREACHED:
            assert not retried

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.queue.cancel(data.draw(st.sampled_from(self.tickets)))

    @rule(slots=st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3))
    def reroute(self, slots: dict[str, int]) -> None:
        self.slots = slots
        self.queue.reroute(route(*slots.items(), limit=6, timeout_s=5))

    @rule(seconds=st.floats(0, 4))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for ticket in self.queue.advance(self.now):
            assert ticket.phase is Phase.EXPIRED
            assert self.now - ticket.arrived_s >= 5

    @rule()
    def close(self) -> None:
        self.queue.close()
        assert self.queue.queued == 0

    @invariant()
    def the_counts_agree(self) -> None:
        running, waiting = self.of(Phase.RUNNING), self.of(Phase.QUEUED)
        counted: dict[str, int] = {}
        for ticket in running:
            assert ticket.incarnation is not None
            counted[ticket.incarnation.replica] = counted.get(ticket.incarnation.replica, 0) + 1
        assert {replica: used for replica, used in self.queue.in_flight().items() if used} == counted
        assert (self.queue.running, self.queue.queued) == (len(running), len(waiting))
        assert all(ticket.incarnation is None for ticket in self.tickets if ticket.phase is not Phase.RUNNING)
        ended = self.queue.answered + self.queue.failed + self.queue.expired + self.queue.cancelled
        assert self.queue.arrived == self.accepted == ended + len(running) + len(waiting)

    @invariant()
    def nothing_waits_while_a_replica_that_never_failed_is_free(self) -> None:
        eager = [
            ticket
            for ticket in self.of(Phase.QUEUED)
            if ticket.avoids is None and not any(one.failures for one in self.queue.incarnations)
        ]
        used = self.queue.in_flight()
        free = any(used.get(ReplicaId(name), 0) < slots for name, slots in self.slots.items())
        if eager and free:
            taken = self.queue.pull()
            assert taken is not None
            self.queue.cancel(taken)

    def teardown(self) -> None:
        """Faults stop: with one healthy replica everything left is served."""
        self.slots = {"z": 100}
        self.queue.reroute(route(("z", 100), limit=6, timeout_s=1e9))
        for ticket in pulled(self.queue):
            self.queue.finish(ticket, answered=True)
        for ticket in self.of(Phase.RUNNING):
            self.queue.finish(ticket, answered=True)
        assert self.of(Phase.QUEUED) == []
        assert self.queue.in_flight() == {"z": 0}


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
