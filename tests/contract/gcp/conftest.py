"""A server for each test, and no way for it to reach the outside or to find credentials."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_contract import FLEET
from gcp_server import GcpServer
from gcp_world import SHORT, Make, served, setup
from no_route import loopback_only

from fleetctl.providers.gcp.compute import GcpProvider
from fleetctl.providers.gcp.settings import read_settings


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every address but loopback is refused, and a proxy is none of the ways there."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no-gcloud"))
    with loopback_only():
        yield


@pytest.fixture
def served_here() -> Iterator[tuple[GcpServer, str]]:
    with served() as both:
        yield both


@pytest.fixture
def server(served_here: tuple[GcpServer, str]) -> GcpServer:
    return served_here[0]


@pytest.fixture
async def make(served_here: tuple[GcpServer, str], tmp_path: Path) -> AsyncIterator[Make]:
    """Makes providers that remember nothing of each other, as several processes do."""
    made = []

    def one(*, limits: Any = SHORT, fleet: str = FLEET, **options: object) -> GcpProvider:
        made.append(GcpProvider(read_settings(setup(served_here[1], tmp_path, fleet, **options)), limits=limits))
        return made[-1]

    yield one
    for provider in made:
        await provider.close()
