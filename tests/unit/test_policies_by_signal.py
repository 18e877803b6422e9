"""The policies that go by one signal each: what they want at a moment, and what none of them may ever do."""

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from fleet_world import START, a_service, scaled
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.policies import View, Wish, policy, policy_names
from fleetctl.decide.scaling import decide
from fleetctl.decide.windows import push
from fleetctl.model.decisions import Decision, Inputs, Memory
from fleetctl.model.services import ColdStart, Service, Slo
from fleetctl.model.signals import Flow, Histogram, Load, Utilization
from fleetctl.model.snapshots import Intent

BOUNDS_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TICK_S = 2.0


def taken(*counts: float) -> Histogram:
    """Requests by how long they took; the rest of the buckets are empty."""
    return Histogram(bounds_s=BOUNDS_S, counts=(*counts, *(0.0,) * (len(BOUNDS_S) + 1 - len(counts))))


class Story:
    """One policy, its service, the time, and what it remembers."""

    def __init__(self, name: str, *, ready: int = 3, starting: int = 0, **scaling: object) -> None:
        self.name = name
        settings: dict[str, object] = {"policy": name, "window_s": 10.0, "tolerance": 0.1, "max": 50, **scaling}
        self.service: Service = scaled(a_service(slo=Slo(ttft_s=5.0, percentile=90.0)), **settings)
        self.ready, self.starting = ready, starting
        self.now = START
        self.memory = Memory()

    def tick(self, **seen: Any) -> Wish:
        """The wish at a load of `running`, `queued`, …, two seconds later."""
        self.now += TICK_S
        queued, running = seen.get("queued", 0.0), seen.get("running", 0.0)
        low = queued + running
        load = Load(low=low, high=low, queued=queued, oldest_wait_s=seen.get("oldest", 0.0), unknown=0, waiting=0.0)
        self.memory = replace(self.memory, load=push(self.memory.load, self.now, low, keep_s=60.0))
        inputs = Inputs(
            at=self.now,
            load=load,
            current=self.ready + self.starting,
            ready=self.ready,
            flow=replace(seen.get("flow", Flow()), span_s=TICK_S),
            utilization=seen.get("utilization"),
        )
        wish = policy(self.name)(View(service=self.service, inputs=inputs, load=load, memory=self.memory))
        self.memory = wish.memory
        return wish

    def hold(self, seconds: float, **seen: Any) -> Wish:
        wish = self.tick(**seen)
        for _ in range(int(seconds / TICK_S) - 1):
            wish = self.tick(**seen)
        return wish


# queue_depth: ten requests a batch, five may wait for each


@pytest.mark.parametrize(
    ("ready", "starting", "queued", "running", "expected", "why"),
    [
        (3, 0, 0, 30, 3, "all batches are full and nothing waits: nobody is spare"),
        (3, 0, 0, 11, 2, "two hold what runs"),
        (3, 0, 15, 30, 3, "five for each of three may wait"),
        (3, 0, 16, 30, 4, "one too many"),
        (3, 0, 45, 30, 5, "30 too many, 15 for each further replica"),
        (3, 2, 45, 30, 5, "those on their way take them: nothing is ordered twice"),
        (3, 2, 46, 30, 6, "but for one more"),
        (0, 0, 1, 0, 1, "from zero at the first"),
        (0, 3, 40, 0, 3, "three take thirty, and ten may wait"),
        (3, 0, 0, 0, 0, "nobody is there"),
    ],
)
def test_queue_depth(ready: int, starting: int, queued: float, running: float, expected: int, why: str) -> None:
    story = Story("queue_depth", ready=ready, starting=starting)

    assert story.hold(20.0, queued=queued, running=running).replicas == expected, why


def test_a_queue_that_waits_inside_engines_counts_too() -> None:
    story = Story("queue_depth")
    load = Load(low=60.0, high=60.0, queued=10.0, oldest_wait_s=0.0, unknown=0, waiting=20.0)
    inputs = Inputs(at=story.now, load=load, current=3, ready=3)

    wish = policy("queue_depth")(View(service=story.service, inputs=inputs, load=load, memory=Memory()))

    assert wish.replicas == 4
    assert "30.0 queued" in wish.reason


# rates


def test_requests_per_second_divides_what_arrives() -> None:
    story = Story("requests_per_second", requests_per_second=2.0)

    assert story.hold(20.0, flow=Flow(arrivals=14.0)).replicas == 4  # 7 a second
    assert story.hold(20.0, flow=Flow(arrivals=12.6)).replicas == 3, "6.3 a second is within the tolerance of 3 × 2"
    assert story.hold(20.0, flow=Flow(arrivals=0.0)).replicas == 0


