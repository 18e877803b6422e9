"""Whom the gateway's first process takes for dead, and how much each worker may hold."""

import pytest

from fleetctl.gateway.limits import BODY_LIMIT_BYTES, HELD_LIMIT_BYTES
from fleetctl.gateway.workers.carrying import held_share
from fleetctl.gateway.workers.watching import LOOK_EVERY_S, SILENT_LOOKS_MAX, Watch


class Process:
    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.calls = 0
        self.silent_looks = 0

    def call(self) -> None:
        self.calls += 1

    def turn(self) -> None:
        if self.answers:
            self.silent_looks = 0


def looked(watch: Watch, processes: list[Process], times: int) -> list[int]:
    """At which look somebody was silent, the first being 1."""
    found = []
    for look in range(1, times + 1):
        found += [look for _ in watch.silent(processes, watch.next_at)]
        for one in processes:
            one.turn()
    return found


def test_who_answers_is_well_and_is_asked_at_each_look() -> None:
    one = Process()

    assert looked(Watch(0.0), [one], 100) == []
    assert one.calls == 100


def test_who_does_not_is_found_after_so_many_looks_and_was_called_once() -> None:
    silent, well = Process(answers=False), Process()

    assert looked(Watch(0.0), [silent, well], SILENT_LOOKS_MAX + 1) == [SILENT_LOOKS_MAX + 1]
    assert silent.calls == 1, "a process that does not read is not written to"


def test_who_answers_late_is_not() -> None:
    one = Process(answers=False)
    watch = Watch(0.0)

    before = looked(watch, [one], SILENT_LOOKS_MAX)
    one.answers = True
    one.turn()

    assert before == looked(watch, [one], SILENT_LOOKS_MAX) == []


def test_time_in_which_nobody_looked_is_held_against_nobody() -> None:
    one = Process()
    watch = Watch(0.0)
    one.answers = False
    looked(watch, [one], 1)

    assert watch.silent([one], watch.next_at + 1000 * LOOK_EVERY_S) == []
    assert watch.silent([one], watch.next_at - 0.1) == [], "and not before the time"
    assert one.silent_looks == 2


@pytest.mark.parametrize(
    ("workers", "share"), [(2, HELD_LIMIT_BYTES // 2), (4, HELD_LIMIT_BYTES // 4), (64, BODY_LIMIT_BYTES)]
)
def test_workers_share_what_may_be_held_and_each_can_take_a_body(workers: int, share: int) -> None:
    assert held_share(workers) == share
