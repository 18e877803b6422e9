"""Weights: fetched into the store where they have an origin that we know; else the engine finds them by itself."""

import asyncio

from fleetctl.agent.chunks.store import Store
from fleetctl.agent.origins import open_origin
from fleetctl.agent.origins.files import FilesOrigin, in_place
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
from fleetctl.model.nodes import Artifact
from fleetctl.model.services import LocalMachine


class WeightsSource:
    def __init__(self, store: Store, rehearsed: LocalMachine) -> None:
        self._store = store
        self._rehearsed = rehearsed
        self._token: str | None = None

    def use(self, token: str) -> None:
        """What opens gated models of the hub from now on; empty: nothing does."""
        self._token = token or None

    async def get(self, fetch: Fetch) -> Got:
        if fetch.artifact.name.startswith("rehearsal://") or self._rehearsed.weights_s > 0:
            await asyncio.sleep(self._rehearsed.weights_s)
            return Got(detail="rehearsed")
        path = in_place(fetch.artifact.name)
        if path is not None:
            there = await FilesOrigin(path).contents()
            return Got(path=str(path), size=sum(file.size for file in there.files))
        origin = open_origin(fetch.artifact.name, token=self._token)
        if origin is None:
            return Got(detail="fetched by the engine")
        try:
            return await self._store.get(fetch, origin)
        finally:
            await origin.close()

    async def here(self, artifact: Artifact, got: Got) -> bool:
        return not got.digest or await self._store.held(artifact) is not None

    async def remove(self, artifact: Artifact, got: Got) -> bool:
        return True  # the store lets it go when it needs the disk
