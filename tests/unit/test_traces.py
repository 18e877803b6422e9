import gzip
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.errors import UsageError
from fleetctl.sim.fluctuation import fluctuation, gap_cv, peak_to_mean, percentile
from fleetctl.sim.traces import Request, Trace, read_trace

RECORDED = Path(__file__).parents[3] / "shared" / "traces"
HEADER = "arrival_s,input_tokens,output_tokens\n"


def trace_of(*arrivals_s: float, duration_s: float | None = None) -> Trace:
    return Trace(
        arrivals_s=array("d", arrivals_s),
        input_tokens=array("I", range(100, 100 + len(arrivals_s))),
        output_tokens=array("I", range(1, 1 + len(arrivals_s))),
        duration_s=duration_s if duration_s is not None else max(arrivals_s, default=0.0),
    )


PACKED = gzip.compress((HEADER + "0,10,2\n1.5,20,3\n").encode(), mtime=0)
CUT_OFF = gzip.compress(HEADER.encode() + b"0,1,1\n" * 99, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("plain.csv", (HEADER + "0,10,2\n1.5,20,3\n").encode(), "plain CSV"),
        ("packed.csv.gz", PACKED, "gzip"),
        ("packed.csv", PACKED, "gzip is known by its first bytes"),
        ("order.csv", b"output_tokens,arrival_s,input_tokens\n2,0,10\n3,1.5,20\n", "columns are found by name"),
        ("more.csv", b"arrival_s,input_tokens,output_tokens,hash_ids\n0,10,2,1 2 3\n1.5,20,3,\n", "more columns"),
        ("windows.csv", (HEADER + "0,10,2\n1.5,20,3\n").replace("\n", "\r\n").encode(), "lines end as on Windows"),
        ("bom.csv", b"\xef\xbb\xbf" + (HEADER + "0,10,2\n1.5,20,3\n\n").encode(), "a mark at the start, a blank end"),
    ],
)
def test_read_trace_takes(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    trace = read_trace(path)

    assert list(trace) == [
        Request(arrival_s=0.0, input_tokens=10, output_tokens=2),
        Request(arrival_s=1.5, input_tokens=20, output_tokens=3),
    ], why
    assert trace.duration_s == 1.5
    assert trace.note == name


@pytest.mark.parametrize(
    ("name", "content", "said", "hinted"),
    [
        ("t.csv", b"arrival,input_tokens,output_tokens\n0,1,1\n", ":1: the column 'arrival_s' is missing", "'arrival'"),
        ("t.csv", b"a,b,c\n0,1,1\n", ":1: the column 'arrival_s' is missing", "header arrival_s,input_tokens"),
        ("t.csv", b"", ":1: the column 'arrival_s' is missing", "header"),
        ("t.csv", HEADER.encode(), ":1: the trace has no requests", "at least one row"),
        ("t.csv", (HEADER + "2,1,1\n1,1,1\n").encode(), ":3: arrival_s is 1, before the row above it (2)", "sort"),
        ("t.csv", (HEADER + "nan,1,1\n").encode(), ":2: arrival_s is NaN", "leave out"),
        ("t.csv", (HEADER + "-1,1,1\n").encode(), ":2: arrival_s is -1, below zero", "first request"),
        ("t.csv", (HEADER + "0,-7,1\n").encode(), ":2: input_tokens is -7, below zero", ""),
        ("t.csv", (HEADER + "inf,1,1\n").encode(), ":2: arrival_s is inf, beyond 1e+09", "unit"),
        ("t.csv", (HEADER + "0,99999999999,1\n").encode(), ":2: input_tokens is 99999999999, beyond 1e+08", "unit"),
        ("t.csv", (HEADER + "0,1,1\n\nsoon,1,1\n").encode(), ":4: arrival_s is 'soon', not a number", "header"),
        ("t.csv", (HEADER + "0,1,1.5\n").encode(), ":2: output_tokens is '1.5', not a whole number", "header"),
        ("t.csv", (HEADER + "0,nan,1\n").encode(), ":2: input_tokens is 'nan', not a whole number", "header"),
        ("t.csv", (HEADER + "0,,1\n").encode(), ":2: input_tokens is '', not a whole number", "header"),
        ("t.csv", b"arrival_s,input_tokens\n0,1\n", ":1: the column 'output_tokens' is missing", "header"),
        ("t.csv.gz", gzip.compress(HEADER.encode(), mtime=0)[:8], "the gzip file is cut off or damaged", "fetch"),
        ("t.csv.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 60, "the gzip file is cut off or damaged", "fetch"),
        ("t.csv", (HEADER + "0,1\n").encode(), ":2: the row has 2 cells, its header has 3", "header"),
        ("t.csv", HEADER.encode() + b"0,1,\xff\n", ": the file is not text", "header"),
        ("t.csv.gz", HEADER.encode(), ":1: the file is called .gz but is not gzip", "rename it to t.csv"),
        (
            "t.csv.gz",
            gzip.compress(HEADER.encode() + b"0,1,1\n" * 99, mtime=0)[:-9],
            "the gzip file is cut off",
            "fetch",
        ),
    ],
)
def test_read_trace_refuses(tmp_path: Path, name: str, content: bytes, said: str, hinted: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        read_trace(path)

    assert caught.value.message.startswith(f"{path}:")
    assert said in caught.value.message
    assert hinted in caught.value.hint


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.csv cannot be read: No such file"):
        read_trace(tmp_path / "nowhere.csv")


def test_slice_begins_at_zero_again_and_leaves_its_end_out() -> None:
    trace = trace_of(0.0, 1.0, 2.0, 3.0, duration_s=10.0)

    part = trace.slice(1.0, 2.0)

    assert list(part) == [
        Request(arrival_s=0.0, input_tokens=101, output_tokens=2),
        Request(arrival_s=1.0, input_tokens=102, output_tokens=3),
    ]
    assert part.duration_s == 2.0
    assert part.note == "2 s from 1.0 s"


def test_slice_beyond_the_end_is_empty() -> None:
    assert len(trace_of(0.0, 1.0).slice(5.0, 2.0)) == 0


@pytest.mark.parametrize(("start_s", "length_s"), [(-1.0, 1.0), (0.0, 0.0), (0.0, float("nan")), (float("nan"), 1.0)])
def test_slice_refuses_windows_that_are_none(start_s: float, length_s: float) -> None:
    with pytest.raises(UsageError, match="no window"):
        trace_of(0.0).slice(start_s, length_s)


@given(
    st.lists(st.integers(0, 200), max_size=60).map(sorted),
    st.integers(1, 50),
)
def test_no_window_is_busier_than_the_busiest(arrivals: list[int], length: int) -> None:
    trace = trace_of(*map(float, arrivals))

    busiest = trace.busiest_window(float(length))

    counts = [sum(start <= arrival < start + length for arrival in arrivals) for start in range(201)]
    assert len(busiest) == max(counts)


def test_thinning_keeps_the_order_bounds_the_count_and_says_so() -> None:
    trace = trace_of(*map(float, range(1000)))

    thinned = trace.thin(100, seed=3)

    assert len(thinned) == 100
    assert list(thinned.arrivals_s) == sorted(thinned.arrivals_s)
    assert thinned.arrivals_s == trace.thin(100, seed=3).arrivals_s != trace.thin(100, seed=4).arrivals_s
    assert thinned.duration_s == trace.duration_s
    assert thinned.note == "thinned to 100 of 1000 requests"
    assert all(request.input_tokens == 100 + request.arrival_s for request in thinned), (
        "lengths stay with their arrivals"
    )
    assert trace.thin(1000, seed=3) is trace


def test_a_regular_stream_does_not_fluctuate() -> None:
    trace = trace_of(*(index / 10 for index in range(6000)), duration_s=600.0)

    figures = fluctuation(trace)

    assert (figures.requests, figures.mean_per_s) == (6000, 10.0)
    assert (figures.peak_to_mean_1s, figures.peak_to_mean_10s, figures.peak_to_mean_60s) == (1.0, 1.0, 1.0)
    assert figures.gap_cv == pytest.approx(0.0, abs=1e-6)


def test_figures_of_too_few_requests_are_not_numbers() -> None:
    empty = trace_of(duration_s=5.0)

    assert str(peak_to_mean(empty, 1.0)) == "nan"
    assert str(gap_cv(trace_of(0.0, 1.0))) == "nan"
    assert str(percentile([], 0.5)) == "nan"


@pytest.mark.parametrize(
    ("share", "value", "why"),
    [(0.0, 1, "the least"), (0.5, 2, "nearest rank, not between"), (0.75, 3, ""), (0.76, 4, ""), (1.0, 4, "the most")],
)
def test_percentile(share: float, value: float, why: str) -> None:
    assert percentile([4, 2, 1, 3], share) == value, why


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded traces beside the repository (../shared/traces)")
@pytest.mark.parametrize(
    ("name", "requests", "mean_per_s", "peaks", "cv"),
    [
        ("azure23_code", 8819, 2.57, (26.1, 12.8, 4.2), 13.15),
        ("aibrix_updown", 2026, 4.44, (5.4, 3.2, None), 1.81),
        ("sg_large_wed", 446545, 5.17, (9.9, 2.8, 1.8), 1.18),
    ],
)
def test_recorded_traces_measure_as_their_list_says(
    name: str, requests: int, mean_per_s: float, peaks: tuple[float | None, ...], cv: float
) -> None:
    figures = fluctuation(read_trace(RECORDED / f"{name}.csv.gz"))

    assert figures.requests == requests
    assert figures.mean_per_s == pytest.approx(mean_per_s, rel=0.01)
    assert figures.gap_cv == pytest.approx(cv, rel=0.01)
    measured = (figures.peak_to_mean_1s, figures.peak_to_mean_10s, figures.peak_to_mean_60s)
    for found, listed in zip(measured, peaks, strict=True):
        assert listed is None or found == pytest.approx(listed, rel=0.02)
