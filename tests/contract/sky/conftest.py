"""Every test here has a SkyPilot stand-in of its own, no credentials, and no way to any address but loopback."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from cloud_contract import CloudUnderTest
from no_route import loopback_only
from sky_world import World


@pytest.fixture(autouse=True)
def nothing_outside() -> Iterator[None]:
    with loopback_only():
        yield


@pytest_asyncio.fixture
async def sky(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def cloud(sky: World) -> CloudUnderTest:
    return sky.under_test()
