"""The seam between what a Node shall hold and where it comes from."""

from dataclasses import dataclass
from typing import Protocol

from fleetctl.agent.sources.fetch import Fetch
from fleetctl.model.nodes import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """An Artifact that is here, verified."""

    path: str = ""
    """The folder or file that holds it; of an image the name by which Docker has it; empty: it has no place."""
    size: int | None = None
    """Bytes; None: nobody knows."""
    digest: str = ""
    detail: str = ""
    """A few words for its stage: `was here`, `rehearsed`."""
    pulled: bool = False
    """We brought it, so it is ours to remove."""


class Source(Protocol):
    """Brings Artifacts of one kind. Raises `errors.AgentFailure`, which names the Artifact and what to do."""

    async def get(self, fetch: Fetch) -> Got:
        """Return when it is here and verified; at once where it is here already. Cancelled when nothing wants it."""

    async def here(self, artifact: Artifact, got: Got) -> bool:
        """Whether what an earlier life of the agent brought is still here."""

    async def remove(self, artifact: Artifact, got: Got) -> bool:
        """Nothing wants it any more. False: something still uses it; asked again later."""
