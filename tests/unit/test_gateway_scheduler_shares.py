"""Bands, tenants, limits and refusals: who comes before whom, and what the others are told."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_world import CHAT, Plane, a_ticket, route, tickets

from fleetctl.gateway.scheduler.fairness import OUTPUT_WEIGHT
from fleetctl.gateway.scheduler.ticket import Band, Fault, Phase
from fleetctl.model.routes import Identity, TenantEntry, TenantLimits


def identity(**weights: float) -> Identity:
    return Identity(tenants=tuple(TenantEntry(name=name, weight=weight) for name, weight in weights.items()))


def served_by_tenant(plane: Plane, rounds: int) -> Counter[str]:
    """Finish what runs, again and again, and count who gets the slots."""
    counts: Counter[str] = Counter()
    for _ in range(rounds):
        seen = len(plane.log)
        plane.finish(*[ticket for ticket in plane.log if ticket.phase is Phase.RUNNING])
        counts.update(ticket.tenant for ticket in plane.granted_since(seen))
    return counts


def test_an_earlier_band_is_served_first_whoever_came_first() -> None:
    plane = Plane(route(("a", 1)))
    plane.asks(a_ticket())
    low, normal, high = plane.asks(*(a_ticket(band=band) for band in (Band.LOW, Band.NORMAL, Band.HIGH)))

    for _ in range(3):
        plane.finish(plane.log[-1])

    assert plane.log[1:] == [high, normal, low]


def test_tenants_take_turns_however_many_requests_one_has() -> None:
    plane = Plane(route(("a", 1)))
    plane.asks(*tickets(50, "greedy"))
    plane.asks(*tickets(5, "modest"))

    assert served_by_tenant(plane, 10) == {"greedy": 5, "modest": 5}


def test_a_tenant_gets_slots_by_its_weight() -> None:
    plane = Plane(route(("a", 1)))
    plane.arbiter.identify(identity(gold=3.0, tin=1.0), 0.0)
    plane.asks(a_ticket("first"))
    for tenant in ("gold", "tin"):
        plane.asks(*tickets(100, tenant))

    counts = served_by_tenant(plane, 40)

    assert counts["gold"] == pytest.approx(30, abs=1)


def test_a_tenant_that_was_away_is_owed_nothing() -> None:
    plane = Plane(route(("a", 1)))
    plane.asks(*tickets(40, "busy"))
    served_by_tenant(plane, 30)
    plane.asks(*tickets(20, "back"))

    assert served_by_tenant(plane, 8) == {"busy": 4, "back": 4}


def test_a_tenant_that_was_alone_owes_nothing() -> None:
    plane = Plane(route(("a", 1)))
    for _ in range(30):
        plane.finish(*plane.asks(a_ticket("early")))
    plane.asks(a_ticket("first"))
    for tenant in ("early", "late"):
        plane.asks(*tickets(20, tenant))

    counts = served_by_tenant(plane, 10)

    assert abs(counts["early"] - counts["late"]) <= 1


def test_what_an_answer_really_took_is_settled() -> None:
    plane = Plane(route(("a", 1)))
    plane.asks(a_ticket("first"))
    for tenant in ("long", "short"):
        plane.asks(*tickets(40, tenant))

    counts: Counter[str] = Counter()
    for _ in range(30):
        running = plane.log[-1]
        counts[running.tenant] += 1
        plane.finish(running, input_tokens=1, output_tokens=3000 if running.tenant == "long" else 1000)

    assert counts["short"] / counts["long"] == pytest.approx(3, rel=0.25)


def test_what_a_tenant_gets_back_counts_at_once() -> None:
    plane = Plane(route(("a", 2)))
    blockers = plane.asks(*tickets(2, "first"))
    x = plane.asks(*tickets(3, "x", input_tokens=5000))
    y = plane.asks(*tickets(3, "y"))
    plane.finish(*blockers)
    assert plane.log[2:] == [x[0], y[0]]

    plane.finish(x[0], input_tokens=1, output_tokens=1)  # far less than it was charged for

    assert plane.log[4:] == [x[1]]


def test_a_request_that_is_tried_again_is_charged_once() -> None:
    plane = Plane(route(("a", 1), ("b", 1)))
    (ticket,) = plane.asks(a_ticket("one", input_tokens=1000))
    share = ticket.share
    once = share.clock
    assert once > 1000

    plane.arbiter.give_back(ticket, Fault.BUSY, plane.now)

    assert ticket.phase is Phase.RUNNING
    assert share.clock == pytest.approx(once)


@settings(max_examples=40, deadline=None)
@given(
    slots=st.integers(1, 4),
    weights=st.tuples(st.sampled_from((0.5, 1.0, 2.0, 5.0)), st.sampled_from((0.5, 1.0, 2.0, 5.0))),
    sizes=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    outputs=st.tuples(st.integers(1, 500), st.integers(1, 500)),
)
def test_two_tenants_that_always_wait_are_given_tokens_by_weight(
    slots: int, weights: tuple[float, float], sizes: tuple[int, int], outputs: tuple[int, int]
) -> None:
    plane = Plane(route(("a", slots)))
    plane.arbiter.identify(identity(one=weights[0], two=weights[1]), 0.0)
    number = {"one": 0, "two": 1}
    plane.asks(*tickets(slots, "first"))
    for tenant, index in number.items():
        plane.asks(*tickets(6 * slots, tenant, input_tokens=sizes[index]))
    given_to = {"one": 0.0, "two": 0.0}
    for _ in range(150):
        ticket = next(ticket for ticket in plane.log if ticket.phase is Phase.RUNNING)
        plane.log.remove(ticket)
        if ticket.tenant == "first":
            plane.finish(ticket)
            continue
        index = number[ticket.tenant]
        plane.asks(a_ticket(ticket.tenant, input_tokens=sizes[index]))
        plane.finish(ticket, input_tokens=sizes[index], output_tokens=outputs[index])
        given_to[ticket.tenant] += (sizes[index] + OUTPUT_WEIGHT * outputs[index]) / weights[index]

    # what runs is charged by an estimate, and each may be ahead by one request more
    most = max((sizes[i] + OUTPUT_WEIGHT * 512) / weights[i] for i in (0, 1))
    assert abs(given_to["one"] - given_to["two"]) <= 2 * (slots + 1) * most


def test_a_full_queue_makes_room_for_an_earlier_band_only() -> None:
    plane = Plane(route(queue_limit=3))
    low = plane.asks(*tickets(2, band=Band.LOW))
    (normal,) = plane.asks(a_ticket())

    (high,) = plane.asks(a_ticket(band=Band.HIGH))
    assert {ticket: refusal.code for ticket, refusal in plane.refusals.items()} == {low[1]: "displaced"}
    (late,) = plane.asks(a_ticket(band=Band.LOW))
    plane.asks(a_ticket(band=Band.HIGH), a_ticket(band=Band.HIGH))
    (too_late,) = plane.asks(a_ticket(band=Band.HIGH))

    codes = [plane.refusals[ticket].code for ticket in (late, low[0], normal, too_late)]
    assert codes == ["queue_full", "displaced", "displaced", "queue_full"]
    assert high.phase is Phase.QUEUED
    assert all(refusal.retry_after_s is not None for refusal in plane.refusals.values())


def test_bytes_are_made_room_for_as_well_but_nobody_leaves_in_vain() -> None:
    plane = Plane(route(queue_limit_bytes=100))
    small = plane.asks(*(a_ticket(band=Band.LOW, size_bytes=20) for _ in range(3)))
    (normal,) = plane.asks(a_ticket(size_bytes=40))

    (too_large,) = plane.asks(a_ticket(band=Band.NORMAL, size_bytes=61))
    assert plane.refusals[too_large].code == "queue_full"
    assert all(ticket.phase is Phase.QUEUED for ticket in small)
    (fits,) = plane.asks(a_ticket(band=Band.NORMAL, size_bytes=35))

    assert [ticket.phase for ticket in small] == [Phase.QUEUED, Phase.REFUSED, Phase.REFUSED]
    assert (fits.phase, normal.phase, plane.view.queued_bytes) == (Phase.QUEUED, Phase.QUEUED, 95)


def drained(plane: Plane, per_tick: int, ticks: int) -> None:
    """Let so many requests a quarter of a second through, from a queue that does not run dry."""
    for _ in range(ticks):
        plane.passes(0.25)
        running = [ticket for ticket in plane.log if ticket.phase is Phase.RUNNING]
        plane.finish(*running[:per_tick])


def test_what_would_wait_too_long_is_refused_at_once_and_told_the_truth() -> None:
    plane = Plane(route(("a", 2), shed=True, queue_timeout_s=10))
    plane.asks(*tickets(42))
    drained(plane, per_tick=1, ticks=20)  # four requests a second
    waiting = plane.view.queued
    (eager, patient) = plane.asks(a_ticket(patience_s=2.0), a_ticket(patience_s=9.0))

    estimate_s = (waiting + 1) / 4
    assert plane.refusals[eager].code == "overloaded"
    assert plane.refusals[eager].retry_after_s == pytest.approx(estimate_s - 2.0, abs=1.01)
    assert patient.phase is Phase.QUEUED
    assert plane.view.wait_estimate_s == pytest.approx(estimate_s + 0.25, rel=0.05)


def test_a_tenant_with_little_waits_little_behind_one_with_much() -> None:
    plane = Plane(route(("a", 2), shed=True, queue_timeout_s=100))
    plane.asks(*tickets(60, "greedy"))
    drained(plane, per_tick=1, ticks=20)

    greedy, modest = plane.asks(*(a_ticket(tenant, patience_s=3.0) for tenant in ("greedy", "modest")))

    assert (greedy.phase, modest.phase) == (Phase.REFUSED, Phase.QUEUED)


def test_nothing_is_refused_early_where_that_is_not_wanted_or_not_known() -> None:
    silent = Plane(route(("a", 2), shed=False))
    unknown = Plane(route(("a", 2), shed=True))
    cold = Plane(route(shed=True))
    for plane in (silent, unknown, cold):
        plane.asks(*tickets(60))
    drained(silent, per_tick=1, ticks=20)

    for plane in (silent, unknown, cold):
        (ticket,) = plane.asks(a_ticket(patience_s=1.0))
        assert ticket.phase is Phase.QUEUED


def test_a_refused_request_takes_nothing_of_its_tenants_limits() -> None:
    plane = Plane(route(("a", 1), queue_limit=1))
    entry = TenantEntry(name="one", limits=TenantLimits(in_flight=2))
    plane.arbiter.identify(Identity(tenants=(entry,)), 0.0)

    running, waiting, full = plane.asks(*tickets(3, "one"))
    assert plane.refusals[full].code == "queue_full"  # and not held against it:
    plane.arbiter.cancel(waiting, plane.now)
    (waiting,) = plane.asks(a_ticket("one"))
    plane.route(route(("a", 1), queue_limit=9))
    (over,) = plane.asks(a_ticket("one"))

    assert plane.refusals[over].code == "tenant_in_flight"
    plane.finish(running, waiting)
    assert plane.arbiter.quotas.in_flight("one") == 0


def test_months_and_tokens_are_counted_by_what_engines_say() -> None:
    plane = Plane(route(("a", 9)))
    entry = TenantEntry(name="one", limits=TenantLimits(tokens_per_month=100), month="2026-11")
    plane.arbiter.identify(Identity(tenants=(entry,)), 0.0, 1_793_900_000.0)  # 2026-11-05
    (first,) = plane.asks(a_ticket("one", input_tokens=10))

    plane.finish(first, input_tokens=60, output_tokens=50)
    (second,) = plane.asks(a_ticket("one", input_tokens=10))

    assert plane.refusals[second].code == "tenant_month"
    assert [use.tokens for use in plane.arbiter.quotas.used()] == [110]


def test_tenants_that_are_gone_are_forgotten_and_weights_are_news_at_once() -> None:
    plane = Plane(route(("a", 1)))
    plane.arbiter.identify(identity(one=1.0, two=1.0), 0.0)
    plane.finish(*plane.asks(a_ticket("two")))
    plane.asks(*tickets(30, "one"), *tickets(30, "three"))

    plane.arbiter.identify(identity(one=9.0), plane.now)

    lane = plane.arbiter._lines[CHAT].waiting.lanes[Band.NORMAL]
    assert set(lane.shares) == {"one", "three"}
    assert lane.weight_waiting == 10.0
    assert served_by_tenant(plane, 20)["one"] >= 17