def test_a_rate_is_averaged_over_the_window() -> None:
    story = Story("requests_per_second", requests_per_second=2.0)
    story.hold(20.0, flow=Flow(arrivals=12.0))

    spike = story.tick(flow=Flow(arrivals=40.0))

    assert spike.replicas == 5  # (4 × 6 + 20) ÷ 5 = 8.8 a second


@pytest.mark.parametrize("name", ["requests_per_second", "tokens_per_second"])
def test_a_rate_that_is_not_counted_takes_nothing_away(name: str) -> None:
    story = Story(name, **{name: 10.0})
    known = Flow(arrivals=0.0, input_tokens=0.0, output_tokens=0.0, completed=0.0)

    never = story.tick()
    story.hold(20.0, flow=known)
    lost = story.tick()

    assert never.why_unknown
    assert never.replicas == 3
    assert lost.why_unknown


def test_tokens_are_those_that_are_asked_for_and_not_those_that_full_engines_write() -> None:
    story = Story("tokens_per_second", tokens_per_second=100.0)
    keeping_up = Flow(arrivals=2.0, input_tokens=200.0, output_tokens=400.0, completed=2.0)
    saturated = Flow(arrivals=6.0, input_tokens=600.0, output_tokens=400.0, completed=2.0)

    even = story.hold(20.0, flow=keeping_up)
    more = story.hold(20.0, flow=saturated)

    assert even.replicas == 3  # (200 + 400) ÷ 2 s ÷ 100
    assert more.replicas == 9  # three times as many of the same length, whatever is written now


# latency_slo: 90 % within 5 s


def test_latency_within_the_promise_and_full_batches_hold() -> None:
    story = Story("latency_slo")

    assert story.hold(10.0, running=30.0, flow=Flow(ttft=taken(0, 0, 10))).replicas == 3


def test_a_broken_promise_wants_more_by_the_ratio_and_at_most_twice_as_many() -> None:
    slightly, badly = Story("latency_slo"), Story("latency_slo")

    some = slightly.hold(10.0, running=30.0, flow=Flow(ttft=taken(0, 0, 0, 8, 2)))
    many = badly.hold(10.0, running=30.0, flow=Flow(ttft=taken(0, 0, 0, 0, 0, 10)))

    assert some.replicas == 5  # nine in ten within 7.5 s: half as many again
    assert many.replicas == 6


def test_what_is_on_its_way_is_not_ordered_again_however_long_it_boots() -> None:
    story = Story("latency_slo", starting=3)

    wish = story.hold(300.0, running=30.0, queued=200.0, oldest=120.0, flow=Flow(ttft=taken(0, 0, 0, 0, 0, 10)))

    assert wish.replicas == 6
    assert "on their way" in wish.reason


def test_answers_to_requests_that_came_before_the_fleet_grew_order_nothing() -> None:
    story = Story("latency_slo", starting=3)
    slow = Flow(ttft=taken(0, 0, 0, 0, 0, 10))
    story.hold(60.0, running=30.0, queued=200.0, oldest=60.0, flow=slow)

    story.ready, story.starting = 6, 0
    wish = story.hold(8.0, running=60.0, queued=150.0, oldest=70.0, flow=slow)

    assert wish.replicas == 6, wish.reason


def test_a_queue_that_will_be_gone_before_a_replica_could_help_is_waited_out() -> None:
    story = Story("latency_slo", window_s=20.0)
    story.service = replace(story.service, cold_start=ColdStart(cold_s=270.0))
    for queued in range(100, 60, -4):
        wish = story.tick(running=30.0, queued=float(queued), flow=Flow(ttft=taken(0, 0, 0, 0, 10)))

    assert wish.replicas == 3
    assert "the queue will be gone in" in wish.reason


def test_who_waits_too_long_counts_before_anybody_is_answered() -> None:
    story = Story("latency_slo")

    wish = story.tick(running=30.0, queued=50.0, oldest=7.5)

    assert wish.replicas == 5
    assert "has waited 7.5 s" in wish.reason


def test_far_below_the_promise_it_goes_down_to_what_the_requests_fill() -> None:
    story = Story("latency_slo", ready=10, target=0.7)

    wish = story.hold(20.0, running=28.0, flow=Flow(ttft=taken(10)))

    assert wish.replicas == 4  # 28 ÷ 7, though a tenth of the promise would let one do


