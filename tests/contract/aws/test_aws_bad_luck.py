"""Seeded sequences of bad luck on AWS. Judge: moto's own memory; the faults are ours (see `aws_server`).

A sequence has some 45 requests and costs 0.2 s of CPU, two thirds of it moto's: the dearest of the three clouds.
"""

import asyncio

import pytest
from aws_server import AwsServer
from aws_world import PATIENT, cloud_of, running_server, server  # noqa: F401  # fixtures
from bad_luck import bad_luck

REGIONS = ("us-east-1",)
"""One: what is wrong in two is wrong in one, and each costs requests."""

BLOCKS = 8
"""So that several processes share them out."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_nothing_is_doubled_and_nothing_leaks(
    server: AwsServer,  # noqa: F811
    block: int,
    pytestconfig: pytest.Config,
) -> None:
    cloud = cloud_of(server, regions=REGIONS, limits=PATIENT)
    seeds = pytestconfig.getoption("--seeds") or cloud.seeds

    for seed in range(block, seeds, BLOCKS):
        asyncio.run(bad_luck(cloud, seed))
        server.forget_terminated(REGIONS)
