"""The rehearsal engine's core: who is in the batch, how long a step takes, who gets a token."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.rehearsal.batching import Batch, Delivery, Pace, SequenceId, Step

PACE = Pace(prefill_s_per_token=0.001, token_s=0.02, growth=0.1, concurrency=4, prefill_chunk_tokens=100)

A, B, C = SequenceId(1), SequenceId(2), SequenceId(3)

ROUNDS_MAX = 10_000
"""More than any play below needs; a batch that never empties fails instead of hanging."""


def play(batch: Batch, *, now: float = 0.0) -> list[tuple[float, Delivery]]:
    """Everything that the batch delivers until it is idle, with the time of each delivery."""
    delivered: list[tuple[float, Delivery]] = []
    for _ in range(ROUNDS_MAX):
        step = batch.begin(now)
        if step is None:
            return delivered
        now = step.ends_at
        delivered += [(now, delivery) for delivery in batch.finish(step)]
    raise AssertionError("the batch does not come to rest")


def step_of(batch: Batch, now: float = 0.0) -> Step:
    step = batch.begin(now)
    assert step is not None
    return step


@pytest.mark.parametrize(
    ("batch", "prefill_tokens", "expected_s", "reason"),
    [
        (1, 0, 0.02, "one sequence decodes at the pace of a token"),
        (2, 0, 0.022, "a second one lengthens the step by one growth"),
        (4, 0, 0.026, "growth is linear in the batch"),
        (1, 100, 0.12, "prompt tokens are read one after the other, on top"),
        (4, 50, 0.076, "both add up"),
    ],
)
def test_a_step_lasts(batch: int, prefill_tokens: int, expected_s: float, reason: str) -> None:
    assert PACE.step_s(batch=batch, prefill_tokens=prefill_tokens) == pytest.approx(expected_s), reason


def test_speed_divides_every_duration_and_nothing_else() -> None:
    fast = PACE.faster(10)

    assert fast.step_s(batch=3, prefill_tokens=70) == pytest.approx(PACE.step_s(batch=3, prefill_tokens=70) / 10)
    assert (fast.growth, fast.concurrency, fast.prefill_chunk_tokens) == (0.1, 4, 100)


@pytest.mark.parametrize(
    ("prompt_tokens", "first_s", "reason"),
    [
        (1, 0.021, "one step"),
        (100, 0.12, "a prompt of just one chunk is read in one step"),
        (101, 0.141, "one token more costs another step"),
        (250, 0.31, "three chunks, three steps"),
    ],
)
def test_the_first_token_comes_at_the_end_of_the_prompts_last_chunk(
    prompt_tokens: int, first_s: float, reason: str
) -> None:
    batch = Batch(PACE)
    batch.submit(A, prompt_tokens=prompt_tokens, output_tokens=3)

    times = [at for at, _ in play(batch)]

    assert times == pytest.approx([first_s, first_s + 0.02, first_s + 0.04]), reason


def test_an_empty_batch_has_no_step() -> None:
    assert Batch(PACE).begin(0.0) is None


def test_a_sequence_that_comes_during_a_step_waits_for_the_next() -> None:
    batch = Batch(PACE)
    batch.submit(A, prompt_tokens=1, output_tokens=2)
    step = step_of(batch)
    batch.submit(B, prompt_tokens=1, output_tokens=1)

    first = batch.finish(step)
    second = batch.finish(step_of(batch))

    assert [each.sequence for each in first] == [A]
    assert [each.sequence for each in second] == [A, B]


def test_who_comes_first_is_let_in_first_and_the_rest_wait() -> None:
    batch = Batch(PACE)
    ids = [SequenceId(number) for number in range(1, 8)]
    for each in ids:
        batch.submit(each, prompt_tokens=1, output_tokens=1)

    step = step_of(batch)

    assert list(step.shares) == ids[:4]
    assert (batch.running, batch.waiting) == (4, 3)


def test_a_seat_that_falls_free_is_taken_in_the_next_step() -> None:
    batch = Batch(Pace(concurrency=1))
    batch.submit(A, prompt_tokens=1, output_tokens=2)
    batch.submit(B, prompt_tokens=1, output_tokens=1)

    order = [(delivery.sequence, delivery.number, delivery.last) for _, delivery in play(batch)]

    assert order == [(A, 1, False), (A, 2, True), (B, 1, True)]


def test_a_long_prompt_makes_others_tokens_late_but_does_not_stop_them() -> None:
    batch = Batch(PACE)
    batch.submit(A, prompt_tokens=1, output_tokens=10)
    alone = step_of(batch)
    batch.finish(alone)
    batch.submit(B, prompt_tokens=300, output_tokens=1)

    times = [at for at, delivery in play(batch) if delivery.sequence == A]

    gaps = [late - early for early, late in pairwise(times)]
    assert times[0] == pytest.approx(0.122)
    assert gaps == pytest.approx([0.122, 0.122, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02])


def test_prompts_share_the_tokens_of_a_step_in_order_of_arrival() -> None:
    batch = Batch(PACE)
    for each, prompt_tokens in ((A, 60), (B, 60), (C, 60)):
        batch.submit(each, prompt_tokens=prompt_tokens, output_tokens=5)

    first = step_of(batch)
    waiting = batch.waiting
    batch.finish(first)
    second = step_of(batch)

    assert first.shares == {A: 60, B: 40}
    assert waiting == 1, "nothing is left of the step for the third, so it waits although there is a seat"
    assert second.shares == {B: 20, C: 60}


def test_an_aborted_sequence_is_gone_from_the_queue() -> None:
    batch = Batch(Pace(concurrency=1))
    batch.submit(A, prompt_tokens=1, output_tokens=1)
    batch.submit(B, prompt_tokens=1, output_tokens=1)

    assert batch.abort(B)

    assert [delivery.sequence for _, delivery in play(batch)] == [A]


def test_an_aborted_sequence_leaves_its_seat_at_once_and_gets_nothing_from_the_step_under_way() -> None:
    batch = Batch(Pace(concurrency=1))
    batch.submit(A, prompt_tokens=1, output_tokens=5)
    batch.submit(B, prompt_tokens=1, output_tokens=1)
    step = step_of(batch)

    assert batch.abort(A)

    assert batch.running == 0
    assert batch.finish(step) == ()
    assert list(step_of(batch).shares) == [B]


def test_aborting_what_is_done_or_unknown_does_nothing() -> None:
    batch = Batch(PACE)
    batch.submit(A, prompt_tokens=1, output_tokens=1)
    play(batch)

    assert not batch.abort(A)
    assert not batch.abort(B)


def test_tokens_are_held_from_reading_until_the_sequence_ends() -> None:
    batch = Batch(PACE)
    batch.submit(A, prompt_tokens=150, output_tokens=2)

    held = []
    for _ in range(3):
        batch.finish(step_of(batch))
        held.append(batch.held_tokens)

    assert held == [100, 151, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a made-up traffic. Counts are in steps of the engine."""

    arrives_after: int
    """Steps after the visit before."""
    prompt_tokens: int
    output_tokens: int
    leaves_after: int | None
    """Steps after its arrival at which it is aborted, in the middle of the step."""


