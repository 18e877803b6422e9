"""The arbiter's queue: who is served when, where, and who is told that it is too late."""

import pytest
from scheduler_world import CHAT, Plane, a_ticket, places, route, tickets

from fleetctl.gateway.limits import REST_FIRST_S, REST_LONGEST_S
from fleetctl.gateway.scheduler.replicas import PACE_STEP_S, PROBE_PATIENCE_S
from fleetctl.gateway.scheduler.ticket import Band, Fault, Phase, Ticket
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route, Upstream


def test_requests_wait_in_order_until_a_replica_comes() -> None:
    plane = Plane(route())
    asked = plane.asks(*tickets(3))
    plane.now = 7.0
    assert (plane.log, plane.view.queued, plane.view.oldest_wait_s) == ([], 3, 7.0)

    plane.route(route(("a", 2)))
    plane.passes(PACE_STEP_S)

    assert plane.log == asked[:2]
    assert plane.view.queued == 1


def test_every_request_that_meets_no_replica_says_so_at_once() -> None:
    plane = Plane(route())

    plane.asks(*tickets(2))
    plane.route(route(("a", 0)))
    plane.asks(a_ticket())
    plane.route(route(("a", 9)))
    plane.asks(a_ticket())

    assert plane.starving == [CHAT] * 3


def test_the_least_loaded_replica_is_served_first_by_share_of_its_slots() -> None:
    plane = Plane(route(("a", 2), ("b", 4)))

    asked = plane.asks(*tickets(6))

    assert places(*asked[:3]) == "abb"
    assert plane.in_flight == {"a": 2, "b": 4}


def test_a_draining_replica_gets_nothing_and_ends_what_it_has() -> None:
    plane = Plane(route(("a", 1), ("b", 1)))
    on_a, on_b = plane.asks(*tickets(2))

    plane.route(route(("a", 0), ("b", 1)))
    (waiting,) = plane.asks(a_ticket())
    plane.finish(on_a)
    assert waiting.phase is Phase.QUEUED
    plane.finish(on_b)

    assert places(waiting) == "b"
    assert plane.in_flight == {"a": 0, "b": 1}


def test_a_removed_replica_is_counted_until_its_requests_end() -> None:
    plane = Plane(route(("a", 1)))
    (ticket,) = plane.asks(a_ticket())
    seat = ticket.seat

    plane.route(route())
    before = plane.in_flight
    plane.finish(ticket)

    assert (before, plane.in_flight) == ({"a": 1}, {})
    assert seat is not None and not seat.listed


def test_a_replica_that_returns_with_requests_running_does_not_get_its_slots_twice() -> None:
    plane = Plane(route(("a", 2)))
    plane.asks(*tickets(2))

    plane.route(route())
    plane.route(route(("a", 2)))
    (third,) = plane.asks(a_ticket())

    assert third.phase is Phase.QUEUED


def test_a_replica_at_another_address_is_another_incarnation() -> None:
    plane = Plane(route(("a", 1)))
    (first,) = plane.asks(a_ticket())

    elsewhere = Upstream(replica=ReplicaId("a"), address="10.0.0.2:1", slots=1)
    plane.route(Route(service=CHAT, models=(), upstreams=(elsewhere,)))
    (second,) = plane.asks(a_ticket())

    assert first.seat is not None and second.seat is not None
    assert (first.seat.listed, second.seat.listed) == (False, True)
    assert second.seat.generation != first.seat.generation


def test_a_full_queue_refuses_and_counts_it() -> None:
    plane = Plane(route(("a", 1), queue_limit=2))
    plane.asks(*tickets(3))

    (refused,) = plane.asks(a_ticket())

    assert plane.refusals[refused].code == "queue_full"
    assert (plane.view.arrived, plane.view.refused, plane.view.sheds) == (3, 1, (("queue_full", 1),))


