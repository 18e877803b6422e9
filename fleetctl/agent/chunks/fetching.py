"""One Artifact fetched as its Feed says: after one Node, or another, or from its origin, until every chunk is here."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fleetctl.agent.chunks import from_origin
from fleetctl.agent.chunks.follow import Follower, Patience, PeerFailed, PeerUnreachable
from fleetctl.agent.chunks.layout import Layout, layout_of
from fleetctl.agent.chunks.staging import Staging
from fleetctl.agent.chunks.verify import Checks
from fleetctl.agent.chunks.wire import name_of
from fleetctl.agent.origins.origin import Origin
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Peer

log = logging.getLogger(__name__)

_AVOID_DOUBLINGS_MAX = 6
"""From half a minute to half an hour."""

_UNREACHABLE_MAX = 2
"""Where two Nodes in a row cannot be reached, there is a wall between machines, and the others are behind it too."""

_RECONSIDER_S = 1.0
"""How often one that had to go elsewhere looks whether the time is up for whom it should follow."""


class Fetching:
    """Lives for one fetch."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        key: bytes | None,
        origin: Origin | None,
        opened: Callable[[Layout], Awaitable[Staging]],
        patience: Patience,
        cut: Callable[[int], int],
    ) -> None:
        self._fetch = fetch
        self._key = key
        self._origin = origin
        self._opened = opened
        self._patience = patience
        self._cut = cut
        self._avoided: dict[Peer, tuple[float, int]] = {}
        """Until when, and after how many failures."""
        self._unreachable = 0
        """Nodes in a row."""
        self._said = ""
        self._checks: Checks | None = None
        self.staging: Staging | None = None

    async def run(self) -> Staging:
        """The staging folder, whole and verified. Raises `AgentFailure`."""
        try:
            while True:
                peer = self._choice()
                if await self._followed(peer):
                    break
            staging, checks = self.staging, self._checks
            assert staging is not None and checks is not None
            try:
                await checks.finish()
            except AgentFailure:
                if not staging.missing_count:
                    staging.remove()  # every chunk is what was sent, so all of it is to be sent again
                raise
            return staging
        finally:
            if self._checks is not None:
                await self._checks.stop()

    def _choice(self) -> Peer | None:
        """Whom to follow now; None: its origin. Raises `AgentFailure` where there is neither."""
        feed = self._fetch.feed
        now = time.monotonic()
        if feed is not None and self._key is not None:
            for peer in feed.parents:
                if now >= self._avoided.get(peer, (now, 0))[0]:
                    return peer
        if self._origin is None:
            artifact = self._fetch.artifact
            why = f" ({self._said})" if self._said else ""
            raise AgentFailure(f"no node gives {artifact.kind} {artifact.name} now{why}", hint="it is tried again")
        return None

    async def _followed(self, peer: Peer | None) -> bool:
        """Fetch from one source as long as it is the right one; whether all is here."""
        self._fetch.source(peer.instance if peer is not None else None)
        work = asyncio.ensure_future(self._from_origin() if peer is None else self._from_peer(peer))
        try:
            while True:
                refed = asyncio.ensure_future(self._fetch.refed.wait())
                try:
                    await asyncio.wait({work, refed}, timeout=_RECONSIDER_S, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    refed.cancel()
                if work.done():
                    work.result()
                    return True
                self._fetch.refed.clear()
                if self._choice() != peer:
                    return False
        except PeerFailed as failed:
            assert peer is not None
            self._said = f"{peer.instance}: {failed}"
            log.warning("%s is not fetched from %s any more: %s", self._fetch.artifact.name, peer.instance, failed)
            self._avoid(peer)
            self._unreachable = self._unreachable + 1 if isinstance(failed, PeerUnreachable) else 0
            if self._unreachable >= _UNREACHABLE_MAX and self._fetch.feed is not None:
                for other in set(self._fetch.feed.parents) - {peer}:
                    self._avoid(other)
            return False
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _avoid(self, peer: Peer) -> None:
        times = self._avoided.get(peer, (0.0, 0))[1]
        avoid_s = self._patience.avoid_s * 2 ** min(times, _AVOID_DOUBLINGS_MAX)
        self._avoided[peer] = (time.monotonic() + avoid_s, times + 1)

    async def _from_peer(self, peer: Peer) -> None:
        assert self._key is not None
        artifact = self._fetch.artifact
        follower = Follower(peer, name_of(artifact), self._key, artifact.name, self._patience)
        staging = await self._staged(await follower.layout())
        await follower.fetch(staging, self._peer_bytes)

    async def _from_origin(self) -> None:
        assert self._origin is not None
        contents = await self._origin.contents()
        files = tuple(sorted(contents.files, key=lambda file: file.path))
        staging = await self._staged(layout_of(self._fetch.artifact.name, contents, self._cut))
        await from_origin.fetch(self._origin, files, staging, self._origin_bytes)

    async def _staged(self, layout: Layout) -> Staging:
        """The one staging folder, for this layout."""
        staging = self.staging
        if staging is not None and staging.layout == layout and not staging.failed:
            return staging
        if self._checks is not None:
            await self._checks.stop()
            self._checks = None
        if staging is not None:
            staging.close()  # of another revision: the origin moved on meanwhile
        self.staging = staging = await self._opened(layout)
        self._fetch.expect(layout.size, done=staging.bytes_here)
        self._checks = Checks(staging)
        return staging

    def _peer_bytes(self, length: int, new: bool) -> None:
        self._fetch.moved(peers=length, done=length if new else 0)

    def _origin_bytes(self, length: int, new: bool) -> None:
        self._fetch.moved(origin=length, done=length if new else 0)
