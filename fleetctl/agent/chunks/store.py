"""The Artifacts that this Node holds in chunks: on their way, published, and let go when the disk is needed."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fleetctl.agent.chunks import publish
from fleetctl.agent.chunks.chunks import Chunks
from fleetctl.agent.chunks.fetching import Fetching
from fleetctl.agent.chunks.follow import Patience
from fleetctl.agent.chunks.layout import Layout, chunk_size
from fleetctl.agent.chunks.lru import Entry, evicted
from fleetctl.agent.chunks.staging import Staging, no_space
from fleetctl.agent.chunks.wire import name_of
from fleetctl.agent.disk import cleared, disk_failure
from fleetctl.agent.folder import read, write
from fleetctl.agent.origins.origin import Origin
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
from fleetctl.agent.threads import to_its_end
from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Artifact

log = logging.getLogger(__name__)

LIMIT_SHARE = 0.7
"""Of the disk, for Artifacts that nothing wants just now and those that something does; the rest is for images, logs
and whatever else lives there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """An Artifact's name, and what was published for it."""

    artifact: Artifact
    digest: str
    size: int
    used_at: float


class _Published:
    """A `Chunks` of which nothing is missing."""

    failed = False
    arrived: tuple[int, ...] = ()

    def __init__(self, tree: Path, manifest: publish.Manifest) -> None:
        self.tree = tree
        self.layout = manifest.layout
        self.news = asyncio.Event()
        self._hashes = manifest.chunk_hashes()

    def hash_of(self, index: int) -> bytes | None:
        return self._hashes[index]