def test_a_free_slot_needs_no_room_in_the_queue() -> None:
    plane = Plane(route(("a", 1), queue_limit=0))

    first, second = plane.asks(*tickets(2))

    assert (first.phase, second.phase) == (Phase.RUNNING, Phase.REFUSED)


def test_bodies_are_bounded_together() -> None:
    plane = Plane(route(queue_limit_bytes=100))

    small, large, other = plane.asks(*(a_ticket(size_bytes=size) for size in (40, 61, 60)))

    assert [ticket.phase for ticket in (small, large, other)] == [Phase.QUEUED, Phase.REFUSED, Phase.QUEUED]
    assert plane.view.queued_bytes == 100


def test_those_that_waited_too_long_are_refused_oldest_first() -> None:
    plane = Plane(route(("a", 1), queue_timeout_s=10))
    plane.asks(a_ticket())
    early = plane.asks(*tickets(2))
    plane.passes(5)
    late = plane.asks(a_ticket())

    plane.passes(5)

    assert list(plane.refusals) == early
    assert {refusal.code for refusal in plane.refusals.values()} == {"queue_timeout"}
    assert plane.view.expired == 2
    plane.passes(5)
    assert list(plane.refusals) == early + late


def test_a_slot_that_comes_free_too_late_is_not_given_to_one_that_is_over() -> None:
    plane = Plane(route(("a", 1), queue_timeout_s=10))
    (running,) = plane.asks(a_ticket())
    (over,) = plane.asks(a_ticket())
    plane.now = 9.0
    (alive,) = plane.asks(a_ticket())

    plane.now = 10.0
    plane.finish(running)

    assert plane.refusals[over].code == "queue_timeout"
    assert places(alive) == "a"


def test_a_clients_own_patience_is_kept_when_it_is_shorter() -> None:
    plane = Plane(route(("a", 1), queue_timeout_s=10))
    plane.asks(a_ticket())
    (hasty, patient) = plane.asks(a_ticket(patience_s=2.0), a_ticket(patience_s=100.0))

    plane.passes(2)
    assert list(plane.refusals) == [hasty]
    plane.passes(8)

    assert list(plane.refusals) == [hasty, patient]


def test_one_accepted_while_cold_keeps_the_time_it_was_promised() -> None:
    plane = Plane(route(queue_timeout_s=10, cold_timeout_s=100))
    early, late = plane.asks(*tickets(2))

    plane.passes(60)
    plane.route(route(("a", 1), queue_timeout_s=10, cold_timeout_s=100))
    (warm,) = plane.asks(a_ticket())
    plane.passes(10)

    assert early.phase is Phase.RUNNING
    assert list(plane.refusals) == [warm]
    plane.passes(30)
    assert list(plane.refusals) == [warm, late]


def test_one_that_waits_when_the_last_replica_leaves_waits_for_a_cold_start() -> None:
    plane = Plane(route(("a", 1), queue_timeout_s=10, cold_timeout_s=100))
    _, waiting = plane.asks(*tickets(2))

    plane.route(route(queue_timeout_s=10, cold_timeout_s=100))
    plane.passes(99)

    assert waiting.phase is Phase.QUEUED
    plane.passes(1)
    assert list(plane.refusals) == [waiting]


def test_the_first_replica_after_none_opens_in_steps() -> None:
    plane = Plane(route())
    plane.asks(*tickets(40))

    plane.route(route(("a", 32)))
    assert plane.in_flight == {"a": 1}  # at once
    plane.hears(plane.log[0])
    assert plane.in_flight == {"a": 2}
    plane.hears(*plane.log[1:2])
    assert plane.in_flight == {"a": 3}
    plane.passes(PACE_STEP_S)
    assert plane.in_flight == {"a": 6}
    plane.passes(3 * PACE_STEP_S)

    assert plane.in_flight == {"a": 32}


def test_a_second_replica_takes_all_it_can_at_once() -> None:
    plane = Plane(route(("a", 1)))
    plane.asks(*tickets(10))

    plane.route(route(("a", 1), ("b", 8)))

    assert plane.in_flight == {"a": 1, "b": 8}


