"""Durations, shares, GPUs and addresses as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.model.services import Gpu
from fleetctl.spec import units
from fleetctl.spec.problems import Unfit


@pytest.mark.parametrize(
    ("written", "seconds", "why"),
    [
        ("500ms", 0.5, "the smallest unit"),
        ("5s", 5.0, "a plain one"),
        ("1.5h", 5400.0, "a fraction"),
        ("10m", 600.0, "m is minutes, never months"),
        ("2h", 7200.0, "hours"),
        ("1d", 86400.0, "days"),
        (0, 0.0, "nothing needs no unit"),
        ("0", 0.0, "nor in quotes"),
        ("0s", 0.0, "but may have one"),
        ("31d", units.DURATION_MAX_S, "the longest"),
    ],
)
def test_duration(written: object, seconds: float, why: str) -> None:
    assert units.duration(written) == seconds, why


@pytest.mark.parametrize(
    ("written", "fix", "why"),
    [
        (60, "add the unit: 60s, 60m or 60h", "no unit is no duration"),
        ("90", "add the unit: 90s, 90m or 90h", "nor as text"),
        ("1h30m", "write one number with one unit: 90m", "Go's form is taken apart for the user"),
        ("5 minutes", "write 5m", "words"),
        ("5min", "write 5m", "abbreviations"),
        ("250 millis", "write 250ms", "not minutes"),
        ("10 S", "write 10s", "capitals"),
        ("-5s", "write 0 or a duration such as 5s; it cannot be negative", "negative"),
        (-5, "write 0 or a duration such as 5s; it cannot be negative", "negative number"),
        (True, "write a duration such as 500ms, 5s, 10m, 2h or 1d", "true is not 1"),
        ([], "write a duration such as 500ms, 5s, 10m, 2h or 1d", "a list"),
        ("soon", "write a duration such as 500ms, 5s, 10m, 2h or 1d", "text"),
        ("32d", "write 31d or less", "longer than a month"),
        ("9" * 400 + "s", "write 31d or less", "overflows to infinity"),
        ("٣s", "write a duration such as 500ms, 5s, 10m, 2h or 1d", "digits of another script"),
        ("5s\n", "write a duration such as 500ms, 5s, 10m, 2h or 1d", "a line end"),
    ],
)
def test_no_duration(written: object, fix: str, why: str) -> None:
    with pytest.raises(Unfit) as caught:
        units.duration(written)

    assert caught.value.fix == fix, why


@given(st.integers(min_value=0, max_value=31 * 86400 * 1000))
def test_what_a_duration_is_written_as_reads_as_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000

    read = units.duration(units.duration_text(seconds))

    assert math.isclose(read, seconds, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("written", "share"),
    [("70%", 0.7), (0.7, 0.7), (1, 1.0), (0, 0.0), ("100%", 1.0), ("12.5%", 0.125)],
)
def test_share(written: object, share: float) -> None:
    assert units.share(written) == pytest.approx(share)


@pytest.mark.parametrize(
    ("written", "fix", "why"),
    [
        (70, "write 70%", "per cent without the sign"),
        (1.5, "write 1.5%", "more than everything"),
        ("130%", "write 100% or less", "more than everything"),
        (-0.1, "write a share such as 70% or 0.7", "negative"),
        ("0.7", "write a share such as 70% or 0.7", "a number in quotes"),
        (True, "write a share such as 70% or 0.7", "true is not 1"),
    ],
)
def test_no_share(written: object, fix: str, why: str) -> None:
    with pytest.raises(Unfit) as caught:
        units.share(written)

    assert caught.value.fix == fix, why


@pytest.mark.parametrize(
    ("written", "gpu"),
    [
        ("L40S:1", Gpu(name="L40S", count=1)),
        ("l40s", Gpu(name="L40S", count=1)),
        ("any:2", Gpu(name="ANY", count=2)),
        ("A100-80GB:8", Gpu(name="A100-80GB", count=8)),
    ],
)
def test_gpu(written: str, gpu: Gpu) -> None:
    assert units.gpu(written) == gpu


@pytest.mark.parametrize(
    ("written", "fix", "why"),
    [
        ("8xH100", "write H100:8", "as vendors write it"),
        ("H100:1/2", "parts of a GPU are not supported yet: write H100:1", "a half"),
        ("H100:1g.10gb", "parts of a GPU are not supported yet: write H100:1", "a MIG slice"),
        ("L40S:48GB:2", "memory is not chosen here: write L40S:2, or L40S-48GB:1 as a name", "as dstack writes it"),
        ("L40S:1, H100:1", "write alternatives as a list: [L40S:1, H100:1]", "two in one text"),
        ("L40S:0", "write a count from 1 to 16", "none"),
        ("L40S:-1", "write name:count, such as L40S:1, or any:1", "negative"),
        (1, "write name:count, such as L40S:1, or any:1", "a count without a name"),
    ],
)
def test_no_gpu(written: object, fix: str, why: str) -> None:
    with pytest.raises(Unfit) as caught:
        units.gpu(written)

    assert caught.value.fix == fix, why


@pytest.mark.parametrize("written", ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:8080", "localhost:65535"])
def test_listen_address(written: str) -> None:
    assert units.listen_address(written) == written


@pytest.mark.parametrize(
    "written", [8080, ":8080", "127.0.0.1", "::1:8080", "http://127.0.0.1:80", "a:65536", "a:-1", "a b:80", "u@h:80"]
)
def test_no_listen_address(written: object) -> None:
    with pytest.raises(Unfit):
        units.listen_address(written)
