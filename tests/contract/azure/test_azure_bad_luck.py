"""Seeded sequences of calls under faults. Judge: what the ARM server of ours holds in the end, over real HTTP."""

from collections import Counter
from pathlib import Path

import pytest
from azure_world import PATIENT, world
from bad_luck import bad_luck

PARTS = 8
"""So that several processes share the work, and none of them takes longer than a test may."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
async def test_bad_luck_neither_doubles_nor_leaks(request: pytest.FixtureRequest, tmp_path: Path, part: int) -> None:
    with world(tmp_path) as azure:
        seeds = request.config.getoption("--seeds") or azure.under_test().seeds
    met: Counter[str] = Counter()

    for seed in range(part, seeds, PARTS):
        with world(tmp_path, PATIENT) as azure:
            try:
                await bad_luck(azure.under_test(), seed, faults_met=met)
            finally:
                await azure.close()

    assert met["killed"] > 0, "the process died now and then"
    assert sum(met.values()) > len(range(part, seeds, PARTS)), "faults struck"