def test_whole_answers_are_another_latency() -> None:
    story = Story("latency_slo", latency_of="end_to_end", latency_s=20.0)
    flow = Flow(ttft=taken(10), end_to_end=taken(0, 0, 0, 0, 0, 10))

    assert story.hold(10.0, running=30.0, flow=flow).replicas == 5  # nine in ten within 28 s


def test_latencies_that_cannot_be_read_take_nothing_away_but_nobody_at_all_may_go() -> None:
    story = Story("latency_slo")

    unread = story.hold(10.0, running=1.0)
    nobody = story.hold(20.0)

    assert unread.why_unknown
    assert (nobody.replicas, nobody.why_unknown) == (0, "")


def test_a_percentile_that_a_line_tells_is_taken_as_it_is() -> None:
    story = Story("latency_slo")

    assert story.hold(10.0, running=30.0, flow=Flow(ttft_s=7.5)).replicas == 5


# gpu_utilization: 70 %


@pytest.mark.parametrize(
    ("share", "running", "expected", "why"),
    [
        (0.7, 20, 3, "as aimed at"),
        (0.95, 30, 5, "3 × 0.95 ÷ 0.7"),
        (0.3, 5, 2, "3 × 0.3 ÷ 0.7"),
        (0.1, 25, 3, "idle GPUs or not, 25 requests fill three"),
        (1.0, 3, 3, "each of three has one request: a fourth would have none"),
        (0.0, 0, 0, "nothing to do"),
    ],
)
def test_gpu_utilization(share: float, running: float, expected: int, why: str) -> None:
    story = Story("gpu_utilization")
    seen = Utilization(low=share, high=share)

    assert story.hold(20.0, running=running, utilization=seen).replicas == expected, why


def test_gpus_that_nobody_tells_of_take_nothing_away() -> None:
    story = Story("gpu_utilization")

    assert story.tick(running=1.0).why_unknown
    assert story.tick(running=1.0, utilization=Utilization(low=0.1, high=0.4, unknown=1)).why_unknown


def test_schedule_wants_min_whatever_comes() -> None:
    assert Story("schedule", min=2).tick(queued=500.0).replicas == 2


# auto: what it cannot know, it holds


def test_a_hold_is_of_what_there_is_now_and_not_of_what_there_was_at_its_last_step() -> None:
    story = Story("auto", min=0)
    held = [story.tick(running=1.0)]

    for ready in (0, 5, 1, 1, 7, 0):
        story.ready = ready
        held.append(story.tick(running=1.0))

    assert [wish.replicas for wish in held] == [3, 0, 5, 1, 1, 7, 0]
    assert {wish.binding for wish in held} == {"signal"}


def test_a_hold_stays_within_the_limits() -> None:
    story = Story("auto", min=2, max=4)
    story.tick(running=1.0)

    story.ready = 0
    fewest = story.tick(running=1.0)
    story.ready = 9
    most = story.tick(running=1.0)

    assert (fewest.replicas, most.replicas) == (2, 4)


# laws of them all

NAMES = (
    *("auto", "target_concurrency", "queue_depth", "requests_per_second", "tokens_per_second"),
    *("latency_slo", "gpu_utilization", "schedule", "fixed"),
)
AMOUNTS = st.floats(0, 500, allow_nan=False)


@st.composite
def moments(draw: st.DrawFn) -> tuple[float, float, float, float, tuple[float, ...], float]:
    """Running, queued, arrivals, tokens, latencies and utilisation."""
    return (
        draw(AMOUNTS),
        draw(AMOUNTS),
        draw(AMOUNTS),
        draw(AMOUNTS),
        tuple(draw(st.lists(st.integers(0, 50), min_size=7, max_size=7))),
        draw(st.floats(0, 1)),
    )


Moment = tuple[float, float, float, float, tuple[float, ...], float]


def service(name: str, **more: object) -> Service:
    scaling: dict[str, object] = {
        "policy": name,
        "min": 1,
        "max": 40,
        "requests_per_second": 3.0,
        "tokens_per_second": 50.0,
        "window_s": 10.0,
        "scale_down_delay_s": 0.0,
        "replicas": 7 if name == "fixed" else None,
        **more,
    }
    return scaled(a_service(), **scaling)


