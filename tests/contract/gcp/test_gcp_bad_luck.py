"""Seeded sequences of calls under faults at the GCP provider: over HTTP, judged by what the server holds.

The judge of requests is Google's discovery document; the memory, its faults and its notion of time are ours.
"""

from collections import Counter
from pathlib import Path

import pytest
from bad_luck import bad_luck
from gcp_compute import Compute
from gcp_world import PATIENT, served, under_test

BATCHES = 8
"""The sequences come in so many tests, so that several processes can share them."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # hundreds of seeds in each, a fifth of a second for one


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_no_machine_is_doubled_or_leaked(batch: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    met: Counter[str] = Counter()
    with served() as (server, endpoint):
        cloud = under_test(server, endpoint, tmp_path, limits=PATIENT)
        seeds = request.config.getoption("--seeds") or cloud.seeds
        for seed in range(batch, seeds, BATCHES):
            server.compute = Compute()
            await bad_luck(cloud, seed, faults_met=met)

    assert sum(met.values()) >= seeds // BATCHES, "bad luck was met"
    assert server.calls["compute.instances.insert"] > seeds // BATCHES // 2
