"""How fast a queue drains is believed only after it was watched draining."""

import pytest

from fleetctl.gateway.scheduler.estimates import DrainRate

SLOTS = 8
STEP_S = 0.25


def test_what_was_granted_before_a_backlog_came_is_no_rate() -> None:
    drain = DrainRate()
    drain.look(1, SLOTS, 10.0, backlogged=False)
    drain.look(2, SLOTS, 10.25, backlogged=False)

    drain.look(10, SLOTS, 10.5, backlogged=True)  # two thousand came just now, and eight of them have a slot

    assert drain.per_slot == 0.0


def test_after_a_second_of_backlog_the_rate_is_the_mean_of_it() -> None:
    drain = DrainRate()
    granted = 0
    drain.look(granted, SLOTS, 10.0, backlogged=True)
    for step in range(1, 5):
        assert drain.per_slot == 0.0
        granted += 40
        drain.look(granted, SLOTS, 10.0 + STEP_S * step, backlogged=True)

    assert drain.per_slot == pytest.approx(40 / STEP_S / SLOTS)


def test_without_a_backlog_a_rate_only_grows() -> None:
    drain = DrainRate()
    for step in range(5):
        drain.look(40 * step, SLOTS, 10.0 + STEP_S * step, backlogged=True)
    known = drain.per_slot

    drain.look(161, SLOTS, 11.25, backlogged=False)
    assert drain.per_slot == known
    drain.look(361, SLOTS, 11.5, backlogged=False)
    assert drain.per_slot > known
