"""`fleetctl demo` at work: every request answered, replicas up and down, and nothing left behind.

The three demos below run side by side: most of a demo is waiting.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fleet_home import FleetHome, Ran, Running, fleet_home, until

DEMO_S = 280.0
"""A minute of traffic, its start, its end and the way back down, on a machine that runs three of them."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(DEMO_S + 60.0)]

TRACES = Path(os.environ.get("FLEETCTL_TRACES") or Path(__file__).parents[3] / "shared" / "traces")
TRACE = TRACES / "azure23_code.csv.gz"

KEYS = {
    "requests",
    "failed",
    "ttft_p50_s",
    "ttft_p95_s",
    "replicas_peak",
    "replicas_final",
    "scale_ups",
    "from_standby",
    "decisions",
    "cold_starts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    home: FleetHome
    running: Running

    def folders(self) -> list[Path]:
        return list(self.home.folder.glob("fleetctl-demo-*"))

    def left(self) -> list[str]:
        return [" ".join(process.cmdline()) for process in self.home.processes()]


def _demo(*words: str | Path) -> Iterator[Demo]:
    with fleet_home() as made:
        yield Demo(home=made, running=made.start("demo", "-o", "json", "--seconds", "60", *words))


@pytest.fixture(scope="module")
def generated() -> Iterator[Demo]:
    yield from _demo()


@pytest.fixture(scope="module")
def recorded(generated: Demo) -> Iterator[Demo]:
    """Started beside the other one."""
    if not TRACE.is_file():
        pytest.skip(f"there is no recorded trace at {TRACE}; FLEETCTL_TRACES names another folder")
    yield from _demo("--trace", TRACE)


@pytest.fixture(scope="module")
def interrupted(generated: Demo) -> Iterator[Demo]:
    """Started beside the others."""
    yield from _demo()


def test_ctrl_c_in_the_middle_clears_everything_away(interrupted: Demo, request: pytest.FixtureRequest) -> None:
    if TRACE.is_file():
        request.getfixturevalue("recorded")  # so that all of them are under way
    until("its traffic begins", lambda: "Now the traffic" in interrupted.running.said(), within_s=120.0)
    assert interrupted.folders()
    assert interrupted.left()

    interrupted.running.interrupt()

    told = interrupted.running.end()
    assert told.code == 130
    assert "Traceback" not in told.err
    assert told.out == ""
    assert interrupted.left() == []
    assert interrupted.folders() == []


def test_generated_traffic_is_answered_with_replicas_up_and_down(generated: Demo) -> None:
    told = generated.running.end(within_s=DEMO_S)

    _well(told)
    assert generated.left() == []
    assert generated.folders() == []


def test_a_recorded_trace_is_answered_too(recorded: Demo) -> None:
    told = recorded.running.end(within_s=DEMO_S)

    _well(told)
    assert recorded.left() == []
    assert recorded.folders() == []


def _well(told: Ran) -> None:
    assert told.code == 0, told.err
    assert "Traceback" not in told.err
    summary: dict[str, Any] = json.loads(told.out)
    assert set(summary) >= KEYS
    assert summary["requests"] > 50
    assert summary["failed"] == 0
    assert 0 < summary["ttft_p50_s"] <= summary["ttft_p95_s"]
    assert summary["replicas_peak"] > 1, "they went up"
    assert summary["replicas_final"] < summary["replicas_peak"], "they went down"
    assert summary["scale_ups"] >= 1
    assert summary["from_standby"] >= 1
    assert summary["decisions"] >= 30
    assert all(start["seconds"] > 0 and start["stages"] for start in summary["cold_starts"])
