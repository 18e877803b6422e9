"""The engine that leaps gives the times of the engine that steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleetctl.rehearsal.batching import Batch, Pace, SequenceId
from fleetctl.sim.engine_model import EngineModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    at: float
    prompt: int
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    first: Mapping[int, float]
    last: Mapping[int, float]


def step_by_step(pace: Pace, coming: Sequence[Coming]) -> Times:
    """The rehearsal engine's own batch, one step after the other."""
    batch, now, place = Batch(pace), 0.0, 0
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    while True:
        while place < len(coming) and coming[place].at <= now + 1e-9:
            batch.submit(SequenceId(place), prompt_tokens=coming[place].prompt, output_tokens=coming[place].output)
            place += 1
        step = batch.begin(now)
        if step is None:
            if place == len(coming):
                return Times(first=first, last=last)
            now = coming[place].at
            continue
        for delivery in batch.finish(step):
            if delivery.number == 1:
                first[delivery.sequence] = step.ends_at
            if delivery.last:
                last[delivery.sequence] = step.ends_at
        now = step.ends_at


def leaping(pace: Pace, coming: Sequence[Coming]) -> tuple[Times, int]:
    """The same by the model, and in how many stretches."""
    engine, place, stretches = EngineModel(pace), 0, 0
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    while place < len(coming) or engine.next_at < inf:
        if place < len(coming) and coming[place].at <= engine.next_at + 1e-9:
            one = coming[place]
            engine.submit(one.at, place, one.prompt, one.output)
            place += 1
            together = place < len(coming) and coming[place].at == one.at
            if engine.next_at == inf and not together:
                engine.begin(one.at)
            continue
        now = engine.next_at
        began, done = engine.finish()
        first |= dict.fromkeys(began, now)
        last |= dict.fromkeys(done, now)
        engine.begin(now)
        stretches += 1
    return Times(first=first, last=last), stretches


PACES = st.builds(
    Pace,
    prefill_s_per_token=st.sampled_from([1.4e-4, 1e-3]),
    token_s=st.sampled_from([0.02, 0.05]),
    growth=st.sampled_from([0.0, 0.015, 0.1]),
    concurrency=st.just(100),
    prefill_chunk_tokens=st.sampled_from([64, 512, 2048]),
)
COMING = st.lists(
    st.builds(
        Coming,
        # Off the grid of step boundaries, where who comes first is a matter of the last bit.
        at=st.integers(0, 4000).map(lambda tick: tick * 0.00173 + 0.000317),
        prompt=st.integers(1, 6000),
        output=st.integers(1, 60),
    ),
    min_size=1,
    max_size=40,
).map(lambda coming: sorted(coming, key=lambda one: one.at))


@settings(deadline=None, max_examples=150)
@given(pace=PACES, coming=COMING)
@example(pace=Pace(), coming=[Coming(at=0.0, prompt=4096, output=1)])
@example(pace=Pace(), coming=[Coming(at=0.1, prompt=2048, output=5), Coming(at=0.1, prompt=1, output=1)])
@example(pace=Pace(), coming=[Coming(at=0.0, prompt=9, output=50), Coming(at=0.301, prompt=20_000, output=2)])
def test_the_times_are_those_of_the_step_by_step_engine(pace: Pace, coming: list[Coming]) -> None:
    wanted = step_by_step(pace, coming)

    times, _ = leaping(pace, coming)

    assert times.first == pytest.approx(wanted.first, abs=1e-6)
    assert times.last == pytest.approx(wanted.last, abs=1e-6)


def test_a_long_answer_costs_no_more_events_than_a_short_one() -> None:
    _, short = leaping(Pace(), [Coming(at=0.0, prompt=10, output=2)])

    _, long = leaping(Pace(), [Coming(at=0.0, prompt=10, output=100_000)])

    assert short == long == 2


def test_tokens_are_counted_while_they_are_made() -> None:
    engine = EngineModel(Pace(token_s=0.1, growth=0.0, prefill_s_per_token=0.0))
    engine.submit(0.0, 1, 10, 50)
    engine.begin(0.0)
    engine.finish()
    engine.begin(0.1)

    counts = [engine.generated(at) for at in (0.1, 0.19, 0.21, 1.05)]

    assert counts == [1, 1, 2, 10]


def test_whoever_is_thrown_out_is_named_and_gone() -> None:
    engine = EngineModel(Pace())
    engine.submit(0.0, 7, 10, 50)
    engine.begin(0.0)
    engine.finish()
    engine.submit(0.1, 8, 10, 50)

    thrown = engine.abort()

    assert sorted(thrown) == [7, 8]
    assert engine.in_flight == 0
    assert engine.next_at == inf
