"""What this machine shall hold: fetched side by side, remembered on disk, let go when nothing wants it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fleetctl.agent.disk import disk_failure, named
from fleetctl.agent.folder import Folder, read, write
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got, Source
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed
from fleetctl.model.replicas import Stage

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""A fetch that failed is tried again after this long while it is still wanted: soon enough for a registry that was
restarted, too seldom to be a burden on one that is down."""

VERIFY_S = 180.0
"""What is here is looked at this often, and before each engine that needs it: somebody may have removed it by hand."""

_REMOVE_TRIES = 30
_REMOVE_PERIOD_S = 2.0
"""What is still used by an engine that is ending is asked for again; a minute outlasts any engine's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """One Artifact that is here, as remembered on disk."""

    artifact: Artifact
    stage: Stage
    bytes_done: int | None = None
    pulled: bool = False
    path: str = ""
    digest: str = ""
    origin_bytes: int = 0
    peer_bytes: int = 0

    @property
    def got(self) -> Got:
        return Got(
            path=self.path,
            size=self.bytes_done,
            digest=self.digest,
            detail=self.stage.detail,
            pulled=self.pulled,
        )


class Artifacts:
    """Each kind comes through its own Source."""

    def __init__(
        self,
        instance: InstanceId,
        folder: Folder,
        sources: Mapping[str, Source],
        changed: Callable[[], None],
        *,
        verify_s: float = VERIFY_S,
    ) -> None:
        self._instance = instance
        self._verify_s = verify_s
        self._folder = folder
        self._sources = sources
        self._changed = changed
        self._held = {held.artifact: held for held in read(folder.artifacts, tuple[_Held, ...]) or ()}
        self._doubted = set(self._held)
        """Held by an earlier life of the agent, and not looked at since."""
        self._looked: dict[Artifact, float] = {}
        """When each was last seen to be here, by the monotonic clock."""
        self._status = {held.artifact: _present(held) for held in self._held.values()}
        self._failures: dict[Artifact, str] = {}
        """Why the last try failed, of what was not fetched since."""
        self._fetches: dict[Artifact, Fetch] = {}
        self._wanted: frozenset[Artifact] = frozenset()
        self._feeds: dict[Artifact, Feed] = {}
        self._tasks: dict[Artifact, asyncio.Task[None]] = {}
        self._removals: dict[Artifact, asyncio.Task[None]] = {}

    def want(self, artifacts: Iterable[Artifact], feeds: Iterable[Feed] = ()) -> None:
        """Fetch what is wanted and not here, as the feeds have it; drop what is not wanted. Returns at once."""
        wanted = frozenset(artifacts)
        self._feeds = {feed.artifact: feed for feed in feeds}
        for artifact, fetch in self._fetches.items():
            fetch.follow(self._feeds.get(artifact))
        if wanted != self._wanted:
            self._wanted = wanted
            for artifact in [artifact for artifact in self._status if artifact not in wanted]:
                self._drop(artifact)
        for artifact in wanted:
            status = self._status.get(artifact)
            if artifact in self._doubted:
                self._doubted.discard(artifact)
                self._keep_task(self._tasks, artifact, self._looked_at(self._held[artifact]))
            elif status is not None and status.state is ArtifactState.PRESENT:
                if time.monotonic() - self._looked.get(artifact, 0.0) > self._verify_s:
                    self._look(artifact)
            elif status is None or (status.state is ArtifactState.FAILED and _failed_for_s(status) > RETRY_S):
                self._fetch(artifact)

    async def present(self, artifact: Artifact) -> None:
        """Return when the Artifact is here, as was just seen. Raises `AgentFailure` when it could not be fetched."""
        status = self._status.get(artifact)
        if status is None or status.state is ArtifactState.FAILED:
            self._fetch(artifact)
        else:
            self._look(artifact)
        task = self._tasks.get(artifact)
        if task is not None:
            await asyncio.wait({task})
        status = self._status.get(artifact)
        if status is None or status.state is not ArtifactState.PRESENT:
            raise AgentFailure((status and status.failure) or f"{artifact.kind} {artifact.name} is no longer wanted")

    def wants(self, artifact: Artifact) -> bool:
        return artifact in self._wanted

    def adopt(self, artifact: Artifact, got: Got) -> None:
        """It was made here, and is here from now on; `want` names it the next time."""
        if artifact not in self._tasks:
            held = self._held[artifact] = _held(Fetch(artifact), got)
            self._remember()
            self._status[artifact] = _present(held)

    def forget(self, artifact: Artifact) -> None:
        """It is no good, and is fetched again where it is still wanted."""
        if artifact not in self._tasks:
            self._doubted.discard(artifact)
            self._status.pop(artifact, None)
            if self._held.pop(artifact, None) is not None:
                self._remember()

    def path(self, artifact: Artifact) -> str:
        """The folder or file that holds it; empty: it is not here, or has no place of its own."""
        held = self._held.get(artifact)
        return held.path if held is not None else ""

    def stage(self, artifact: Artifact) -> Stage | None:
        status = self._now(artifact)
        if status is None or status.stage is None:
            return None
        return replace(status.stage, origin_bytes=status.origin_bytes, peer_bytes=status.peer_bytes)

    def status(self) -> tuple[ArtifactStatus, ...]:
        in_order = sorted(self._status, key=lambda one: (one.kind, one.name))
        return tuple(status for artifact in in_order if (status := self._now(artifact)) is not None)

    async def close(self) -> None:
        """End the fetches under way; what is here stays."""
        tasks = (*self._tasks.values(), *self._removals.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _now(self, artifact: Artifact) -> ArtifactStatus | None:
        fetch = self._fetches.get(artifact)
        if fetch is None:
            return self._status.get(artifact)
        return replace(fetch.status(ArtifactState.FETCHING), failure=self._failures.get(artifact))

    def _fetch(self, artifact: Artifact) -> None:
        if artifact not in self._tasks:
            self._keep_task(self._tasks, artifact, self._fetched(self._begin(artifact)))

    def _look(self, artifact: Artifact) -> None:
        """See whether it is still here, and fetch it if not, unless that is under way."""
        held = self._held.get(artifact)
        if held is not None and artifact not in self._tasks:
            self._keep_task(self._tasks, artifact, self._looked_at(held))

    def _begin(self, artifact: Artifact) -> Fetch:
        fetch = Fetch(artifact, self._feeds.get(artifact))
        self._fetches[artifact] = fetch
        self._status[artifact] = fetch.status(ArtifactState.FETCHING)
        return fetch

    async def _looked_at(self, held: _Held) -> None:
        self._looked[held.artifact] = time.monotonic()
        try:
            here = await self._sources[held.artifact.kind].here(held.artifact, held.got)
        except (AgentFailure, OSError) as failure:
            log.warning("whether %s is still here is not known: %s", held.artifact.name, failure)
            return
        if not here:
            log.warning("%s %s was removed by somebody; it is fetched again", held.artifact.kind, held.artifact.name)
            self._held.pop(held.artifact, None)
            self._remember()
            await self._fetched(self._begin(held.artifact))

    async def _fetched(self, fetch: Fetch) -> None:
        artifact = fetch.artifact
        try:
            removal = self._removals.get(artifact)
            if removal is not None:
                removal.cancel()
                await asyncio.wait({removal})
            got = await self._sources[artifact.kind].get(fetch)
            held = _held(fetch, got)
            self._held[artifact] = held
            self._looked[artifact] = time.monotonic()
            self._remember()
            self._status[artifact] = _present(held)
            self._failures.pop(artifact, None)
        except AgentFailure as failure:
            self._fail(fetch, failure)
        except OSError as error:
            self._fail(fetch, disk_failure(f"{artifact.kind} {artifact.name}", error, self._folder.root))
        except Exception as error:  # a fault of ours in one fetch must not leave it FETCHING for ever
            log.exception("%s %s", artifact.kind, artifact.name)
            what = f"{artifact.kind} {artifact.name}: the node agent failed with {type(error).__name__}"
            self._fail(fetch, AgentFailure(what, hint="it is tried again; agent.log on the node says more"))
        finally:
            if self._fetches.get(artifact) is fetch:
                del self._fetches[artifact]

    def _fail(self, fetch: Fetch, failure: AgentFailure) -> None:
        said = named(self._instance, f"{failure.message}; {failure.hint}" if failure.hint else failure.message)
        self._failures[fetch.artifact] = said
        self._status[fetch.artifact] = _failed(fetch, said)

    def _drop(self, artifact: Artifact) -> None:
        del self._status[artifact]
        self._failures.pop(artifact, None)
        self._looked.pop(artifact, None)
        self._doubted.discard(artifact)
        task = self._tasks.pop(artifact, None)
        if task is not None:
            task.cancel()
        held = self._held.pop(artifact, None)
        if held is not None:
            self._remember()
            self._keep_task(self._removals, artifact, self._removed(held))

    async def _removed(self, held: _Held) -> None:
        artifact = held.artifact
        for _ in range(_REMOVE_TRIES):
            try:
                if await self._sources[artifact.kind].remove(artifact, held.got):
                    return
            except (AgentFailure, OSError) as failure:
                log.warning("%s %s is not removed yet: %s", artifact.kind, artifact.name, failure)
            await asyncio.sleep(_REMOVE_PERIOD_S)
        log.warning("%s %s is in use and was left where it is", artifact.kind, artifact.name)

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
        try:
            write(self._folder.artifacts, tuple(self._held.values()))
        except OSError as error:  # what is here is found again; no reason to fail what was fetched, nor the others
            log.warning("%s", disk_failure("the list of what is here", error, self._folder.root).message)


def _held(fetch: Fetch, got: Got) -> _Held:
    status = fetch.status(ArtifactState.PRESENT)
    stage = replace(fetch.stage, ended_at=time.time(), bytes_total=got.size, detail=got.detail)
    return _Held(
        artifact=fetch.artifact,
        stage=stage,
        bytes_done=got.size,
        pulled=got.pulled,
        path=got.path,
        digest=got.digest,
        origin_bytes=status.origin_bytes,
        peer_bytes=status.peer_bytes,
    )


def _present(held: _Held) -> ArtifactStatus:
    return ArtifactStatus(
        artifact=held.artifact,
        state=ArtifactState.PRESENT,
        stage=held.stage,
        bytes_done=held.bytes_done,
        bytes_total=held.bytes_done,
        origin_bytes=held.origin_bytes,
        peer_bytes=held.peer_bytes,
        digest=held.digest,
    )


def _failed(fetch: Fetch, said: str) -> ArtifactStatus:
    status = fetch.status(ArtifactState.FAILED)
    return replace(status, stage=replace(fetch.stage, ended_at=time.time()), failure=said)


def _failed_for_s(status: ArtifactStatus) -> float:
    ended = status.stage.ended_at if status.stage else None
    return time.time() - ended if ended is not None else 0.0
