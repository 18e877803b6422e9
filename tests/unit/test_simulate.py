"""`fleetctl simulate`: recorded traffic played against policies and peers, side by side."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleetctl.sim.traffic import generate

SPEC = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:2
concurrency: 16
slo: {ttft: 5s, percentile: 99}
scaling: {min: 1, max: 12}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    spec = tmp_path / "chat.yaml"
    spec.write_text(SPEC)
    recorded = tmp_path / "trace.csv"
    rows = (f"{one.arrival_s},{one.input_tokens},{one.output_tokens}\n" for one in generate(3, 1800.0))
    recorded.write_text("arrival_s,input_tokens,output_tokens\n" + "".join(rows))
    return recorded, spec


def simulate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", "simulate", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_policies_and_peers_stand_side_by_side_and_the_same_seed_gives_the_same_bytes(files: tuple[Path, Path]) -> None:
    recorded, spec = files
    words = (recorded, "-s", spec, "--policy", "auto", "--policy", "learned", "--against", "hpa:0.5", "-o", "json")

    first = simulate(*words)
    second = simulate(*words)

    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    items = {one["policy"]: one for one in json.loads(first.stdout)["items"]}
    assert list(items) == ["auto", "learned", "hpa:0.5 (peer)"]
    for one in items.values():
        assert 0.0 <= one["share_within"] <= 1.0
        assert one["cost"] == pytest.approx(one["gpu_hours"] * 2.0)
        assert one["kept"] == (one["share_within"] >= 0.99)
        assert one["ratio"] > 0.9, "nothing that keeps the promise is much cheaper than the best known afterwards"


def test_a_larger_fleet_keeps_more_and_costs_more(files: tuple[Path, Path], tmp_path: Path) -> None:
    recorded, spec = files
    large = tmp_path / "large.yaml"
    large.write_text(SPEC.replace("min: 1", "min: 8"))

    small_one, large_one = (
        json.loads(simulate(recorded, "-s", one, "--no-best", "-o", "json").stdout)["items"][0] for one in (spec, large)
    )

    assert large_one["gpu_hours"] > small_one["gpu_hours"]
    assert large_one["share_within"] >= small_one["share_within"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "nomad"), "no peer is called 'nomad'"),
        (("--against", "hpa:much"), "is no share"),
        (("--policy", "knativ"), "knativ"),
        (("--cold", "long"), "is not a duration"),
        (("--from", "2d"), "ends after"),
    ],
)
def test_wrong_words_get_one_clear_sentence(files: tuple[Path, Path], words: tuple[str, ...], said: str) -> None:
    recorded, spec = files

    ran = simulate(recorded, "-s", spec, "--no-best", *words)

    assert ran.returncode in (2, 4)
    assert said in ran.stderr
    assert "hint:" in ran.stderr
    assert "Traceback" not in ran.stderr