def test_a_request_that_broke_a_replica_goes_first_to_another_and_only_once() -> None:
    plane = Plane(route(("a", 1), ("b", 1)))
    first, second, third = plane.asks(*tickets(3))
    assert first.retriable
    plane.arbiter.give_back(first, Fault.BROKEN, plane.now)
    assert first.phase is Phase.QUEUED  # a rests, b is busy

    plane.finish(second)

    assert places(first, third) == "b-"
    assert not first.retriable
    with pytest.raises(ValueError, match="not retriable"):
        plane.arbiter.give_back(first, Fault.BROKEN, plane.now)
    plane.finish(first, answered=False)
    assert third.phase is Phase.QUEUED  # both rest
    assert (plane.view.retries, plane.view.failed) == (1, 1)


def test_a_busy_replica_does_not_rest_but_is_avoided_by_the_request_it_refused() -> None:
    plane = Plane(route(("a", 1), ("b", 1)))
    first, _, third = plane.asks(*tickets(3))

    plane.arbiter.give_back(first, Fault.BUSY, plane.now)

    assert places(first, third) == "-a"


def test_the_only_replicas_word_is_final() -> None:
    plane = Plane(route(("a", 1), ("b", 0)))

    (ticket,) = plane.asks(a_ticket())

    assert not ticket.retriable


def test_one_to_be_avoided_is_better_than_none() -> None:
    plane = Plane(route(("a", 1), ("b", 1)))
    first, _ = plane.asks(*tickets(2))
    plane.arbiter.give_back(first, Fault.BUSY, plane.now)

    plane.route(route(("a", 1)))

    assert places(first) == "a"


def test_the_only_replica_is_asked_again_after_its_rest() -> None:
    plane = Plane(route(("a", 1)))
    (ticket,) = plane.asks(a_ticket())
    plane.arbiter.give_back(ticket, Fault.UNREACHED, plane.now)
    assert ticket.phase is Phase.QUEUED

    plane.passes(REST_FIRST_S)

    assert places(ticket) == "a"


def test_an_unreached_replica_rests_longer_each_time_and_is_tried_with_one_request() -> None:
    plane = Plane(route(("a", 8)))
    asked = plane.asks(*tickets(8))
    for ticket in asked:
        plane.arbiter.give_back(ticket, Fault.UNREACHED, plane.now)

    rest = REST_FIRST_S
    for _ in range(6):
        seen = len(plane.log)
        plane.passes(rest * 0.99)
        assert plane.granted_since(seen) == []
        plane.passes(rest * 0.01)
        assert plane.granted_since(seen) == asked[:1]  # still the oldest: nothing was delivered
        plane.arbiter.give_back(asked[0], Fault.UNREACHED, plane.now)
        rest = min(REST_LONGEST_S, rest * 2)
    plane.passes(rest)
    seen = len(plane.log)
    plane.hears(asked[0])

    assert len(plane.granted_since(seen)) == 7


def test_a_replica_that_failed_is_probed_before_it_gets_a_request() -> None:
    plane = Plane(route(("a", 1)))
    (ticket,) = plane.asks(a_ticket())
    seat = ticket.seat
    plane.well = False
    plane.arbiter.give_back(ticket, Fault.UNREACHED, plane.now)

    plane.passes(REST_FIRST_S)
    assert (plane.probes, ticket.phase) == ([seat], Phase.QUEUED)
    plane.passes(2 * REST_FIRST_S)  # unwell: it rests for twice as long
    assert plane.probes == [seat, seat]
    plane.well = None
    plane.passes(4 * REST_FIRST_S + PROBE_PATIENCE_S)
    assert plane.probes == [seat] * 4  # the third was lost
    plane.well = True
    plane.passes(PROBE_PATIENCE_S)

    assert places(ticket) == "a"


