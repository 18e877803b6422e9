"""The fleet's own record as a trace: what was counted comes back, and the same rows give the same bytes."""

from math import exp, log, nan, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.errors import UsageError
from fleetctl.model.history import Interval
from fleetctl.sim.history import INPUT_SPREAD, from_history

BEGIN = 1_700_000_000.0


def ticks(counts: list[float | None], *, period_s: float = 5.0, tokens: float = 400.0) -> list[Interval]:
    return [
        Interval(
            t_from=BEGIN + period_s * place,
            t_to=BEGIN + period_s * (place + 1),
            arrivals=count,
            input_tokens=None if count is None else count * tokens,
            output_tokens=None if count is None else count * tokens / 4,
        )
        for place, count in enumerate(counts)
    ]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(0, 9))
def test_every_interval_has_its_arrivals(counts: list[int], seed: int) -> None:
    trace = from_history(ticks([float(count) for count in counts]), seed=seed)

    assert [sum(5.0 * place <= at < 5.0 * (place + 1) for at in trace.arrivals_s) for place in range(len(counts))] == (
        counts
    )
    assert list(trace.arrivals_s) == sorted(trace.arrivals_s)
    assert trace.duration_s == 5.0 * len(counts)
    assert min(trace.input_tokens, default=1) >= 1


def test_tokens_come_to_what_was_counted_and_are_spread_as_published_ones_are() -> None:
    trace = from_history(ticks([10.0] * 2000))

    mean = sum(trace.input_tokens) / len(trace)
    logs = [log(tokens) for tokens in trace.input_tokens]
    middle = sum(logs) / len(logs)
    assert mean == pytest.approx(400.0, rel=0.05)
    assert sum(trace.output_tokens) / len(trace) == pytest.approx(100.0, rel=0.05)
    assert sqrt(sum((one - middle) ** 2 for one in logs) / len(logs)) == pytest.approx(INPUT_SPREAD, rel=0.05)
    assert exp(middle) < mean


def test_lengths_follow_the_hour() -> None:
    rows = ticks([10.0] * 720, tokens=100.0)
    late = [
        Interval(t_from=row.t_from + 3600, t_to=row.t_to + 3600, arrivals=10.0, input_tokens=20_000.0)
        for row in ticks([10.0] * 720)
    ]

    trace = from_history(rows + late)

    first = [tokens for at, tokens in zip(trace.arrivals_s, trace.input_tokens, strict=True) if at < 2700]
    last = [tokens for at, tokens in zip(trace.arrivals_s, trace.input_tokens, strict=True) if at > 4500]
    assert sum(first) / len(first) == pytest.approx(100.0, rel=0.1)
    assert sum(last) / len(last) == pytest.approx(2000.0, rel=0.1)


def test_answers_counted_after_their_requests_still_make_whole_ones() -> None:
    """Requests come in one minute, their answers end in the next."""
    rows = []
    for place in range(240):
        busy = place % 24 < 12
        rows.append(
            Interval(
                t_from=BEGIN + 5.0 * place,
                t_to=BEGIN + 5.0 * (place + 1),
                arrivals=4.0 if busy else 0.0,
                input_tokens=800.0 if busy else 0.0,
                output_tokens=0.0 if busy else 1200.0,
            )
        )

    trace = from_history(rows)

    assert sum(trace.output_tokens) / len(trace) == pytest.approx(300.0, rel=0.15)


def test_fractions_of_requests_add_up() -> None:
    assert len(from_history(ticks([0.25] * 400))) == 100


def test_what_was_not_recorded_is_silent_and_said() -> None:
    rows = ticks([3.0, None, 3.0])
    later = Interval(t_from=BEGIN + 3615.0, t_to=BEGIN + 3620.0, arrivals=2.0)

    trace = from_history([*rows, later], note="chat, last 7d")

    assert len(trace) == 8
    assert not [at for at in trace.arrivals_s if 15.0 <= at < 3615.0]
    assert trace.duration_s == 3620.0
    assert trace.note == "chat, last 7d; 1.0 h of it not recorded"


def test_without_any_tokens_a_short_chat_is_taken() -> None:
    rows = [Interval(t_from=BEGIN, t_to=BEGIN + 3600, arrivals=3000.0)]

    trace = from_history(rows)

    assert sum(trace.input_tokens) / len(trace) == pytest.approx(512.0, rel=0.1)
    assert sum(trace.output_tokens) / len(trace) == pytest.approx(128.0, rel=0.1)


def test_the_same_rows_and_seed_give_the_same_bytes_and_another_seed_does_not() -> None:
    rows = ticks([5.0] * 50)

    first, again, other = from_history(rows, seed=3), from_history(rows, seed=3), from_history(rows, seed=4)

    assert first == again
    assert first.arrivals_s != other.arrivals_s


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "has no rows"),
        ([Interval(t_from=5.0, t_to=5.0, arrivals=1.0)], "which is none"),
        ([Interval(t_from=nan, t_to=5.0, arrivals=1.0)], "which is none"),
        ([Interval(t_from=0.0, t_to=5.0, arrivals=-1.0)], "counts -1 arrivals"),
        ([Interval(t_from=0.0, t_to=5.0, arrivals=nan)], "counts nan arrivals"),
        ([Interval(t_from=0.0, t_to=5.0, arrivals=1.0, input_tokens=-2.0)], "counts -2 input_tokens"),
        ([Interval(t_from=0.0, t_to=5.0, arrivals=1e9)], "more than 5,000,000"),
        (
            [Interval(t_from=0.0, t_to=5.0, arrivals=1.0), Interval(t_from=4.0, t_to=9.0, arrivals=1.0)],
            "before the one above it ends",
        ),
    ],
)
def test_rows_that_make_no_sense_are_refused(rows: list[Interval], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        from_history(rows)

    assert caught.value.hint
