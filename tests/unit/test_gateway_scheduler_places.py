"""Where requests go: to who knows the prompt or the adapter, if that is no detour; and how much each may be given."""

import pytest
from scheduler_world import CHAT, Plane, a_ticket, places, route, tickets

from fleetctl.gateway.scheduler.affinity import HOLDERS_MAX, LINKS_PER_REPLICA, RECENT_GRANTS, shared_tokens
from fleetctl.gateway.scheduler.estimates import PREFILL_HORIZON_S, SAMPLES_LEAST, PrefillRate
from fleetctl.gateway.scheduler.line import PATIENCE_S
from fleetctl.gateway.scheduler.ticket import Band, Phase, Ticket
from fleetctl.model.names import ReplicaId
from fleetctl.model.routes import Route, Upstream

SYSTEM = (1, 2, 3)
"""A prompt of more than 4 kB."""
OTHER = (5, 6, 7)


def prompt(prefix: tuple[int, ...] = SYSTEM, **fields: object) -> Ticket:
    return a_ticket(**{"prefix": prefix, "input_tokens": 2000, "streams": True, **fields})


def rated(
    *upstreams: tuple[str, int], rate: float = 8000.0, adapters: dict[str, tuple[str, ...]] | None = None
) -> Route:
    return Route(
        service=CHAT,
        models=(),
        shed=False,
        upstreams=tuple(
            Upstream(
                replica=ReplicaId(name),
                address=f"10.0.0.1:{ord(name[0])}",
                slots=slots,
                prefill_tokens_per_s=rate,
                adapters=(adapters or {}).get(name, ()),
            )
            for name, slots in upstreams
        ),
    )


def done(plane: Plane, *tickets: Ticket) -> None:
    plane.hears(*tickets)
    plane.finish(*tickets)


@pytest.mark.parametrize(
    ("place", "input_tokens", "shared"),
    [
        (2, 2000, 1512),  # they part between 1,024 and the end
        (2, 20_000, 2560),  # between 1,024 and the next link
        (3, 100_000, 10_240),
        (1, 300, 278),
        (2, 900, 899),  # estimated as less than the link covers: all but what must be computed anyway
    ],
)
def test_what_two_prompts_share_is_half_way_to_where_they_part(place: int, input_tokens: int, shared: int) -> None:
    assert shared_tokens(place, input_tokens) == shared


def test_a_prompt_goes_where_its_beginning_is_known() -> None:
    plane = Plane(rated(("a", 4), ("b", 4)))
    first, other = plane.asks(prompt(), prompt(OTHER))
    assert places(first, other) == "ab"
    plane.hears(first, other)

    again, too = plane.asks(prompt(), prompt(OTHER))

    assert places(again, too) == "ab"
    assert (again.uncached_tokens, first.uncached_tokens) == (488, 2000)
    assert (plane.view.prefix_hits, plane.view.prefix_misses) == (2, 2)


def test_a_longer_known_link_is_worth_more_than_a_shorter_one() -> None:
    plane = Plane(rated(("a", 8), ("b", 8)))
    plane.hears(*plane.asks(prompt((1, 2)), prompt((1, 2, 3, 4), input_tokens=6000)))

    (ticket,) = plane.asks(prompt((1, 2, 3, 4), input_tokens=6000))

    assert places(*plane.log) == "abb"
    assert ticket.uncached_tokens < 2000


def test_a_small_saving_is_no_reason_for_an_unequal_load() -> None:
    plane = Plane(rated(("a", 4), ("b", 4)))
    short = [prompt((1,), input_tokens=80) for _ in range(8)]

    plane.asks(*short)

    assert plane.in_flight == {"a": 4, "b": 4}


def test_a_busy_home_is_left_when_another_is_so_much_freer() -> None:
    plane = Plane(rated(("a", 100), ("b", 100)))
    asked = plane.asks(*(prompt() for _ in range(12)))
    plane.hears(*asked)

    assert set(places(*asked)) == {"a", "b"}  # not all on the first: its window filled up


def test_a_hot_replica_without_a_slot_is_waited_for_a_moment_and_no_longer() -> None:
    plane = Plane(rated(("a", 8), ("b", 8)))
    plane.hears(*plane.asks(prompt(input_tokens=8000, prefix=(1, 2, 3, 4))))
    (blocker,) = plane.asks(prompt((), input_tokens=100))  # to b, the less loaded
    assert places(blocker) == "b"
    (filler,) = plane.asks(prompt(input_tokens=12_200, prefix=(1, 2, 3, 4)))  # closes the window of a
    assert places(filler) == "a" and plane.arbiter._lines[CHAT].seating.replicas[_key("a")].free is False

    (waits,) = plane.asks(prompt(input_tokens=8000, prefix=(1, 2, 3, 4)))
    assert waits.phase is Phase.QUEUED
    (passes,) = plane.asks(prompt((), input_tokens=100))
    assert places(passes) == "b"  # others need not wait
    plane.passes(PATIENCE_S)

    assert places(waits) == "b"


