from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import pytest

from fleetctl.errors import UsageError
from fleetctl.sim.fluctuation import Fluctuation, fluctuation, percentile
from fleetctl.sim.traces import Trace, read_trace
from fleetctl.sim.traffic import (
    AZURE_CODE_2023,
    AZURE_CODE_2023_INPUT_MEAN,
    AZURE_CODE_2023_INPUT_P99,
    AZURE_CODE_2023_OUTPUT_MEAN,
    AZURE_CODE_2023_OUTPUT_P99,
    DEMO_BURST_PER_S,
    DEMO_OUTPUT_LIMIT,
    demo_traffic,
    for_demo,
    generate,
)

RECORDED = Path(__file__).parents[3] / "shared" / "traces" / "azure23_code.csv.gz"
SEEDS = range(15)


@pytest.fixture(scope="module")
def hours() -> list[Trace]:
    return [generate(seed, 3600.0) for seed in SEEDS]


def as_bytes(trace: Trace) -> bytes:
    return trace.arrivals_s.tobytes() + trace.input_tokens.tobytes() + trace.output_tokens.tobytes()


def in_flight(trace: Trace, *, token_s: float = 0.02, first_s: float = 0.03) -> list[int]:
    """The most requests at once in each second, were there an engine for each."""
    changes = [(request.arrival_s, 1) for request in trace]
    changes += [(request.arrival_s + first_s + token_s * request.output_tokens, -1) for request in trace]
    peaks = [0] * (int(max(at_s for at_s, _ in changes)) + 1)
    now = 0
    for at_s, change in sorted(changes):
        now += change
        peaks[int(at_s)] = max(peaks[int(at_s)], now)
    return peaks


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    first = generate(7, 600.0)

    assert as_bytes(first) == as_bytes(generate(7, 600.0))
    assert as_bytes(first) != as_bytes(generate(8, 600.0))
    assert as_bytes(demo_traffic(7)) == as_bytes(demo_traffic(7)) != as_bytes(demo_traffic(8))


def test_a_longer_duration_only_adds_to_the_end() -> None:
    short, long = generate(7, 1000.0), generate(7, 5000.0)

    assert long.arrivals_s[: len(short)] == short.arrivals_s
    assert long.arrivals_s[len(short)] > 1000.0


@pytest.mark.parametrize(
    ("figure", "tolerance", "why"),
    [
        (lambda figures: figures.mean_per_s, 0.02, "every hour is scaled to it; Poisson noise is 1 %"),
        (lambda figures: figures.peak_to_mean_1s, 0.20, "one second of an hour: scatters by a fifth between hours"),
        (lambda figures: figures.peak_to_mean_10s, 0.20, "as above"),
        (lambda figures: figures.peak_to_mean_60s, 0.20, "as above"),
        (lambda figures: figures.gap_cv, 0.10, "set by the off times, of which an hour has a hundred"),
    ],
)
def test_a_usual_hour_is_as_bursty_as_published(
    hours: list[Trace], figure: Callable[[Fluctuation], float], tolerance: float, why: str
) -> None:
    measured = median(figure(fluctuation(hour)) for hour in hours)

    assert measured == pytest.approx(figure(AZURE_CODE_2023), rel=tolerance), why


def test_no_hour_is_tame_or_freakish(hours: list[Trace]) -> None:
    for hour in hours:
        figures = fluctuation(hour)

        assert 0.5 < figures.peak_to_mean_1s / AZURE_CODE_2023.peak_to_mean_1s < 2
        assert 0.5 < figures.peak_to_mean_10s / AZURE_CODE_2023.peak_to_mean_10s < 2
        assert 0.5 < figures.peak_to_mean_60s / AZURE_CODE_2023.peak_to_mean_60s < 2
        assert 0.75 < figures.gap_cv / AZURE_CODE_2023.gap_cv < 1.33


def test_lengths_are_as_published(hours: list[Trace]) -> None:
    inputs = [tokens for hour in hours for tokens in hour.input_tokens]
    outputs = [tokens for hour in hours for tokens in hour.output_tokens]

    assert fmean(inputs) == pytest.approx(AZURE_CODE_2023_INPUT_MEAN, rel=0.05)
    assert percentile(inputs, 0.99) == pytest.approx(AZURE_CODE_2023_INPUT_P99, rel=0.01)
    assert fmean(outputs) == pytest.approx(AZURE_CODE_2023_OUTPUT_MEAN, rel=0.10)
    assert percentile(outputs, 0.99) == pytest.approx(AZURE_CODE_2023_OUTPUT_P99, rel=0.10)
    assert min(outputs) == 6


