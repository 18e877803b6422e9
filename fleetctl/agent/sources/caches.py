"""What engines compiled, kept for the next start of exactly the same."""

import asyncio
from pathlib import Path

from fleetctl.agent.chunks.store import Store
from fleetctl.agent.origins.files import FilesOrigin
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
from fleetctl.model.nodes import Artifact


class CacheSource:
    """No origin has engine caches: they are made on Nodes, and go from one to the other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._locks: dict[Artifact, asyncio.Lock] = {}

    async def get(self, fetch: Fetch) -> Got:
        async with self._locks.setdefault(fetch.artifact, asyncio.Lock()):
            return await self._store.get(fetch, None)

    async def keep(self, artifact: Artifact, tree: Path) -> Got:
        """Publish what was made here; where it has come from another Node meanwhile, that is kept."""
        async with self._locks.setdefault(artifact, asyncio.Lock()):
            return await self._store.get(Fetch(artifact), FilesOrigin(tree))

    async def here(self, artifact: Artifact, got: Got) -> bool:
        return await self._store.held(artifact) is not None

    async def remove(self, artifact: Artifact, got: Got) -> bool:
        return True  # the store lets it go when it needs the disk