class Store:
    """In `root`: KIND/DIGEST with the files, staging/NAME with what comes, names/NAME.json with who is what."""

    def __init__(
        self,
        root: Path,
        *,
        limit_bytes: int | None = None,
        patience: Patience | None = None,
        cut: Callable[[int], int] = chunk_size,
    ) -> None:
        self.root = root
        self.key: bytes | None = None
        """The fleet's; without it this Node follows nobody."""
        self._limit_bytes = limit_bytes
        self._patience = patience or Patience()
        self._cut = cut
        self._names: dict[str, _Named] | None = None
        self._coming: dict[str, Staging] = {}
        self._shown: dict[str, Chunks] = {}
        self._kept: frozenset[Artifact] = frozenset()
        self._locks: dict[str, asyncio.Lock] = {}
        """By name: a fetch that was broken off ends before the next one works in its folder."""
        self._tidying: asyncio.Future[None] | None = None
        self._news = asyncio.Event()

    @property
    def news(self) -> asyncio.Event:
        return self._news

    def find(self, name: str) -> Chunks | None:
        """By the name that Nodes use among themselves; for those that it is given to."""
        coming = self._coming.get(name)
        if coming is not None:
            return coming
        shown = self._shown.get(name)
        named = self._known().get(name)
        if shown is None and named is not None:
            manifest = publish.published(self._shelf(named.artifact), named.digest)
            if manifest is not None:
                shown = self._shown[name] = _Published(self._shelf(named.artifact) / named.digest, manifest)
        return shown

    def keep(self, artifacts: Iterable[Artifact]) -> None:
        """These are wanted or in use: never let go. What was and is not any more was last used now."""
        kept = frozenset(artifacts)
        for artifact in self._kept - kept:
            self._touch(name_of(artifact))
        self._kept = kept

    async def held(self, artifact: Artifact) -> Got | None:
        """What is here of it, whole; None: nothing that could be used."""
        named = self._known().get(name_of(artifact))
        if named is None:
            return None
        shelf = self._shelf(artifact)
        manifest = await asyncio.to_thread(publish.published, shelf, named.digest)
        if manifest is None:
            return None
        self._touch(name_of(artifact))
        return Got(path=str(shelf / named.digest), size=named.size, digest=named.digest, detail="was here")

    async def get(self, fetch: Fetch, origin: Origin | None) -> Got:
        """The Artifact, fetched, verified and published; at once where it is here. Raises `AgentFailure`.

        Without an origin it comes from Nodes alone.
        """
        name = name_of(fetch.artifact)
        async with self._locks.setdefault(name, asyncio.Lock()):
            held = await self.held(fetch.artifact)
            return held if held is not None else await self._fetched(fetch, origin, name)

    async def _fetched(self, fetch: Fetch, origin: Origin | None, name: str) -> Got:
        artifact = fetch.artifact

        async def opened(layout: Layout) -> Staging:
            await self._make_room(artifact, layout)
            staging = await Staging.open(artifact.name, self._staging(name), layout)
            self._coming[name] = staging
            self._tell()
            return staging

        fetching = Fetching(fetch, key=self.key, origin=origin, opened=opened, patience=self._patience, cut=self._cut)
        try:
            staging = await fetching.run()
            with staging.disk():
                goal = await to_its_end(self._published(staging, artifact))
        finally:
            if fetching.staging is not None:
                fetching.staging.close()
            self._coming.pop(name, None)
        self._tell()
        await self._trim(0, but=goal.name)
        return Got(path=str(goal), size=staging.layout.size, digest=goal.name)

    async def _published(self, staging: Staging, artifact: Artifact) -> Path:
        """What is published is known: broken off between the two, it would lie there for ever."""
        name, size = name_of(artifact), staging.layout.size
        goal = await asyncio.to_thread(publish.publish, staging, self._shelf(artifact))
        self._shown.pop(name, None)
        self._name(name, _Named(artifact=artifact, digest=goal.name, size=size, used_at=time.time()))
        return goal

    async def drop(self, artifact: Artifact) -> None:
        """Let go of it now, whatever room the disk has: it is here in another form."""
        named = self._known().get(name_of(artifact))
        if named is not None:
            await self._let_go(named.digest)

    async def discard(self, artifact: Artifact) -> None:
        """Let go of it, wanted or not: what is here of it is no good."""
        named = self._known().get(name_of(artifact))
        if named is not None:
            await self._let_go(named.digest)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _make_room(self, artifact: Artifact, layout: Layout) -> None:
        """Let go of what nothing wants, as far as the new one needs it. Raises `AgentFailure`."""
        self.root.mkdir(parents=True, exist_ok=True)
        await self._tidied()
        wanted = {name_of(one) for one in self._kept} | {name for name, lock in self._locks.items() if lock.locked()}
        await asyncio.to_thread(self._clear_staging, wanted)
        begun = self._staging(name_of(artifact))
        needed = 0 if begun.exists() else layout.size
        await self._trim(needed)
        if needed > shutil.disk_usage(self.root).free:
            raise no_space(artifact.name, layout.size, self.root)

    async def _tidied(self) -> None:
        """Once in a life, and before anything is published in it: what a crash left gives its place back."""
        if self._tidying is None:
            digests = frozenset(named.digest for named in self._known().values())
            self._tidying = asyncio.ensure_future(asyncio.to_thread(self._tidy, digests))
        await asyncio.shield(self._tidying)

    def _tidy(self, digests: frozenset[str]) -> None:
        for shelf in self.root.glob("*/"):
            if shelf.name not in ("names", "staging"):
                try:
                    publish.sweep(shelf)
                    publish.forget_all_but(shelf, digests)
                except OSError as error:
                    log.warning("%s", disk_failure("what nobody knows any more", error, shelf).message)

    async def _trim(self, coming: int, *, but: str = "") -> None:
        disk = shutil.disk_usage(self.root)
        limit = int(disk.total * LIMIT_SHARE) if self._limit_bytes is None else self._limit_bytes
        entries = {
            named.digest: Entry(digest=named.digest, size=named.size, used_at=named.used_at)
            for named in sorted(self._known().values(), key=lambda named: named.used_at)
        }
        excess = max(sum(entry.size for entry in entries.values()) + coming - limit, coming - disk.free)
        for entry in evicted(entries.values(), self._staying() | {but}, excess=excess):
            if entry.digest not in self._staying():  # it may be wanted again since the one before went
                await self._let_go(entry.digest)

    def _staying(self) -> frozenset[str]:
        return frozenset(named.digest for named in self._known().values() if named.artifact in self._kept)

    async def _let_go(self, digest: str) -> None:
        names = [name for name, named in self._known().items() if named.digest == digest]
        shelves = set()
        for name in names:  # all of them before the first wait: none is taken for here while it goes
            named = self._known().pop(name)
            self._shown.pop(name, None)
            self._names_folder.joinpath(f"{name}.json").unlink(missing_ok=True)
            log.info(
                "%s %s is let go: nothing wants it, and the disk is needed", named.artifact.kind, named.artifact.name
            )
            shelves.add(self._shelf(named.artifact))
        for shelf in shelves:
            await asyncio.to_thread(publish.take_away, shelf, digest)

    def _clear_staging(self, wanted: Collection[str]) -> None:
        """What was begun and is wanted no more gives its space back."""
        for left in self.root.joinpath("staging").glob("*"):
            if left.name not in wanted:
                cleared(left)

    def _known(self) -> dict[str, _Named]:
        if self._names is None:
            self._names = {}
            for path in sorted(self._names_folder.glob("*.json")):
                try:
                    named = read(path, _Named)
                except AgentFailure as failure:
                    log.warning("%s", failure.message)
                    continue
                if named is not None:
                    self._names[path.stem] = named
        return self._names

    def _touch(self, name: str) -> None:
        named = self._known().get(name)
        if named is not None:
            self._name(name, replace(named, used_at=time.time()))

    def _name(self, name: str, named: _Named) -> None:
        self._known()[name] = named
        try:
            self._names_folder.mkdir(parents=True, exist_ok=True)
            write(self._names_folder / f"{name}.json", named)
        except OSError as error:  # it is here; only an agent that is started again now would not know of it
            log.warning("%s", disk_failure(f"the note of {named.artifact.name}", error, self.root).message)

    @property
    def _names_folder(self) -> Path:
        return self.root / "names"

    def _shelf(self, artifact: Artifact) -> Path:
        return self.root / artifact.kind

    def _staging(self, name: str) -> Path:
        return self.root / "staging" / name
