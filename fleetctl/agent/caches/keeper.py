"""The engine caches of this Node: put back before an engine starts, saved once one has shown that it is complete."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from fleetctl.agent.artifacts import Artifacts
from fleetctl.agent.caches import trees, working
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.folder import Folder
from fleetctl.agent.sources.caches import CacheSource
from fleetctl.agent.threads import to_its_end
from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import Artifact, EngineCache
from fleetctl.model.replicas import Stage

log = logging.getLogger(__name__)

PATIENCE_S = 120.0
"""A start waits so long for a cache that comes from another Node: about what compiling for itself takes (70 s for a
model of 70 thousand million parameters, vllm#19824, and its kernels)."""

SETTLE_S = 2.0
"""A folder in which nothing has changed for so long after the engine was ready is complete: what compiles writes file
after file, without pauses of seconds."""

SETTLE_MOST_S = 300.0
"""An engine that still writes by then is not waited for; the next one that starts is."""

_LOOK_S = 0.5


class EngineCaches:
    """One for the Node: engines of one key share a folder, and one save."""

    def __init__(
        self,
        folder: Folder,
        store: Store,
        source: CacheSource,
        artifacts: Artifacts,
        changed: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._store = store
        self._source = source
        self._artifacts = artifacts
        self._changed = changed
        self._users: dict[ReplicaId, EngineCache] = {}
        self._started: set[ReplicaId] = set()
        """Of these: those that may be writing there by now."""
        self._here: set[Artifact] = set()
        """Known to be in the store."""
        self._refused: set[Artifact] = set()
        """Not to be tried again in this life of the agent: too large, never at rest, or there is no room."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._saves: dict[Artifact, asyncio.Task[None]] = {}
        self._sweep: asyncio.Task[None] | None = None
        self._left = False
        """An engine has ended since the sweep under way looked."""

    def use(self, replica: ReplicaId, cache: EngineCache) -> None:
        """The Replica's engine runs in the working folder of this key."""
        self._users[replica] = cache
        self._started.add(replica)

    def leave(self, replica: ReplicaId) -> None:
        """Its engine has ended: a folder that nobody uses any more goes where it can come back from the store."""
        self._started.discard(replica)
        if self._users.pop(replica, None) is not None:
            self._left = True
            if self._sweep is None:
                self._sweep = asyncio.ensure_future(self._swept())

    def holds(self, cache: EngineCache | None) -> bool:
        """Whether it is in this Node's store, for others to have."""
        return cache is not None and cache.artifact in self._here

    async def prepare(self, replica: ReplicaId, cache: EngineCache) -> Stage | None:
        """Put back what was compiled before, if any Node has it. Returns that stage; None: there was nothing to wait
        for. Never fails: without its cache an engine only starts more slowly."""
        self._users[replica] = cache
        artifact = cache.artifact
        begun = time.time()
        async with self._lock(artifact.name):
            restored = None
            if await self._somewhere(artifact) and not self._ready_to_use(artifact):
                restored = await self._restored(artifact)
            try:
                await asyncio.to_thread(working.made_parts, self._folder, cache)
            except OSError as error:
                log.warning("engine cache %s: %s", artifact.name, error)
            self._started.add(replica)
        if restored is None:
            return None
        return Stage(name="cache", started_at=begun, ended_at=time.time(), bytes_total=restored, detail="restored")

    def save_soon(self, cache: EngineCache | None) -> None:
        """An engine of this key is ready: what it compiled is saved once it rests, unless it is already."""
        if cache is None or cache.artifact in self._here | self._refused or cache.artifact in self._saves:
            return
        task = self._saves[cache.artifact] = asyncio.ensure_future(self._saved(cache))
        task.add_done_callback(lambda _: self._saves.pop(cache.artifact, None))

    async def close(self) -> None:
        """End what is under way; what is half saved is begun again by the next life of the agent."""
        tasks = [*self._saves.values(), *((self._sweep,) if self._sweep is not None else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ready_to_use(self, artifact: Artifact) -> bool:
        """Whether the working folder has all of it already, or is in the hands of an engine that compiles there."""
        busy = any(self._users[replica].artifact == artifact for replica in self._started)
        return busy or working.marked(self._folder, artifact.name)

    async def _somewhere(self, artifact: Artifact) -> bool:
        """Whether it is in our store, or on its way to it."""
        if await self._store.held(artifact) is not None:
            self._here.add(artifact)
            self._changed()
            return True
        return self._artifacts.wants(artifact)

    async def _restored(self, artifact: Artifact) -> int | None:
        place = working.working_folder(self._folder, artifact.name)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._artifacts.present(artifact)
            self._here.add(artifact)
            size = await to_its_end(asyncio.to_thread(trees.restore, Path(self._artifacts.path(artifact)), place))
            working.mark(self._folder, artifact.name)
        except TimeoutError:
            log.warning("engine cache %s did not come within %g s: the engine compiles anew", artifact.name, PATIENCE_S)
        except OSError as error:
            log.warning("engine cache %s could not be put back: %s", artifact.name, error)
        except AgentFailure as failure:
            log.warning("%s: the engine compiles anew", failure.message)
            if artifact in self._here:
                await self._forget(artifact)
        else:
            return size
        return None

    async def _forget(self, artifact: Artifact) -> None:
        """What was saved is no good: the next that is compiled is saved in its place."""
        self._here.discard(artifact)
        self._artifacts.forget(artifact)
        await self._store.discard(artifact)
        self._changed()

    async def _saved(self, cache: EngineCache) -> None:
        artifact = cache.artifact
        copy = self._folder.working / f".{artifact.name}.saving"
        try:
            if await self._store.held(artifact) is None:
                if not await self._settled(artifact, copy):
                    return
                got = await self._source.keep(artifact, copy)
                self._artifacts.adopt(artifact, got)
                log.info("engine cache %s is saved: %s bytes", artifact.name, got.size)
            self._here.add(artifact)
            working.mark(self._folder, artifact.name)
            self._changed()
        except (AgentFailure, OSError) as error:
            self._refused.add(artifact)
            log.warning("engine cache %s is not saved: %s", artifact.name, error)
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, copy, ignore_errors=True))

    async def _settled(self, artifact: Artifact, copy: Path) -> bool:
        """Copy the working folder once it rests. False: there is nothing in it, or it never does."""
        place = working.working_folder(self._folder, artifact.name)
        until = time.monotonic() + SETTLE_MOST_S
        last, since = await asyncio.to_thread(trees.seen, place), time.monotonic()
        while time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)
            look = await asyncio.to_thread(trees.seen, place)
            if look != last:
                last, since = look, time.monotonic()
            elif time.monotonic() - since >= SETTLE_S:
                if not look.files:
                    return False  # the next start may compile something
                try:
                    await to_its_end(asyncio.to_thread(trees.save, place, copy))
                except trees.Moving:
                    since = time.monotonic()
                else:
                    return True
        raise AgentFailure(f"it still grows after {SETTLE_MOST_S:g} s")

    async def _swept(self) -> None:
        try:
            while self._left:
                self._left = False
                for place in await asyncio.to_thread(working.removable, self._folder, self._used()):
                    async with self._lock(working.key_of(place)):
                        if working.key_of(place) not in self._used():
                            await to_its_end(asyncio.to_thread(working.clear, self._folder, place))
        except OSError as error:
            log.warning("old engine caches were not removed: %s", error)
        finally:
            self._sweep = None

    def _used(self) -> set[str]:
        used = {cache.artifact.name for cache in self._users.values()}
        return used | {artifact.name for artifact in self._saves}

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())
