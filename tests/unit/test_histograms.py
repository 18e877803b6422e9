"""How long requests took, and how busy GPUs are: out of expositions, as differences, and as percentiles."""

from pathlib import Path

import pytest

from fleetctl.decide.flow import measured
from fleetctl.decide.histograms import grown, percentile_s, together, within
from fleetctl.engines import engine
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.signals import Flow, Histogram, Load, QueueStats, Reading
from fleetctl.scrape.exposition import read_load
from fleetctl.scrape.gpus import read_gpus
from fleetctl.scrape.histograms import read_histogram, with_latencies

NOW = 1_700_000_000.0
CAPTURED = (Path(__file__).parent.parent / "fixtures" / "vllm_metrics.txt").read_bytes()
NAME = "vllm:time_to_first_token_seconds"


def counted(*counts: float, bounds: tuple[float, ...] = (1.0, 5.0, 10.0)) -> Histogram:
    return Histogram(bounds_s=bounds, counts=counts)


# out of expositions


def exposition(*buckets: tuple[str, float], labels: str = 'engine="0"') -> bytes:
    return "".join(f'{NAME}_bucket{{{labels},le="{bound}"}} {count}\n' for bound, count in buckets).encode()


def test_vllms_own_exposition_has_both() -> None:
    loads = engine("vllm").loads
    reading = read_load(CAPTURED, loads, now=NOW)
    assert isinstance(reading, Reading)

    found = with_latencies(reading, CAPTURED, loads, now=NOW)

    assert found.ttft is not None
    assert found.end_to_end is not None
    total = sum(found.ttft.counts)
    assert total == float(
        next(line for line in CAPTURED.splitlines() if line.startswith(f"{NAME}_count".encode())).split()[-1]
    )
    assert found.running == reading.running


def test_series_of_several_engines_are_added_up() -> None:
    first = exposition(("0.5", 3), ("2", 4), ("+Inf", 6))
    second = exposition(("0.5", 1), ("2", 1), ("+Inf", 1), labels='engine="1"')

    assert read_histogram(first + second, NAME, now=NOW) == counted(4, 1, 2, bounds=(0.5, 2.0))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"other 1\n", "there is none"),
        (exposition(("0.5", 3), ("2", 4)), "no bucket without a bound: cut off, or no histogram"),
        (exposition(("0.5", 3), ("2", 1), ("+Inf", 6)), "counts that shrink with the bound"),
        (exposition(("a", 3), ("+Inf", 6)), "a bound that is no number"),
        (exposition(("0.5", 3), ("+Inf", float("nan"))), "a count that is none"),
        (exposition(("0.5", -3), ("+Inf", 6)), "a negative count"),
        (f"{NAME}_bucket 4\n".encode(), "no bound at all"),
    ],
)
def test_a_histogram_that_cannot_be_read_is_unknown(body: bytes, why: str) -> None:
    assert read_histogram(body, NAME, now=NOW) is None, why


DCGM = b"""# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA L40S"} 80
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",device="nvidia1",modelName="NVIDIA L40S"} 40
DCGM_FI_DEV_GPU_UTIL_OTHER{gpu="0"} 7
"""


