"""What a machine shall hold: fetched, told of, remembered and let go, whatever its Sources do."""

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
from fleetctl.model.nodes import Artifact, ArtifactState, Feed, Peer

WEIGHTS = Artifact(kind="weights", name="s3://models/x")
CACHE = Artifact(kind="cache", name="abc")


@dataclass
class Source:
    """One that does what it is told."""

    fault: Exception | None = None
    slow: bool = False
    gone: bool = False
    """What it brought is not here any more."""
    asked: list[Fetch] = field(default_factory=list)
    removed: list[Got] = field(default_factory=list)
    cancelled: int = 0

    async def get(self, fetch: Fetch) -> Got:
        self.asked.append(fetch)
        fetch.expect(100)
        fetch.moved(origin=60, done=60)
        try:
            if self.slow:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fault is not None:
            raise self.fault
        return Got(path="/store/x", size=100, digest="d1")

    async def here(self, artifact: Artifact, got: Got) -> bool:
        return not self.gone

    async def remove(self, artifact: Artifact, got: Got) -> bool:
        self.removed.append(got)
        return True


def artifacts(root: Path, source: Source) -> Artifacts:
    return Artifacts(
        InstanceId("i-1"), Folder(root), {"image": source, "weights": source, "cache": source}, lambda: None
    )


async def test_fetched_and_told_of(tmp_path: Path) -> None:
    held = artifacts(tmp_path, Source())

    held.want([WEIGHTS, CACHE])
    await held.present(WEIGHTS)
    await held.present(CACHE)

    cache, weights = held.status()
    assert (cache.artifact, weights.artifact) == (CACHE, WEIGHTS)
    assert (weights.state, weights.bytes_done, weights.bytes_total) == (ArtifactState.PRESENT, 100, 100)
    assert (weights.origin_bytes, weights.digest) == (60, "d1")
    assert held.path(WEIGHTS) == "/store/x"
    await held.close()


async def test_one_under_way_tells_how_far_it_is_and_hears_whom_to_follow(tmp_path: Path) -> None:
    source = Source(slow=True)
    held = artifacts(tmp_path, source)
    held.want([WEIGHTS])
    await asyncio.sleep(0)

    feed = Feed(artifact=WEIGHTS, parents=(Peer(instance=InstanceId("i-2"), address="h:1"),))
    held.want([WEIGHTS], [feed])

    (status,) = held.status()
    assert (status.state, status.bytes_done, status.bytes_total) == (ArtifactState.FETCHING, 60, 100)
    assert source.asked[0].feed == feed and source.asked[0].refed.is_set()
    await held.close()
    assert source.cancelled == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (AgentFailure("no such model", hint="correct model:"), "no such model; correct model:"),
        (ValueError("oops"), "weights s3://models/x: the node agent failed with ValueError"),
    ],
)
async def test_a_fetch_that_fails_says_why(tmp_path: Path, fault: Exception, said: str) -> None:
    held = artifacts(tmp_path, Source(fault=fault))
    held.want([WEIGHTS])

    with pytest.raises(AgentFailure) as failure:
        await held.present(WEIGHTS)

    (status,) = held.status()
    assert failure.value.message == status.failure
    assert said in failure.value.message and "i-1" in failure.value.message
    assert status.state is ArtifactState.FAILED
    await held.close()


async def test_what_nothing_wants_is_let_go_and_what_is_on_its_way_broken_off(tmp_path: Path) -> None:
    source = Source()
    held = artifacts(tmp_path, source)
    held.want([WEIGHTS])
    await held.present(WEIGHTS)
    source.slow = True
    held.want([WEIGHTS, CACHE])
    await asyncio.sleep(0)

    held.want([])
    for _ in range(5):
        await asyncio.sleep(0)

    assert held.status() == ()
    assert source.cancelled == 1
    assert [got.path for got in source.removed] == ["/store/x"]
    await held.close()


@pytest.mark.parametrize(("gone", "fetches"), [(False, 0), (True, 1)])
async def test_what_an_earlier_life_held_is_looked_at_before_it_counts(
    tmp_path: Path, gone: bool, fetches: int
) -> None:
    first = artifacts(tmp_path, Source())
    first.want([WEIGHTS])
    await first.present(WEIGHTS)
    await first.close()
    source = Source(gone=gone)

    second = artifacts(tmp_path, source)
    second.want([WEIGHTS])
    await second.present(WEIGHTS)

    (status,) = second.status()
    assert len(source.asked) == fetches
    assert (status.state, status.digest, second.path(WEIGHTS)) == (ArtifactState.PRESENT, "d1", "/store/x")
    await second.close()
