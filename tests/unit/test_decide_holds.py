"""Until when a count is held: the time that a Decision names is the one at which it lets go, and no other."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fleet_world import CLOUD, World, a_service, an_offer, scaled
from test_decide_scaling import NOON, SILENT, Story, load, service

from fleetctl.decide.counterfactuals import counterfactuals
from fleetctl.decide.limits import eases_at, rate_limited
from fleetctl.decide.scaling import decide
from fleetctl.decide.windows import lets_go_at
from fleetctl.model.decisions import Decision, Inputs, StageNote
from fleetctl.model.names import PoolName
from fleetctl.model.services import Behavior, Pool, RatePolicy, Schedule
from fleetctl.model.signals import Flow, Load, Unknown
from fleetctl.model.snapshots import Override
from fleetctl.views.holds import because, hold_lines, hold_of


def bound_by(decision: Decision) -> StageNote:
    (*_, found) = [note for note in decision.stages if note.stage == decision.binding]
    return found


def after_load(requests: float, **scaling: object) -> Story:
    """It carried that load for two minutes, and now there is none."""
    story = Story(service(**scaling), current=1)
    story.follow(load(requests), 120.0)
    return story


ONE_A_MINUTE = Behavior(policies=(RatePolicy(kind="replicas", value=1, period_s=60.0),))


@pytest.mark.parametrize(
    ("story", "seen", "binding"),
    [
        (after_load(50, scale_down_delay_s=60.0), load(0), "stabilised"),
        (after_load(15, up=Behavior(stabilization_s=30.0)), load(90), "stabilised"),
        (Story(service(up=ONE_A_MINUTE), current=3), load(90), "rates"),
        (after_load(90, down=ONE_A_MINUTE, min=1), load(0), "rates"),
        (after_load(5, idle_s=100.0), load(0), "zero"),
        (Story(service(), current=2), load(0), "override"),
        (Story(replace(service(), schedule=(Schedule(cron="0 8 * * *", tz="UTC", duration_s=15_000.0, min=4),))),
         load(0), "schedule"),
    ],
)  # fmt: skip
def test_a_hold_ends_when_it_says(story: Story, seen: Load, binding: str) -> None:
    if binding == "override":
        story.intent = replace(story.intent, override=Override(replicas=5, until=NOON + 90.0))
    if binding == "zero":
        story.current = 1
    for _ in range(60):  # until the mean over the window is down, where it has to be
        decision = story.decide(seen)
        if decision.binding == binding:
            break
        story.now += 2.0
    assert decision.binding == binding
    # What is taken at once counts for the next: it is done.
    story.current = held = decision.desired
    until = bound_by(decision).until
    assert until is not None and until > story.now

    story.now = until - 0.5
    before = story.decide(seen)
    story.now = until + 0.5
    after = story.decide(seen)

    assert before.desired == held
    assert after.desired != held


def test_failed_starts_say_when_the_next_try_is() -> None:
    story = Story(service(min=3), current=0)
    story.memory = replace(story.memory, failures=(NOON - 30.0, NOON - 20.0, NOON - 10.0))

    decision = story.decide(load(0))

    assert decision.binding == "failures"
    assert bound_by(decision).until == NOON + 20.0, "three failures: thirty seconds after the last"


@pytest.mark.parametrize(
    ("current", "behavior", "moves", "until", "why"),
    [
        (3, ONE_A_MINUTE, (), 160.0, "a move now is out of its period a minute later"),
        (3, ONE_A_MINUTE, ((70.0, 1),), 130.0, "one was made already"),
        (3, replace(ONE_A_MINUTE, select="disabled"), (), None, "never by itself"),
    ],
)
def test_rates_ease_when_a_period_is_over(
    current: int, behavior: Behavior, moves: tuple[tuple[float, int], ...], until: float | None, why: str
) -> None:
    allowed = rate_limited(current, 9, behavior, moves, 100.0)

    assert eases_at(current, allowed, behavior, moves, 100.0, up=True) == until, why


@pytest.mark.parametrize(
    ("history", "until", "why"),
    [
        (((0.0, 5), (10.0, 1)), 70.0, "it held until 10"),
        (((0.0, 5), (10.0, 1), (20.0, 6), (30.0, 2)), 90.0, "the last of those that hold"),
        (((0.0, 1),), None, "none holds"),
        (((0.0, 1), (10.0, 5)), None, "the newest holds still"),
    ],
)
def test_a_value_leaves_its_window(history: tuple[tuple[float, int], ...], until: float | None, why: str) -> None:
    assert lets_go_at(history, 60.0, lambda value: value >= 5) == until, why


# what binds, in words


@pytest.mark.parametrize(
    ("scaling", "current", "seen", "by", "sentence", "lift", "price"),
    [
        ({"max": 8}, 8, load(90), "max", "9 wanted, max 8 is the limit",
         "a higher scaling.max in the file of chat, then: fleetctl up", 1.5),
        ({"min": 2}, 3, load(0), "min", "0 wanted, min 2 is the limit",
         "a lower scaling.min in the file of chat, then: fleetctl up", None),
        ({"step": 4}, 8, load(50), "step", "5 wanted, 8 by whole steps",
         "another scaling.step in the file of chat, then: fleetctl up", None),
        ({"up": ONE_A_MINUTE}, 3, load(90), "rates", "9 wanted, 4 by behavior",
         "scaling.behavior.up in its file, then: fleetctl up", 1.5),
        ({}, 3, SILENT, "signal", "held at 3 by what is not known",
         "it ends when every replica tells its load again", None),
    ],
)  # fmt: skip
def test_the_limit_that_binds_is_named_with_what_lifts_it(
    scaling: dict[str, object], current: int, seen: Load | Unknown, by: str, sentence: str, lift: str,
    price: float | None,
) -> None:  # fmt: skip
    hold = hold_of(Story(service(**scaling), current=current).decide(seen))

    assert hold is not None
    assert (hold.by, hold.sentence, hold.lift, hold.next_per_hour) == (by, sentence, lift, price)


def test_a_wish_that_nothing_holds_has_no_hold() -> None:
    decision = Story(service(), current=3).decide(load(50))

    assert hold_of(decision) is None
    assert because(decision) == decision.reason
    assert hold_lines(decision, NOON) == []


@pytest.mark.parametrize(
    ("override", "lift", "says"),
    [
        (Override(replicas=5, held=True), "fleetctl resume chat", "held by hand at 5"),
        (Override(replicas=5), "fleetctl scale chat=auto", "set by hand to 5"),
    ],
)
def test_a_count_by_hand_says_how_it_is_handed_back(override: Override, lift: str, says: str) -> None:
    story = Story(service(), current=3)
    story.intent = replace(story.intent, override=override)

    decision = story.decide(load(10))

    hold = hold_of(decision)
    assert hold is not None
    assert (hold.lift, hold.sentence) == (lift, "1 wanted, 5 by hand")
    assert says in decision.reason


def test_a_count_by_hand_that_is_what_was_wanted_is_held_all_the_same() -> None:
    story = Story(service(), current=3)
    story.intent = replace(story.intent, override=Override(replicas=3, held=True))

    hold = hold_of(story.decide(load(30)))

    assert hold is not None
    assert (hold.sentence, hold.lift) == ("held at 3 by hand", "fleetctl resume chat")


def test_what_a_view_says_of_a_hold_has_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    __import__("time").tzset()
    story = Story(service(), current=3)
    story.intent = replace(story.intent, override=Override(replicas=5, until=NOON + 90.0))

    decision = story.decide(load(10))

    assert because(decision).endswith("; until 12:01:30")
    assert hold_lines(decision, NOON) == [
        "  limit     1 wanted, 5 by hand",
        "  until     12:01:30 (in 90s), if nothing else happens",
        "  lift it   fleetctl scale chat=auto",
    ]


# what a pool, a budget or a cloud does not give


def waiting(world: World) -> Decision:
    world.run(120.0)
    return world.decision()


def of_a_full_pool() -> World:
    pool = Pool(name=PoolName("gpus"), gpu=a_service().gpu, max=2)
    return World(scaled(a_service(pool=pool.name), min=3, max=3), pools=(pool,), offers=[an_offer(price=3.0)])


def of_a_poor_fleet() -> World:
    world = World(scaled(a_service(), min=3, max=3), offers=[an_offer(price=3.0)])
    world.max_cost_per_hour = 6.0
    return world


def of_nothing_offered() -> World:
    return World(scaled(a_service(), min=1, max=3), offers=[an_offer(gpu="H100")])


def of_a_spent_quota() -> World:
    world = World(scaled(a_service(), min=1, max=3), offers=[an_offer()])
    world.refusals[CLOUD] = ("quota", True)
    return world


@pytest.mark.parametrize(
    ("made", "by", "sentence", "says", "lift"),
    [
        (of_a_full_pool, "pool", "3 wanted, 2 by the pool", "1 of 3 wait: pool gpus has its max of 2 instances",
         "max of pool gpus in its file, then: fleetctl up"),
        (of_a_poor_fleet, "budget", "3 wanted, 2 by the budget", "the fleet's limit of $6/h",
         "max_cost_per_hour in kind: fleet, then: fleetctl up"),
        (of_nothing_offered, "capacity", "1 wanted, 0 by what is to be had", "nobody offers L40S:1 to pool chat",
         "gpu or placement in its file, then: fleetctl up"),
    ],
)  # fmt: skip
def test_what_keeps_a_machine_from_being_had_is_named(
    made: Callable[[], World], by: str, sentence: str, says: str, lift: str
) -> None:
    decision = waiting(made())

    hold = hold_of(decision)
    assert hold is not None
    assert (hold.by, hold.sentence, hold.lift, hold.keeps_down) == (by, sentence, lift, True)
    assert says in decision.reason


def test_a_spent_quota_is_named_with_the_next_try() -> None:
    world = of_a_spent_quota()
    found: list[Decision] = []
    for _ in range(120):
        world.run(2.0)
        if world.decision().binding == "quota":
            found.append(world.decision())

    assert found, "the place rests after each refusal"
    for decision in found:
        hold = hold_of(decision)
        assert hold is not None
        assert hold.sentence == "1 wanted, 0 by the quota"
        assert hold.until is not None and hold.until > decision.at
    assert hold_of(found[-1]).until > found[0].at  # type: ignore[union-attr, operator]


# what `auto` wants beyond its max


def test_auto_says_how_many_it_wanted_where_max_took_some() -> None:
    story = Story(scaled(a_service(), policy="auto", min=1, max=2, scale_down_delay_s=0.0), current=2)
    for _ in range(240):
        seen = Load(low=60.0, high=60.0, queued=40.0, oldest_wait_s=20.0, unknown=0, queue_known=True)
        inputs = Inputs(
            at=story.now,
            load=seen,
            current=2,
            ready=2,
            flow=Flow(span_s=2.0, arrivals=10.0, input_tokens=5000.0, output_tokens=1500.0, completed=10.0),
            price_per_replica=1.5,
        )
        decision, story.memory = decide(story.intent, inputs, story.memory)
        story.now += 2.0

    hold = hold_of(decision)
    assert hold is not None and hold.wanted is not None
    assert (decision.desired, decision.binding, hold.by, hold.next_per_hour) == (2, "limits", "max", 1.5)
    assert hold.wanted > 2
    assert hold.sentence == f"{hold.wanted} wanted, max 2 is the limit"
    assert decision.reason.startswith(f"{hold.wanted} wanted, and max is 2 (")
    assert "limited to" not in decision.reason, "it is said once"
    (without, *_) = counterfactuals(story.intent, inputs, story.memory)
    assert (without.without, without.desired) == ("max 2", hold.wanted)
