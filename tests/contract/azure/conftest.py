"""Every test here has a server of its own, no credentials, and no way to any address but loopback."""

import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from azure_world import World, world
from cloud_contract import CloudUnderTest


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may find a real account, whatever the machine that it runs on has."""
    for name in tuple(os.environ):
        if name.startswith(("AZURE_", "ARM_", "MSI_", "IDENTITY_", "IMDS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "azure"))


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[None]:
    """Any connection that would leave this machine is an error."""
    real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}

    def guarded(name: str) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
                raise AssertionError(f"a connection to {address} was tried")
            return real[name](self, address)

        return connect

    for name in real:
        setattr(socket.socket, name, guarded(name))
    yield
    for name, one in real.items():
        setattr(socket.socket, name, one)


@pytest_asyncio.fixture
async def azure(tmp_path: Path) -> AsyncIterator[World]:
    with world(tmp_path) as made:
        yield made
        await made.close()


@pytest.fixture
def cloud(azure: World) -> CloudUnderTest:
    return azure.under_test()