def inputs_of(moment: Moment, *, at: float, current: int, ready: int, known: bool = True) -> Inputs:
    running, queued, arrivals, tokens, counts, share = moment
    load = Load(low=running + queued, high=running + queued, queued=queued, oldest_wait_s=0.0, unknown=0)
    flow = Flow(
        span_s=TICK_S,
        arrivals=arrivals,
        input_tokens=tokens,
        output_tokens=tokens,
        completed=arrivals,
        ttft=Histogram(bounds_s=BOUNDS_S, counts=tuple(map(float, counts))),
    )
    return Inputs(
        at=at,
        load=load if known else None,
        why_unknown="" if known else "nobody answers",
        current=current,
        ready=ready,
        flow=flow if known else Flow(span_s=TICK_S),
        utilization=Utilization(low=share, high=share) if known else None,
    )


def played(of: Service, story: list[Moment], *, cut: int | None = None) -> list[Decision]:
    """Every Decision, each followed at once; at `cut` the memory goes through the store's encoding."""
    memory, current, made = Memory(), 3, []
    for place, moment in enumerate(story):
        inputs = inputs_of(moment, at=START + TICK_S * place, current=current, ready=max(1, current - place % 3))
        decision, memory = decide(Intent(service=of, revision="r", changed_at=START - 1e6), inputs, memory)
        if place == cut:
            memory = msgspec.json.decode(msgspec.json.encode(memory), type=Memory)
        current = decision.desired
        made.append(decision)
    return made


@pytest.mark.parametrize("name", NAMES)
@given(story=st.lists(moments(), min_size=1, max_size=12), cut=st.integers(0, 11))
@settings(max_examples=40, deadline=None)
def test_within_limits_deterministic_and_restart_proof(name: str, story: list[Moment], cut: int) -> None:
    of = service(name)

    straight = played(of, story)

    assert all(1 <= decision.desired <= 40 for decision in straight)
    assert straight == played(of, story)
    assert straight == played(of, story, cut=cut)


QUIET: Moment = (0.0, 0.0, 0.0, 0.0, (0.0,) * 7, 0.0)
BUSY: Moment = (40.0, 30.0, 12.0, 4000.0, (1.0,) * 7, 0.9)


@pytest.mark.parametrize("least", [0, 1])
@pytest.mark.parametrize("begun_with", [0, 3])
@pytest.mark.parametrize("name", policy_names())
def test_every_part_of_a_reason_says_something(name: str, begun_with: int, least: int) -> None:
    of = service(name, min=least)
    story = [*[QUIET] * 20, *[BUSY] * 20, *[QUIET] * 40]
    memory, current, made = Memory(), begun_with, []
    for place, moment in enumerate(story):
        known = place % 9 != 8
        inputs = inputs_of(moment, at=START + TICK_S * place, current=current, ready=current, known=known)
        decision, memory = decide(Intent(service=of, revision="r", changed_at=START - 1e6), inputs, memory)
        current = decision.desired
        made.append(decision)

    reasons = {decision.reason for decision in made}

    assert len(made) == len(story)
    for reason in reasons:
        assert all(part.strip(" .)") for part in re.split("[;:,(]", reason)), reason


@pytest.mark.parametrize("name", NAMES)
@given(story=st.lists(moments(), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_an_unknown_moment_takes_nothing_away(name: str, story: list[Moment]) -> None:
    of = service(name)
    memory, intent = Memory(), Intent(service=of, revision="r", changed_at=START - 1e6)
    for place, moment in enumerate(story):
        inputs = inputs_of(moment, at=START + TICK_S * place, current=9, ready=9)
        _, memory = decide(intent, inputs, memory)

    at = START + TICK_S * len(story)
    blind, _ = decide(intent, inputs_of(story[0], at=at, current=9, ready=9, known=False), memory)

    assert blind.desired >= 9


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("target_concurrency", 0),
        ("queue_depth", 0),
        ("queue_depth", 1),
        ("requests_per_second", 2),
        ("tokens_per_second", 3),
        ("latency_slo", 0),
        ("gpu_utilization", 0),
        ("gpu_utilization", 5),
    ],
)
@given(moment=moments(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_more_load_never_wants_fewer(name: str, place: int, moment: Moment, data: st.DataObject) -> None:
    more = data.draw(st.floats(0, 1 - moment[5]) if place == 5 else AMOUNTS)
    heavier = tuple(value + more if at == place else value for at, value in enumerate(moment))
    ready = data.draw(st.integers(1, 12))
    of = service(name, tolerance=0.0, panic_threshold=1000.0)

    def wanted(seen: Any) -> int:
        inputs = inputs_of(seen, at=START, current=ready, ready=ready)
        return decide(Intent(service=of, revision="r", changed_at=START - 1e6), inputs, Memory())[0].desired

    assert wanted(heavier) >= wanted(moment)
