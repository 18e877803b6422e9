"""No test of this folder can reach the outside, or find credentials."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from no_route import loopback_only


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every address but loopback is refused, and a proxy is none of the ways there."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no-gcloud"))
    with loopback_only():
        yield