def _key(name: str) -> tuple[ReplicaId, str]:
    return ReplicaId(name), f"10.0.0.1:{ord(name)}"


def test_one_that_waits_for_a_hot_replica_gets_it_when_it_is_free() -> None:
    plane = Plane(rated(("a", 8), ("b", 8)))
    plane.hears(*plane.asks(prompt(input_tokens=8000, prefix=(1, 2, 3, 4))))
    plane.asks(prompt((), input_tokens=100))
    (filler,) = plane.asks(prompt(input_tokens=12_200, prefix=(1, 2, 3, 4)))
    (waits,) = plane.asks(prompt(input_tokens=8000, prefix=(1, 2, 3, 4)))

    hot = plane.arbiter._lines[CHAT].seating.replicas[_key("a")]
    assert hot.awaited == 1
    plane.hears(filler)

    assert places(waits) == "a"
    assert hot.awaited == 0


def test_a_replica_continues_what_it_knows_before_older_requests_of_the_same_band() -> None:
    plane = Plane(rated(("a", 1), ("b", 1)))
    on_a, on_b = plane.asks(prompt(), prompt(OTHER))
    older, newer, urgent = plane.asks(prompt(OTHER), prompt(), prompt((), band=Band.HIGH))
    plane.hears(on_a, on_b)

    plane.finish(on_a)
    assert places(urgent) == "a"  # but never before an earlier band
    plane.finish(urgent)

    assert places(older, newer) == "-a"


def test_one_that_would_be_too_late_is_not_passed_over() -> None:
    plane = Plane(rated(("a", 1), ("b", 1)))
    on_a, _ = plane.asks(prompt(), prompt(OTHER))
    older, newer = plane.asks(prompt(OTHER, patience_s=1.0), prompt())

    plane.now = 0.95
    plane.finish(on_a)

    assert places(older, newer) == "a-"


def test_a_tenant_that_is_far_ahead_is_not_preferred_for_its_prefix() -> None:
    plane = Plane(rated(("a", 1), ("b", 1)))
    on_a, _ = plane.asks(prompt(tenant="greedy"), prompt(OTHER, tenant="modest"))
    plane.asks(*(prompt(tenant="greedy") for _ in range(30)))
    modest = plane.asks(*(prompt((), tenant="modest") for _ in range(30)))
    served = []
    running = on_a
    for _ in range(30):
        seen = len(plane.log)
        plane.hears(running)
        plane.finish(running, input_tokens=2000, output_tokens=1500)
        (running,) = plane.granted_since(seen)
        served.append(running.tenant)

    assert set(served[:5]) == {"greedy"}  # within its lead of 20,000 tokens
    assert any(ticket.phase is not Phase.QUEUED for ticket in modest)


def test_a_home_is_the_last_that_was_given_a_link_and_others_only_while_they_use_it() -> None:
    plane = Plane(route(("a", 1), ("b", 200)))
    (first,) = plane.asks(prompt())
    assert places(first) == "a"
    (second,) = plane.asks(prompt())  # a is full
    plane.finish(first)
    link = plane.arbiter._lines[CHAT].seating.index.links[3]
    replica = plane.arbiter._lines[CHAT].seating.replicas
    a, b = replica[_key("a")], replica[_key("b")]
    assert (link.held_by(a), link.held_by(b)) == (True, True)
    plane.finish(second)

    a.granted += RECENT_GRANTS + 1  # as if they had been given other things meanwhile
    b.granted += RECENT_GRANTS + 1

    assert (link.held_by(a), link.held_by(b)) == (False, True)


def test_what_is_remembered_is_bounded() -> None:
    names = "abcdefgh"
    plane = Plane(route(*((name, 1) for name in names)))
    for number in range(LINKS_PER_REPLICA * len(names)):
        done(plane, *plane.asks(prompt((0, 2 * number, 2 * number + 1))))
    running = plane.asks(*(prompt((0, -1, -2)) for _ in names))

    index = plane.arbiter._lines[CHAT].seating.index
    assert len(index.links) == LINKS_PER_REPLICA * len(names)
    assert len(index.links[-2].holders) == HOLDERS_MAX
    plane.finish(*running)
    plane.route(route())
    assert not any(link.holders or link.home for link in index.links.values())


