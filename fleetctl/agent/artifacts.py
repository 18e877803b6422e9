"""Images and weights on this machine: fetched side by side, remembered on disk, dropped when nothing wants them."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

from fleetctl.agent.folder import Folder, read, write
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus
from fleetctl.model.replicas import Stage
from fleetctl.model.services import LocalMachine

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""A fetch that failed is tried again after this long while it is still wanted: soon enough for a registry that was
restarted, too seldom to be a burden on one that is down."""

_REMOVE_TRIES = 30
_REMOVE_PERIOD_S = 2.0
"""An image still used by an engine that is ending is asked for again; a minute outlasts any engine's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """One artifact that is here, as remembered on disk."""

    artifact: Artifact
    stage: Stage
    bytes_done: int | None = None
    pulled: bool = False
    """We pulled the image, so it is ours to remove."""


class Artifacts:
    def __init__(
        self, folder: Folder, runtimes: Runtimes, rehearsed: LocalMachine, changed: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._runtimes = runtimes
        self._rehearsed = rehearsed
        self._changed = changed
        self._held = {held.artifact: held for held in read(folder.artifacts, tuple[_Held, ...]) or ()}
        self._status = {held.artifact: _present(held) for held in self._held.values()}
        self._wanted: frozenset[Artifact] = frozenset()
        self._tasks: dict[Artifact, asyncio.Task[None]] = {}
        self._removals: dict[Artifact, asyncio.Task[None]] = {}

    def want(self, artifacts: Iterable[Artifact]) -> None:
        """Fetch what is wanted and not here; drop what is here and not wanted. Returns at once."""
        wanted = frozenset(artifacts)
        if wanted != self._wanted:
            self._wanted = wanted
            for artifact in [artifact for artifact in self._status if artifact not in wanted]:
                self._drop(artifact)
        for artifact in wanted:
            status = self._status.get(artifact)
            if status is None or (status.state is ArtifactState.FAILED and _failed_for_s(status) > RETRY_S):
                self._fetch(artifact)

    async def present(self, artifact: Artifact) -> None:
        """Return when the artifact is here. Raises `AgentFailure` when it could not be fetched."""
        status = self._status.get(artifact)
        if status is None or status.state is ArtifactState.FAILED:
            self._fetch(artifact)
        task = self._tasks.get(artifact)
        if task is not None:
            await asyncio.wait({task})
        status = self._status.get(artifact)
        if status is None or status.state is not ArtifactState.PRESENT:
            raise AgentFailure((status and status.failure) or f"{artifact.kind} {artifact.name} is no longer wanted")

    def stage(self, artifact: Artifact) -> Stage | None:
        status = self._status.get(artifact)
        return None if status is None else status.stage

    def status(self) -> tuple[ArtifactStatus, ...]:
        return tuple(self._status[artifact] for artifact in sorted(self._status, key=lambda one: (one.kind, one.name)))

    async def close(self) -> None:
        """End the fetches under way; what is here stays."""
        tasks = (*self._tasks.values(), *self._removals.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetch(self, artifact: Artifact) -> None:
        if artifact in self._tasks:
            return
        stage = Stage(name=artifact.kind, started_at=time.time())
        self._status[artifact] = ArtifactStatus(artifact=artifact, state=ArtifactState.FETCHING, stage=stage)
        self._keep_task(self._tasks, artifact, self._fetched(artifact, stage))

    async def _fetched(self, artifact: Artifact, stage: Stage) -> None:
        removal = self._removals.get(artifact)
        if removal is not None:
            removal.cancel()
            await asyncio.wait({removal})
        try:
            held = await self._get(artifact, stage)
        except AgentFailure as failure:
            said = f"{failure.message}; {failure.hint}" if failure.hint else failure.message
            self._status[artifact] = replace(
                self._status[artifact],
                state=ArtifactState.FAILED,
                stage=replace(stage, ended_at=time.time()),
                failure=said,
            )
            return
        held = replace(held, stage=replace(held.stage, ended_at=time.time()))
        self._held[artifact] = held
        self._remember()
        self._status[artifact] = _present(held)

    async def _get(self, artifact: Artifact, stage: Stage) -> _Held:
        match artifact.kind:
            case "image":
                return await self._get_image(artifact, stage)
            case "weights":
                return await self._get_weights(artifact, stage)
        assert_never(artifact.kind)

    async def _get_image(self, artifact: Artifact, stage: Stage) -> _Held:
        if self._rehearsed.image_s > 0 or not await self._runtimes.pulls_images():
            await asyncio.sleep(self._rehearsed.image_s)
            return _Held(artifact=artifact, stage=replace(stage, detail="rehearsed"))
        size = await self._runtimes.images.held(artifact.name)
        if size is not None:
            return _Held(artifact=artifact, stage=replace(stage, detail="was here"), bytes_done=size)

        def progress(done: int, total: int) -> None:
            self._status[artifact] = replace(
                self._status[artifact], bytes_done=done, stage=replace(stage, bytes_total=total)
            )

        await self._runtimes.images.pull(artifact.name, progress)
        seen = self._status[artifact]
        return _Held(artifact=artifact, stage=seen.stage or stage, bytes_done=seen.bytes_done, pulled=True)

    async def _get_weights(self, artifact: Artifact, stage: Stage) -> _Held:
        scheme, _, rest = artifact.name.partition("://")
        if scheme == "rehearsal" or self._rehearsed.weights_s > 0:
            await asyncio.sleep(self._rehearsed.weights_s)
            return _Held(artifact=artifact, stage=replace(stage, detail="rehearsed"))
        if scheme == "file" and rest:
            size = await asyncio.to_thread(_size_bytes, Path("/" + rest.lstrip("/")))
            return _Held(artifact=artifact, stage=replace(stage, bytes_total=size), bytes_done=size)
        return _Held(artifact=artifact, stage=replace(stage, detail="fetched by the engine"))

    def _drop(self, artifact: Artifact) -> None:
        del self._status[artifact]
        task = self._tasks.pop(artifact, None)
        if task is not None:
            task.cancel()
        held = self._held.pop(artifact, None)
        if held is not None:
            self._remember()
            if held.pulled:
                self._keep_task(self._removals, artifact, self._remove_image(artifact))

    async def _remove_image(self, artifact: Artifact) -> None:
        for _ in range(_REMOVE_TRIES):
            try:
                if await self._runtimes.images.remove(artifact.name):
                    return
            except AgentFailure as failure:
                log.warning("%s", failure.message)
            await asyncio.sleep(_REMOVE_PERIOD_S)
        log.warning("image %s is in use and was left where it is", artifact.name)

    def _keep_task(
        self, tasks: dict[Artifact, asyncio.Task[None]], artifact: Artifact, work: Coroutine[Any, Any, None]
    ) -> None:
        task = asyncio.create_task(work)
        tasks[artifact] = task

        def ended(done: asyncio.Task[None]) -> None:
            if tasks.get(artifact) is done:
                del tasks[artifact]
            self._changed()

        task.add_done_callback(ended)

    def _remember(self) -> None:
        write(self._folder.artifacts, tuple(self._held.values()))


def _present(held: _Held) -> ArtifactStatus:
    return ArtifactStatus(
        artifact=held.artifact, state=ArtifactState.PRESENT, stage=held.stage, bytes_done=held.bytes_done
    )


def _failed_for_s(status: ArtifactStatus) -> float:
    ended = status.stage.ended_at if status.stage else None
    return time.time() - ended if ended is not None else 0.0


def _size_bytes(path: Path) -> int:
    """Of a file or of everything in a folder. Raises `AgentFailure` when there is nothing."""
    if path.is_file():
        return path.stat().st_size
    if not path.is_dir():
        raise AgentFailure(f"weights {path} are not on this node", hint="put them there, or correct model:")
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            if file.is_file():  # a link may lead nowhere
                size += file.stat().st_size
    return size
