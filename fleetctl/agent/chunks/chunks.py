"""What is asked of an Artifact's chunks, whether they are still coming or all here."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fleetctl.agent.chunks.layout import Layout


class Chunks(Protocol):
    """The chunks of one Artifact on this Node."""

    @property
    def layout(self) -> Layout: ...

    @property
    def tree(self) -> Path:
        """The folder of its files."""

    @property
    def arrived(self) -> Sequence[int]:
        """Those that came since this object is there, in the order they came; it only grows."""

    def hash_of(self, index: int) -> bytes | None:
        """Of a chunk that is here, as it was when it was verified; None: it is not here."""

    @property
    def failed(self) -> bool:
        """Whether no more will come."""

    @property
    def news(self) -> asyncio.Event:
        """Set at the next change; ask for it before looking, wait for it after."""
