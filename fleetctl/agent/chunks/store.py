"""The Artifacts that this Node holds in chunks: on their way, published, and let go when the disk is needed."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Iterable
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
from fleetctl.agent.folder import read, write
from fleetctl.agent.origins.origin import Origin
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
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
        held = await self.held(fetch.artifact)
        if held is not None:
            return held
        artifact = fetch.artifact
        name = name_of(artifact)

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
                goal = await asyncio.to_thread(publish.publish, staging, self._shelf(artifact))
        finally:
            if fetching.staging is not None:
                fetching.staging.close()
            self._coming.pop(name, None)
        self._name(name, _Named(artifact=artifact, digest=goal.name, size=staging.layout.size, used_at=time.time()))
        self._tell()
        await self._trim(0)
        return Got(path=str(goal), size=staging.layout.size, digest=goal.name)

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
        await asyncio.to_thread(self._clear_staging, name_of(artifact))
        begun = self._staging(name_of(artifact))
        needed = 0 if begun.exists() else layout.size
        await self._trim(needed)
        if needed > shutil.disk_usage(self.root).free:
            raise no_space(artifact.name, layout.size, self.root)

    async def _trim(self, coming: int) -> None:
        disk = shutil.disk_usage(self.root)
        limit = int(disk.total * LIMIT_SHARE) if self._limit_bytes is None else self._limit_bytes
        entries = {
            named.digest: Entry(digest=named.digest, size=named.size, used_at=named.used_at)
            for named in sorted(self._known().values(), key=lambda named: named.used_at)
        }
        kept = frozenset(named.digest for named in self._known().values() if named.artifact in self._kept)
        excess = max(sum(entry.size for entry in entries.values()) + coming - limit, coming - disk.free)
        for entry in evicted(entries.values(), kept, excess=excess):
            await self._let_go(entry.digest)

    async def _let_go(self, digest: str) -> None:
        names = [name for name, named in self._known().items() if named.digest == digest]
        for name in names:
            named = self._known().pop(name)
            self._shown.pop(name, None)
            self._names_folder.joinpath(f"{name}.json").unlink(missing_ok=True)
            log.info(
                "%s %s is let go: nothing wants it, and the disk is needed", named.artifact.kind, named.artifact.name
            )
            await asyncio.to_thread(publish.take_away, self._shelf(named.artifact), digest)

    def _clear_staging(self, but: str) -> None:
        """What was begun and is wanted no more gives its space back."""
        wanted = {name_of(artifact) for artifact in self._kept} | {but, *self._coming}
        for left in self.root.joinpath("staging").glob("*"):
            if left.name not in wanted:
                shutil.rmtree(left, ignore_errors=True)

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
            for shelf in self.root.glob("*/"):
                if shelf.name not in ("names", "staging"):
                    publish.sweep(shelf)
        return self._names

    def _touch(self, name: str) -> None:
        named = self._known().get(name)
        if named is not None:
            self._name(name, replace(named, used_at=time.time()))

    def _name(self, name: str, named: _Named) -> None:
        self._known()[name] = named
        self._names_folder.mkdir(parents=True, exist_ok=True)
        write(self._names_folder / f"{name}.json", named)

    @property
    def _names_folder(self) -> Path:
        return self.root / "names"

    def _shelf(self, artifact: Artifact) -> Path:
        return self.root / artifact.kind

    def _staging(self, name: str) -> Path:
        return self.root / "staging" / name