def empty_seconds(trace: Trace) -> float:
    return 1 - len({int(arrival_s) for arrival_s in trace.arrivals_s}) / trace.duration_s


@pytest.mark.skipif(not RECORDED.is_file(), reason="no recorded trace beside the repository (../shared/traces)")
def test_a_usual_hour_is_like_the_recorded_one(hours: list[Trace]) -> None:
    recorded = read_trace(RECORDED)

    assert median(map(empty_seconds, hours)) == pytest.approx(empty_seconds(recorded), rel=0.05)
    assert median(fluctuation(hour).gap_cv for hour in hours) == pytest.approx(fluctuation(recorded).gap_cv, rel=0.10)
    for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
        inputs = [tokens for hour in hours for tokens in hour.input_tokens]
        outputs = [tokens for hour in hours for tokens in hour.output_tokens]
        assert percentile(inputs, share) == pytest.approx(percentile(recorded.input_tokens, share), rel=0.10)
        assert percentile(outputs, share) == pytest.approx(percentile(recorded.output_tokens, share), rel=0.12)


def test_the_mean_rate_is_as_asked() -> None:
    trace = generate(3, 7200.0, mean_rate=20.0)

    assert len(trace) == pytest.approx(7200 * 20, rel=0.01)
    assert trace.duration_s == 7200.0


@pytest.mark.parametrize(
    ("duration_s", "mean_rate"), [(0.0, 1.0), (float("nan"), 1.0), (1e9, 1.0), (3600.0, 0.0), (3600.0, 1e6)]
)
def test_traffic_that_cannot_be_made_is_refused(duration_s: float, mean_rate: float) -> None:
    with pytest.raises(UsageError, match="no traffic"):
        generate(1, duration_s, mean_rate)


@pytest.mark.parametrize("seed", range(20))
def test_a_demo_starts_quiet_bursts_in_the_middle_and_ends_quiet(seed: int) -> None:
    trace = demo_traffic(seed)

    load = in_flight(trace)
    assert 1 <= median(load[:30]) <= 6
    assert max(load[:33]) <= 16
    assert 35 <= max(load) <= 110
    assert 33 <= load.index(max(load)) <= 67
    assert median(load[70:100]) <= 6
    assert 400 <= len(trace) <= 1500
    assert trace.slice(40.0, 20.0).duration_s == 20.0
    assert len(trace.busiest_window(20.0)) == pytest.approx(20 * DEMO_BURST_PER_S, rel=0.25)
    assert max(trace.output_tokens) <= DEMO_OUTPUT_LIMIT
    assert min(trace.input_tokens) >= 1


def test_a_usual_demo_peaks_near_sixty_requests_in_flight() -> None:
    assert median(max(in_flight(demo_traffic(seed))) for seed in range(20)) == pytest.approx(60, rel=0.2)


def test_a_demo_scales_and_is_bounded() -> None:
    usual, strong = demo_traffic(5), demo_traffic(5, rate_scale=1.5)
    bounded = demo_traffic(5, 300.0, rate_scale=10.0, output_scale=0.5)

    assert len(strong) == pytest.approx(1.5 * len(usual), rel=0.15)
    assert len(bounded) == 1500
    assert "thinned to 1500 of" in bounded.note
    assert fmean(bounded.output_tokens) == pytest.approx(14, rel=0.2)


@pytest.mark.parametrize("duration_s", [10.0, 5000.0, float("nan")])
def test_a_demo_of_no_sense_is_refused(duration_s: float) -> None:
    with pytest.raises(UsageError, match="a demo cannot last"):
        demo_traffic(1, duration_s)


def test_a_recorded_trace_is_cut_to_its_busiest_part_with_what_came_before() -> None:
    hour = generate(11, 3600.0)

    part = for_demo(hour, 90.0, requests_limit=200)

    assert part.duration_s == 90.0
    assert len(part) == 200
    assert 0 < len(part.slice(0.0, 30.0)) < len(part.slice(30.0, 30.0)) / 3
    assert "90 s from" in part.note
    assert "thinned to 200 of" in part.note
    assert max(part.output_tokens) <= DEMO_OUTPUT_LIMIT


def test_a_recorded_trace_shorter_than_the_demo_is_taken_whole() -> None:
    short = generate(11, 3600.0).busiest_window(30.0)

    assert list(for_demo(short, 90.0).arrivals_s) == list(short.arrivals_s)