@pytest.mark.parametrize(
    ("adapters", "load", "expected"),
    [
        ({"b": ("french",)}, 0, "b"),  # loaded beats room for it
        ({"b": ("french",)}, 3, "b"),
        ({"b": ("french",), "a": tuple("12345678")}, 7, "b"),  # a would have to throw one out
        ({}, 1, "a"),  # nobody has it: the least loaded
    ],
)
def test_an_adapter_goes_where_it_is_loaded_unless_that_is_too_busy(
    adapters: dict[str, tuple[str, ...]], load: int, expected: str
) -> None:
    plane = Plane(rated(("a", 20), ("b", 20), adapters=adapters))
    line = plane.arbiter._lines[CHAT]
    line.seating.replicas[_key("b")].used += load  # as if it ran so many

    (ticket,) = plane.asks(a_ticket(adapter="french"))

    assert places(ticket) == expected
    line.seating.replicas[_key("b")].used -= load


def test_an_adapter_is_loading_until_it_has_answered() -> None:
    plane = Plane(rated(("a", 4), ("b", 4)))
    (first,) = plane.asks(a_ticket(adapter="french"))
    (second,) = plane.asks(a_ticket(adapter="french"))
    assert places(first, second) == "ab"  # room for it is worth more than to wait behind its loading

    plane.hears(first)
    (third,) = plane.asks(a_ticket(adapter="french"))

    assert places(third) == "a"


def test_prompts_in_computation_are_bounded_but_an_idle_replica_takes_any() -> None:
    window = 8000 * PREFILL_HORIZON_S
    plane = Plane(rated(("a", 32)))
    (huge,) = plane.asks(prompt((), input_tokens=int(5 * window)))
    (small,) = plane.asks(prompt((), input_tokens=10))
    assert (huge.phase, small.phase) == (Phase.RUNNING, Phase.QUEUED)

    plane.hears(huge)

    assert small.phase is Phase.RUNNING
    asked = plane.asks(*(prompt((), input_tokens=1000) for _ in range(10)))
    assert sum(ticket.phase is Phase.RUNNING for ticket in asked) == 4  # the last one closes it


def test_a_window_opens_again_when_a_request_ends_without_a_byte() -> None:
    plane = Plane(rated(("a", 32)))
    (huge,) = plane.asks(prompt((), input_tokens=9000))
    (waits,) = plane.asks(prompt(()))

    plane.arbiter.cancel(huge, plane.now)

    assert places(waits) == "a"


def test_answers_that_are_not_streamed_say_nothing_of_prompts_and_take_only_slots() -> None:
    plane = Plane(rated(("a", 32)))

    asked = plane.asks(*(a_ticket(input_tokens=9000) for _ in range(32)))

    assert all(ticket.phase is Phase.RUNNING for ticket in asked)


def test_a_rate_is_learned_and_then_bounds_the_prompts() -> None:
    plane = Plane(route(("a", 100)))
    for _ in range(SAMPLES_LEAST):
        (ticket,) = plane.asks(prompt(()))
        plane.now += 0.25  # 2,000 tokens at 8,000 a second
        done(plane, ticket)

    asked = plane.asks(*(prompt((), input_tokens=1000) for _ in range(10)))

    assert sum(ticket.phase is Phase.RUNNING for ticket in asked) == 4


def test_a_rate_of_short_prompts_is_not_learned() -> None:
    rate = PrefillRate()
    for _ in range(50):
        rate.learn(100, 1.0, alone=True, busy=False)

    assert rate.rate == 0.0


def test_too_little_to_do_is_no_sign_of_slowness() -> None:
    rate = PrefillRate()
    for _ in range(10):
        rate.learn(8000, 1.0, alone=False, busy=True)
    before = rate.rate

    for _ in range(100):
        rate.learn(600, 1.0, alone=False, busy=False)
    assert rate.rate == before
    for _ in range(100):
        rate.learn(4000, 1.0, alone=False, busy=True)

    assert rate.rate == pytest.approx(4000, rel=0.01)


def test_an_engine_that_is_slow_to_answer_but_wide_is_found_out() -> None:
    """It answers after two seconds whatever it has to do: a window of half a second's work would starve it."""
    plane = Plane(route(("a", 64)))
    for _ in range(SAMPLES_LEAST):
        (ticket,) = plane.asks(prompt((), input_tokens=1000))
        plane.now += 2.0
        done(plane, ticket)
    plane.asks(*(prompt((), input_tokens=1000) for _ in range(400)))

    widths = []
    for _ in range(12):
        running = [ticket for ticket in plane.log if ticket.phase is Phase.RUNNING]
        widths.append(len(running))
        plane.now += 2.0
        plane.hears(*running)
        plane.finish(*[ticket for ticket in running if ticket.phase is Phase.RUNNING])

    assert widths[0] <= 3
    assert max(widths) >= 32


def test_requests_without_prompts_to_speak_of_are_plain_first_come_first_served() -> None:
    plane = Plane(route(("a", 2), ("b", 2)))
    asked = plane.asks(*tickets(12, prefix=(1,), input_tokens=70, streams=True))

    for _ in range(8):
        plane.finish(next(ticket for ticket in plane.log if ticket.phase is Phase.RUNNING))

    assert plane.log == asked