visits = st.lists(
    st.builds(
        Visit,
        arrives_after=st.integers(0, 4),
        prompt_tokens=st.integers(1, 60),
        output_tokens=st.integers(1, 12),
        leaves_after=st.none() | st.integers(0, 12),
    ),
    max_size=25,
)

paces = st.builds(
    Pace,
    prefill_s_per_token=st.floats(0, 0.01),
    token_s=st.floats(1e-4, 0.1),
    growth=st.floats(0, 0.5),
    concurrency=st.integers(1, 6),
    prefill_chunk_tokens=st.integers(1, 40),
)


@given(pace=paces, traffic=visits)
def test_every_token_comes_exactly_once_and_the_limits_hold(pace: Pace, traffic: list[Visit]) -> None:
    batch = Batch(pace)
    arrivals: dict[int, list[SequenceId]] = {}
    leavings: dict[int, list[SequenceId]] = {}
    asked: dict[SequenceId, Visit] = {}
    arrival = 0
    for number, visit in enumerate(traffic):
        arrival += visit.arrives_after
        asked[SequenceId(number)] = visit
        arrivals.setdefault(arrival, []).append(SequenceId(number))
        if visit.leaves_after is not None:
            leavings.setdefault(arrival + visit.leaves_after, []).append(SequenceId(number))
    got: dict[SequenceId, list[Delivery]] = {each: [] for each in asked}
    read: dict[SequenceId, int] = dict.fromkeys(asked, 0)
    let_in: list[SequenceId] = []
    aborted: set[SequenceId] = set()
    now = 0.0

    for round_number in range(ROUNDS_MAX):
        for each in arrivals.pop(round_number, []):
            visit = asked[each]
            batch.submit(each, prompt_tokens=visit.prompt_tokens, output_tokens=visit.output_tokens)
        step = batch.begin(now)
        if step is None and not arrivals and not leavings:
            break
        if step is not None:
            assert step.batch == batch.running <= pace.concurrency
            assert step.prefill_tokens <= pace.prefill_chunk_tokens
            full = batch.running == pace.concurrency or step.prefill_tokens == pace.prefill_chunk_tokens
            assert full or not batch.waiting, "nobody waits while there is room"
            expected_s = pace.step_s(batch=step.batch, prefill_tokens=step.prefill_tokens)
            assert step.ends_at == now + expected_s
            let_in += [each for each in step.shares if not read[each]]
            for each, tokens in step.shares.items():
                read[each] += tokens
            now = step.ends_at
        for each in leavings.pop(round_number, []):
            if batch.abort(each):
                aborted.add(each)
        for delivery in batch.finish(step) if step is not None else ():
            assert delivery.sequence not in aborted
            assert read[delivery.sequence] == asked[delivery.sequence].prompt_tokens, "no token before the whole prompt"
            got[delivery.sequence].append(delivery)
    else:
        raise AssertionError("the batch does not come to rest")

    assert let_in == sorted(let_in), "first come, first let in"
    assert (batch.running, batch.waiting, batch.held_tokens) == (0, 0, 0)
    for each, visit in asked.items():
        assert [delivery.number for delivery in got[each]] == list(range(1, len(got[each]) + 1))
        assert [delivery.last for delivery in got[each]].count(True) == (each not in aborted)
        if each in aborted:
            assert len(got[each]) < visit.output_tokens
        else:
            assert len(got[each]) == visit.output_tokens
            assert got[each][-1].last


@given(pace=paces, prefill_tokens=st.integers(0, 5000), small=st.integers(1, 64), more=st.integers(1, 64))
def test_a_larger_batch_never_makes_a_step_shorter_nor_its_tokens_dearer(
    pace: Pace, prefill_tokens: int, small: int, more: int
) -> None:
    large = small + more

    small_s = pace.step_s(batch=small, prefill_tokens=prefill_tokens)
    large_s = pace.step_s(batch=large, prefill_tokens=prefill_tokens)

    assert large_s >= small_s
    assert pace.growth < 1e-9 or large_s > small_s or prefill_tokens, "and a step that only decodes grows"
    assert large_s / large < small_s / small, "batching pays: each token costs less"