@pytest.mark.parametrize(
    ("body", "gpus", "share", "why"),
    [
        (DCGM, (0,), 0.8, "the one that it has"),
        (DCGM, (0, 1), 0.6, "the mean of both"),
        (DCGM, (), 0.6, "bound to none: all of the machine"),
        (DCGM, (2,), None, "one that nobody tells of"),
        (b'nvidia_gpu_duty_cycle{minor_number="1",uuid="x",name="T4"} 25\n', (1,), 0.25, "an exporter over NVML"),
        (b'nvidia_smi_utilization_gpu_ratio{uuid="x"} 0.5\n', (3,), 0.5, "one without indexes"),
        (b'nv_gpu_utilization{gpu_uuid="GPU-a"} 0.25\n', (0,), 0.25, "Triton's own"),
        (b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} NaN\n', (0,), None, "not a number"),
        (b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 9223372036854775794\n', (0,), None, "DCGM's blank value"),
        (b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 8', (0,), None, "cut off"),
        (b"up 1\n", (0,), None, "nothing of it"),
    ],
)
def test_how_busy_gpus_are(body: bytes, gpus: tuple[int, ...], share: float | None, why: str) -> None:
    assert read_gpus(body, gpus, now=NOW) == (None if share is None else pytest.approx(share)), why


# differences and percentiles


@pytest.mark.parametrize(
    ("now", "before", "expected", "why"),
    [
        (counted(5, 3, 1, 0), counted(4, 1, 1, 0), counted(1, 2, 0, 0), "what came since"),
        (counted(1, 0, 0, 0), counted(4, 1, 1, 0), counted(1, 0, 0, 0), "started anew: all of it came since"),
        (counted(9, 0, 0, 0), counted(4, 1, 1, 0), counted(9, 0, 0, 0), "one bucket alone went backwards"),
        (counted(9, 0, bounds=(2.0,)), counted(4, 1, 1, 0), counted(9, 0, bounds=(2.0,)), "another engine's buckets"),
        (None, counted(4, 1, 1, 0), None, "unknown stays unknown"),
        (counted(9, 0, 0, 0), None, None, "never read before"),
    ],
)
def test_what_came_since(now: Histogram | None, before: Histogram | None, expected: Histogram | None, why: str) -> None:
    assert grown(now, before) == expected, why


@pytest.mark.parametrize(
    ("histogram", "percentile", "seconds"),
    [
        (counted(10, 0, 0, 0), 90, 0.9),
        (counted(0, 10, 0, 0), 50, 3.0),
        (counted(90, 0, 10, 0), 90, 1.0),
        (counted(90, 0, 10, 0), 95, 7.5),
        (counted(90, 0, 0, 10), 99, 10.0),
        (counted(0, 0, 0, 0), 99, None),
    ],
)
def test_percentiles(histogram: Histogram, percentile: float, seconds: float | None) -> None:
    assert percentile_s(histogram, percentile) == (None if seconds is None else pytest.approx(seconds))


def test_histograms_of_different_bounds_are_joined_at_the_upper_ends() -> None:
    assert together([counted(1, 2, 3, 4), counted(5, 6, bounds=(2.0,))]) == counted(
        1, 5, 2, 3, 10, bounds=(1.0, 2.0, 5.0, 10.0)
    )
    assert together([]) == Histogram()


def test_only_those_that_cannot_have_come_before_a_time() -> None:
    assert within(counted(1, 2, 3, 4), 5.0) == counted(1, 2, 0, 0)


# the flow of one tick

LOAD = Load(low=0.0, high=0.0, queued=0.0, oldest_wait_s=0.0, unknown=0)


def replica(name: str) -> Replica:
    return Replica(
        id=ReplicaId(name), service=ServiceName("chat"), revision="r", phase=ReplicaPhase.READY, created_at=0.0
    )


def test_engines_histograms_are_counted_where_there_is_no_gateway() -> None:
    def flow(at: float, before: object, **ttft: Histogram | None) -> tuple[Flow, object]:
        readings = {
            ReplicaId(name): Reading(at=at, running=0.0, waiting=0.0, ttft=histogram)
            for name, histogram in ttft.items()
        }
        replicas = [replica(name) for name in ttft]
        return measured(before, replicas, readings, None, LOAD, at, latencies=True)  # type: ignore[arg-type]

    _, tally = flow(0.0, None, a=counted(4, 0, 0, 0))
    second, tally = flow(2.0, tally, a=counted(5, 0, 1, 0), b=counted(0, 0, 0, 2))
    third, _ = flow(4.0, tally, a=counted(5, 0, 1, 0), b=None)

    assert second.ttft == counted(1, 0, 1, 2)
    assert third.ttft is None, "one that does not tell may be the slow one"


def test_the_gateways_histogram_is_kept_for_people_and_counts_for_a_policy_only_if_it_is_wanted() -> None:
    def stats(ttft: Histogram) -> QueueStats:
        return QueueStats(
            at=0.0,
            service=ServiceName("chat"),
            queued=0,
            oldest_wait_s=0.0,
            in_flight=(),
            arrived=0,
            completed=0,
            failed=0,
            ttft=ttft,
        )

    _, tally = measured(None, [], {}, stats(counted(1, 1, 1, 1)), LOAD, 0.0, latencies=True)
    wanted, _ = measured(tally, [], {}, stats(counted(1, 2, 1, 1)), LOAD, 2.0, latencies=True)
    unwanted, kept = measured(tally, [], {}, stats(counted(1, 2, 1, 1)), LOAD, 2.0)

    assert wanted.ttft == counted(0, 1, 0, 0)
    assert unwanted.ttft is None
    assert kept.ttft == counted(1, 2, 1, 1), "whether the promise is kept is shown under every policy"
