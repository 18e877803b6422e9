"""From a load to a count: each stage, which of them binds, and what it says."""

from dataclasses import replace

import pytest
from fleet_world import a_service, scaled

from fleetctl.decide.scaling import decide, notes_of
from fleetctl.model.decisions import Decision, Inputs, Memory
from fleetctl.model.services import Behavior, ColdStart, RatePolicy, Schedule, Service
from fleetctl.model.signals import Load, Unknown
from fleetctl.model.snapshots import Intent, Override

NOON = 1_773_144_000.0
"""2026-03-10 12:00:00 UTC, a Tuesday."""
SILENT = Unknown(reason="nobody answers", since=0.0)


def load(requests: float, *, unknown: int = 0, queue_known: bool = True) -> Load:
    high = requests + unknown * 10.0
    return Load(low=requests, high=high, queued=0, oldest_wait_s=0.0, unknown=unknown, queue_known=queue_known)


class Story:
    """A Service, the time, and the Replicas that its Decisions lead to at once."""

    def __init__(self, service: Service, *, current: int = 0, at: float = NOON) -> None:
        self.intent = Intent(service=service, revision="r1", changed_at=at - 10_000.0)
        self.current = current
        self.ready: int | None = None
        """None: all of them."""
        self.now = at
        self.memory = Memory()

    def decide(self, seen: Load | Unknown) -> Decision:
        """One Decision now; nothing follows from it."""
        ready = self.current if self.ready is None else self.ready
        inputs = Inputs(
            at=self.now,
            load=seen if isinstance(seen, Load) else None,
            why_unknown=seen.reason if isinstance(seen, Unknown) else "",
            current=self.current,
            ready=ready,
            coming=self.current - ready,
            failures=self.memory.failures,
            price_per_replica=1.5,
        )
        decision, self.memory = decide(self.intent, inputs, self.memory)
        return decision

    def follow(self, seen: Load | Unknown, seconds: float) -> Decision:
        """The same load on every tick of two seconds, each Decision done at once; the last one."""
        decision = self.decide(seen)
        self.current = decision.desired
        for _ in range(int(seconds // 2)):
            self.now += 2.0
            decision = self.decide(seen)
            self.current = decision.desired
        return decision


def service(**scaling: object) -> Service:
    """Ten requests a replica; averages over ten seconds; nothing else slows it down."""
    calm: dict[str, object] = {
        "max": 20,
        "target": 1.0,
        "window_s": 10.0,
        "panic_threshold": 100.0,
        "tolerance": 0.0,
        "scale_down_delay_s": 0.0,
        "idle_s": 0.0,
    }
    return scaled(a_service(), **{**calm, **scaling})


# which stage binds


@pytest.mark.parametrize(
    ("scaling", "current", "seen", "desired", "binding", "says", "why"),
    [
        ({}, 3, load(50), 5, "target_concurrency", "÷ 10 a replica = 5", "the policy alone"),
        ({"max": 4}, 3, load(50), 4, "limits", "max is 4", "max"),
        ({"min": 2}, 3, load(0), 2, "limits", "min is 2", "min"),
        ({"step": 4}, 3, load(50), 7, "step", "steps of 4", "up in whole steps"),
        ({"step": 4, "max": 6}, 3, load(50), 6, "limits", "max is 6", "max over step"),
        ({"policy": "fixed", "replicas": 7}, 3, load(50), 7, "fixed", "fixed at 7", "a count stated in the file"),
        (
            {"up": Behavior(policies=(RatePolicy(kind="replicas", value=1, period_s=60.0),))},
            3,
            load(50),
            4,
            "rates",
            "the up behavior allows 4 for now",
            "one a minute",
        ),
        ({"idle_s": 20_000.0}, 1, load(0), 1, "zero", "without a request", "declared within idle_s"),
        ({}, 3, SILENT, 3, "signal", "hold: load unknown, nobody answers", "unknown holds"),
        ({"min": 4}, 3, SILENT, 4, "limits", "min is 4", "min holds whatever is known"),
        ({"max": 2}, 3, SILENT, 2, "limits", "max is 2", "so does max"),
        ({}, 3, load(5, queue_known=False), 3, "signal", "the gateway's queue is unknown", "a silent gateway may hold"),
        ({}, 3, load(45, queue_known=False), 5, "target_concurrency", "= 5", "and what is known may still add"),
    ],
)
def test_the_stage_that_sets_the_count_is_named(
    scaling: dict[str, object],
    current: int,
    seen: Load | Unknown,
    desired: int,
    binding: str,
    says: str,
    why: str,
) -> None:
    story = Story(service(**scaling), current=current)

    decision = story.decide(seen)

    assert (decision.desired, decision.binding) == (desired, binding), f"{why}: {notes_of(decision.stages)}"
    assert says in decision.reason
    assert decision.price_per_hour == desired * 1.5


def test_the_stages_tell_the_whole_way() -> None:
    story = Story(service(step=2, max=4), current=2)

    decision = story.decide(load(50))

    assert notes_of(decision.stages) == "target_concurrency 5 → rates 5 → step 6 → limits 4"


# stabilisation and delay


def test_down_waits_until_nothing_more_was_wanted_for_the_whole_delay() -> None:
    story = Story(service(scale_down_delay_s=60.0), current=5)
    story.follow(load(50), 20.0)

    soon = story.follow(load(20), 50.0)
    late = story.follow(load(20), 30.0)

    assert (soon.desired, soon.binding) == (5, "stabilised")
    assert "was still wanted within the last 60 s" in soon.reason
    assert late.desired == 2


def test_down_goes_only_to_the_largest_count_of_the_delay() -> None:
    story = Story(service(scale_down_delay_s=60.0), current=5)
    story.follow(load(50), 20.0)
    story.follow(load(30), 40.0)

    decision = story.follow(load(10), 38.0)

    assert decision.desired == 3  # 5 is more than a minute ago, 3 is not


def test_up_waits_where_up_is_stabilised() -> None:
    story = Story(service(up=Behavior(stabilization_s=30.0)), current=2)
    story.follow(load(20), 40.0)

    soon = story.follow(load(60), 20.0)
    late = story.follow(load(60), 30.0)

    assert (soon.desired, soon.binding) == (2, "stabilised")
    assert late.desired == 6


def test_rates_spread_a_rise_over_time() -> None:
    two_a_minute = Behavior(policies=(RatePolicy(kind="replicas", value=2, period_s=60.0),))
    story = Story(service(up=two_a_minute), current=2)

    counts = [story.follow(load(100), 28.0).desired for _ in range(4)]

    assert counts == [4, 4, 6, 6]


# zero


def test_to_zero_only_after_idle_s_without_any_request_and_back_at_the_first() -> None:
    story = Story(service(idle_s=60.0), current=1)
    story.follow(load(1), 20.0)

    waiting = story.follow(load(0), 50.0)
    asleep = story.follow(load(0), 12.0)
    awake = story.decide(load(1))

    assert (waiting.desired, waiting.binding) == (1, "zero")
    assert asleep.desired == 0
    assert awake.desired == 1


def test_idle_time_begins_when_the_first_replica_is_ready() -> None:
    story = Story(service(idle_s=60.0), current=1)
    story.ready = 0

    booting = story.follow(load(0), 600.0)
    story.ready = None
    ready = story.follow(load(0), 50.0)
    idle = story.follow(load(0), 12.0)

    assert (booting.desired, ready.desired, idle.desired) == (1, 1, 0)


# unknown


def test_silent_replicas_count_as_full_before_anything_is_taken_away() -> None:
    story = Story(service(), current=4)
    story.follow(load(20), 2.0)
    story.current = 4

    all_silent = story.decide(load(0, unknown=4))
    one_silent = story.decide(load(15, unknown=1))

    assert all_silent.desired == 4
    assert "may be full" in all_silent.reason
    assert one_silent.desired == 3  # fifteen, and ten that nobody sees


def test_an_outage_of_all_signals_holds_however_long_it_lasts() -> None:
    story = Story(service(), current=5)
    story.follow(load(50), 20.0)

    decision = story.follow(SILENT, 10_000.0)

    assert decision.desired == 5


# by hand


def test_an_override_holds_until_it_expires() -> None:
    story = Story(service(), current=3)
    story.intent = replace(story.intent, override=Override(replicas=8, until=story.now + 60.0))

    during = story.follow(load(30), 40.0)
    after = story.follow(load(30), 30.0)

    assert (during.desired, during.binding) == (8, "override")
    assert "set by hand to 8" in during.reason
    assert (after.desired, after.binding) == (3, "target_concurrency")


@pytest.mark.parametrize(
    ("replicas", "desired", "binding", "why"),
    [
        (8, 8, "override", "no rates, no steps: a person has decided"),
        (0, 0, "override", "below min too"),
        (50, 20, "limits", "max is the most anyone may order"),
    ],
)
def test_an_override_knows_no_limit_but_max(replicas: int, desired: int, binding: str, why: str) -> None:
    one_a_minute = Behavior(policies=(RatePolicy(kind="replicas", value=1, period_s=60.0),))
    story = Story(service(min=1, step=3, up=one_a_minute, down=one_a_minute), current=3)
    story.intent = replace(story.intent, override=Override(replicas=replicas))

    decision = story.decide(SILENT)

    assert (decision.desired, decision.binding) == (desired, binding), why


def test_a_service_that_is_down_has_none() -> None:
    story = Story(service(min=2), current=3)
    story.intent = replace(story.intent, up=False)

    decision = story.decide(load(100))

    assert (decision.desired, decision.binding, decision.reason) == (0, "intent", "the service is down")


# schedules

OFFICE = Schedule(cron="0 8 * * mon-fri", tz="Europe/Berlin", duration_s=10 * 3600.0, min=4)
NIGHT = Schedule(cron="0 22 * * *", tz="UTC", duration_s=8 * 3600.0, max=2)


@pytest.mark.parametrize(
    ("at", "requests", "desired", "why"),
    [
        ("2026-03-10T06:59:00+00:00", 0, 0, "Tuesday 07:59 in Berlin"),
        ("2026-03-10T07:00:00+00:00", 0, 4, "08:00 in Berlin"),
        ("2026-03-10T16:59:00+00:00", 0, 4, "17:59 in Berlin"),
        ("2026-03-10T17:00:00+00:00", 0, 0, "18:00: ten hours are over"),
        ("2026-03-10T12:00:00+00:00", 70, 7, "a floor is no ceiling"),
        ("2026-03-14T12:00:00+00:00", 0, 0, "a Saturday"),
        ("2026-03-30T06:00:00+00:00", 0, 4, "the Monday after the clocks went forward: 08:00 is an hour earlier"),
        ("2026-03-30T05:59:00+00:00", 0, 0, "and a minute before it is not"),
        ("2026-10-26T06:59:00+00:00", 0, 0, "the Monday after they went back: 07:59"),
        ("2026-10-26T07:00:00+00:00", 0, 4, "08:00 is an hour later again"),
        ("2026-03-10T23:00:00+00:00", 70, 2, "the night's ceiling"),
        ("2026-03-11T05:59:00+00:00", 70, 2, "eight hours long, past midnight"),
    ],
)
def test_schedules_hold_in_their_own_time_zone(at: str, requests: int, desired: int, why: str) -> None:
    from datetime import datetime

    quick = replace(service(), schedule=(OFFICE, NIGHT), cold_start=ColdStart(cold_s=30.0))
    story = Story(quick, at=datetime.fromisoformat(at).timestamp())

    decision = story.decide(load(requests))

    assert decision.desired == desired, f"{why}: {decision.reason}"


def test_a_floor_above_a_ceiling_wins_and_the_highest_floor_of_several() -> None:
    always = Schedule(cron="* * * * *", duration_s=120.0)
    floors = (replace(always, min=2), replace(always, min=5), replace(always, max=3))
    story = Story(replace(service(), schedule=floors))

    decision = story.decide(load(0))

    assert (decision.desired, decision.binding) == (5, "schedule")
    assert "floor 5" in decision.reason


def test_a_floor_raises_at_once_and_a_ceiling_lowers_even_when_nothing_is_known() -> None:
    night = replace(NIGHT, cron="0 11 * * *")
    story = Story(replace(service(), schedule=(night,)), current=6)

    assert story.decide(SILENT).desired == 2


# failures


def failed(story: Story, times: int) -> None:
    story.memory = replace(story.memory, failures=(*story.memory.failures, *([story.now] * times)))


@pytest.mark.parametrize(
    ("failures", "ago_s", "desired", "why"),
    [
        (2, 0.0, 5, "two may be the machines'"),
        (3, 0.0, 2, "three are held back for 30 s"),
        (3, 29.0, 2, "still"),
        (3, 31.0, 3, "then one is tried"),
        (4, 31.0, 2, "the fourth doubles the pause"),
        (4, 61.0, 3, "to a minute"),
        (12, 599.0, 2, "at most ten minutes"),
        (12, 601.0, 3, "not more"),
        (12, 3601.0, 5, "an hour later they are forgotten"),
    ],
)
def test_replicas_that_never_get_ready_are_tried_ever_more_rarely(
    failures: int, ago_s: float, desired: int, why: str
) -> None:
    story = Story(service(), current=2)
    failed(story, failures)
    story.now += ago_s

    decision = story.decide(load(50))

    assert decision.desired == desired, f"{why}: {decision.reason}"
    assert (decision.binding == "failures") is (desired != 5)


def test_only_one_is_tried_at_a_time() -> None:
    story = Story(service(), current=2)
    failed(story, 3)
    story.now += 31.0
    story.current, story.ready = story.decide(load(50)).desired, 2

    story.now += 2.0
    decision = story.decide(load(50))

    assert decision.desired == 3
    assert "one more is being tried" in decision.reason


def test_a_count_set_by_hand_is_held_back_too() -> None:
    story = Story(service(), current=2)
    story.intent = replace(story.intent, override=Override(replicas=9))
    failed(story, 3)

    assert story.decide(load(0)).desired == 2
