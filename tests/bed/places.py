"""Where a bed keeps things: what is dear to make in the user's cache, what ends with it in /run."""

import os
from pathlib import Path

RUN = Path("/run/fleetctl-test-bed")
"""Locks, states and sockets of the beds of this machine, as its network namespaces are."""


def cache() -> Path:
    """The folder of what is kept between beds: layers, environments, the registry's blobs. A real disk."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "fleetctl-test-bed"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
