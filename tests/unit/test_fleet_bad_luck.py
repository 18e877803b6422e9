"""Whole-controller sequences of bad luck over three clouds, in virtual time: leaked 0, doubled 0, and it converges."""

from collections import Counter

import pytest
from fleet_bad_luck import Luck, fleet_bad_luck

PARTS = 8
"""So that several processes share them."""
SEEDS = 1200
"""Of a run by itself; `--seeds` asks for more."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_fleet_survives_bad_luck(part: int, pytestconfig: pytest.Config) -> None:
    seeds = pytestconfig.getoption("--seeds") or SEEDS
    met: Counter[Luck] = Counter()

    for seed in range(part, seeds, PARTS):
        fleet_bad_luck(seed, met)

    assert set(met) == set(Luck), "every kind of bad luck was met"
