"""What a Replica's engine needs on this machine before it is started: image, weights, and what was compiled before."""

import asyncio
from dataclasses import replace

from fleetctl.agent.artifacts import Artifacts
from fleetctl.agent.caches.keeper import EngineCaches
from fleetctl.agent.replica_records import ReplicaRecord
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import Artifact, EngineCache, ReplicaSpec
from fleetctl.model.replicas import Stage


def weights(spec: ReplicaSpec) -> Artifact:
    return Artifact(kind="weights", name=spec.model)


def needs(spec: ReplicaSpec) -> tuple[Artifact, ...]:
    """What there is no start without."""
    return (weights(spec),) if spec.image is None else (Artifact(kind="image", name=spec.image), weights(spec))


class Preparing:
    """Puts back what engines of a Replica's kind have compiled before, while image and weights are fetched."""

    def __init__(self, replica: ReplicaId, caches: EngineCaches) -> None:
        self._replica = replica
        self._caches = caches
        self._task: asyncio.Task[Stage | None] | None = None
        self._cache: EngineCache | None = None

    def begin(self, cache: EngineCache | None) -> None:
        """Beside the image and the weights; it is done when they are, or hardly later."""
        if cache != self._cache:
            self.cancel()
            if cache is not None:
                self._task = asyncio.ensure_future(self._caches.prepare(self._replica, cache))
            self._cache = cache

    async def done(self, cache: EngineCache | None) -> Stage | None:
        """How long it took to put back; None: there was nothing to put back."""
        self.begin(cache)
        return await asyncio.shield(self._task) if self._task is not None else None

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = self._cache = None

    async def detach(self) -> None:
        """Break it off, and wait until it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def fetch_stages(artifacts: Artifacts, record: ReplicaRecord) -> tuple[Stage, ...]:
    """Fetches that this Replica waited, or waits, for; what was here before it came is none of its stages."""
    found = []
    for artifact in needs(record.spec):
        stage = artifacts.stage(artifact)
        if stage is not None and (stage.ended_at is None or stage.ended_at > record.accepted_at):
            if stage.started_at < record.accepted_at and stage.ended_at is not None:
                stage = replace(stage, whole_s=stage.ended_at - stage.started_at)
            found.append(replace(stage, started_at=max(stage.started_at, record.accepted_at)))
    return tuple(found)