def test_a_dead_replica_does_not_hold_up_the_others() -> None:
    plane = Plane(route(("a", 10), ("b", 1)))

    def serve(ticket: Ticket) -> None:
        if places(ticket) == "a":
            plane.arbiter.give_back(ticket, Fault.UNREACHED, plane.now)
        else:
            plane.finish(ticket)

    plane.on_grant = serve
    asked = plane.asks(*tickets(40))

    assert [ticket.phase for ticket in asked] == [Phase.ANSWERED] * 40


def test_a_slot_cannot_be_given_back_twice() -> None:
    plane = Plane(route(("a", 1)))
    (ticket,) = plane.asks(a_ticket())
    plane.finish(ticket)

    plane.arbiter.cancel(ticket, plane.now)
    with pytest.raises(ValueError, match="running"):
        plane.finish(ticket)

    assert plane.in_flight == {"a": 0}
    assert (plane.view.answered, plane.view.cancelled) == (1, 0)


def test_a_plane_that_answers_at_once_needs_no_stack() -> None:
    plane = Plane(route())
    plane.on_grant = lambda ticket: plane.finish(ticket)
    plane.asks(*tickets(3000))

    plane.route(route(("a", 1)))

    assert plane.view.answered == 3000
    assert plane.view.queued == plane.view.running == 0


def test_what_comes_while_a_slot_is_given_out_is_not_forgotten() -> None:
    plane = Plane(route(("a", 2)))
    inner = a_ticket()

    def ask_another(ticket: Ticket) -> None:
        if inner.phase is Phase.NEW:
            plane.asks(inner)

    plane.on_grant = ask_another
    plane.asks(a_ticket())

    assert places(inner) == "a"


def test_closing_refuses_what_waits_and_what_comes() -> None:
    plane = Plane(route(("a", 1)))
    running, waiting = plane.asks(*tickets(2))

    plane.arbiter.close(plane.now)
    (late,) = plane.asks(a_ticket())

    assert {plane.refusals[one].code for one in (waiting, late)} == {"shutting_down"}
    plane.finish(running)
    assert plane.view.answered == 1


def test_a_service_that_is_taken_down_refuses_what_waits_and_ends_what_runs() -> None:
    plane = Plane(route(("a", 1)))
    running, waiting = plane.asks(*tickets(2))

    plane.route(route(service=ServiceName("other")))
    (late,) = plane.asks(a_ticket())

    assert {plane.refusals[one].code for one in (waiting, late)} == {"service_removed"}
    plane.finish(running)
    plane.passes(1)
    assert [view.service for view in plane.arbiter.views(plane.now)] == ["other"]


@pytest.mark.parametrize("fault", list(Fault))
def test_what_a_replica_of_a_service_that_was_taken_down_fails_is_refused_and_waits_for_nobody(fault: Fault) -> None:
    plane = Plane(route(("a", 1), ("b", 1)))
    (ticket,) = plane.asks(a_ticket())

    plane.route(route(service=ServiceName("other")))
    plane.arbiter.give_back(ticket, fault, plane.now)

    assert (ticket.phase, plane.refusals[ticket].code) == (Phase.REFUSED, "service_removed")
    plane.passes(1)
    assert [view.service for view in plane.arbiter.views(plane.now)] == ["other"]


def test_a_view_counts_bands_and_tenants_but_names_few() -> None:
    plane = Plane(route(("a", 2)))
    plane.asks(*(a_ticket(f"t{number}", Band.LOW) for number in range(60)), *tickets(5, "t9", Band.HIGH))

    view = plane.view

    assert [(band.band, band.queued, band.running) for band in view.bands] == [
        ("high", 5, 0),
        ("normal", 0, 0),
        ("low", 58, 2),
    ]
    assert (view.tenants[0].tenant, view.tenants[0].queued) == ("t9", 6)
    assert (view.tenants[-1].tenant, len(view.tenants)) == ("other", 51)
    assert sum(one.queued for one in view.tenants) == 63
    assert sum(one.running for one in view.tenants) == 2
