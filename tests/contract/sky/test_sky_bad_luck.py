"""Seeded sequences of calls under faults, bridges that die among them. Judge: what the stand-in of ours holds."""

from collections import Counter
from pathlib import Path

import pytest
from bad_luck import bad_luck
from sky_world import PATIENT, World

PARTS = 20
"""So that several processes share the work. A sequence starts three bridges or so, and takes half a second."""

SEEDS = 200


@pytest.mark.timeout(600)  # for `--seeds` in the thousands
@pytest.mark.parametrize("part", range(PARTS))
async def test_bad_luck_neither_doubles_nor_leaks(request: pytest.FixtureRequest, tmp_path: Path, part: int) -> None:
    seeds = request.config.getoption("--seeds") or SEEDS
    met: Counter[str] = Counter()

    for seed in range(part, seeds, PARTS):
        world = World(tmp_path / str(seed), PATIENT)
        try:
            await bad_luck(world.under_test(), seed, faults_met=met)
        finally:
            await world.close()

    assert met["killed"] > 0, "the process died now and then"
    assert sum(met.values()) >= len(range(part, seeds, PARTS)), "faults struck"
