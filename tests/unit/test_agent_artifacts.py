"""What a Node holds is looked at again and again, and fetched anew when somebody took it away."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleetctl.agent.artifacts import Artifacts
from fleetctl.agent.folder import Folder
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState

IMAGE = Artifact(kind="image", name="quay.io/acme/engine:v1")
NEVER_S = 1e9


@dataclass
class Shelf:
    """A `Source` that holds what it was asked for, until somebody takes it away."""

    held: set[Artifact] = field(default_factory=set)
    fetched: int = 0
    looked: int = 0
    silent: bool = False
    """It cannot say whether it is here."""

    async def get(self, fetch: Fetch) -> Got:
        self.fetched += 1
        self.held.add(fetch.artifact)
        return Got(size=1)

    async def here(self, artifact: Artifact, got: Got) -> bool:
        self.looked += 1
        if self.silent:
            raise AgentFailure("Docker does not answer")
        return artifact in self.held

    async def remove(self, artifact: Artifact, got: Got) -> bool:
        return True


def holding(folder: Path, shelf: Shelf, verify_s: float) -> Artifacts:
    return Artifacts(InstanceId("i-1"), Folder(folder), {"image": shelf}, lambda: None, verify_s=verify_s)


async def passed(artifacts: Artifacts) -> ArtifactState:
    """One pass of the agent, and all that follows from it."""
    artifacts.want((IMAGE,))
    for _ in range(10):
        await asyncio.sleep(0)
    return artifacts.status()[0].state


async def test_what_was_taken_away_is_missed_and_fetched_again(tmp_path: Path) -> None:
    shelf = Shelf()
    artifacts = holding(tmp_path, shelf, verify_s=0.0)
    await passed(artifacts)
    shelf.held.clear()

    state = await passed(artifacts)

    assert state is ArtifactState.PRESENT
    assert (shelf.fetched, shelf.held) == (2, {IMAGE})


async def test_between_two_looks_nothing_is_asked(tmp_path: Path) -> None:
    shelf = Shelf()
    artifacts = holding(tmp_path, shelf, verify_s=NEVER_S)

    for _ in range(5):
        await passed(artifacts)

    assert (shelf.fetched, shelf.looked) == (1, 0)


async def test_before_an_engine_starts_it_is_looked_at_whenever_that_was_last(tmp_path: Path) -> None:
    shelf = Shelf()
    artifacts = holding(tmp_path, shelf, verify_s=NEVER_S)
    await passed(artifacts)
    shelf.held.clear()

    await artifacts.present(IMAGE)

    assert (shelf.fetched, shelf.looked) == (2, 1)


@pytest.mark.parametrize("verify_s", [0.0, NEVER_S], ids=["by a look", "before an engine"])
async def test_not_known_is_not_gone(tmp_path: Path, verify_s: float) -> None:
    shelf = Shelf()
    artifacts = holding(tmp_path, shelf, verify_s=verify_s)
    await passed(artifacts)
    shelf.silent = True

    await artifacts.present(IMAGE)
    state = await passed(artifacts)

    assert state is ArtifactState.PRESENT
    assert shelf.fetched == 1
