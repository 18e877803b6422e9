"""One Artifact on its way: whom it follows, what has moved, and how fast."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed
from fleetctl.model.replicas import Stage

RATE_WINDOW_S = 2.0
"""Over which a rate is measured: long enough to even out chunks, short enough that a Node that stands still is seen
by the next tick or two."""

_SAMPLE_S = 0.1
"""Bytes that arrive within this are one sample: 20 of them make a window."""


class Meter:
    """Bytes a second over the last window, from whom they come from now."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._samples: deque[tuple[float, int]] = deque()

    def restart(self, now: float) -> None:
        """Somebody else sends from now on: what the one before did says nothing about this one."""
        self._since = now
        self._samples.clear()

    def add(self, now: float, count: int) -> None:
        if self._samples and now - self._samples[-1][0] < _SAMPLE_S:
            at, before = self._samples[-1]
            self._samples[-1] = (at, before + count)
        else:
            self._samples.append((now, count))
        self._forget(now)

    def rate(self, now: float) -> float | None:
        """None: nothing came for a whole window. Zero: it has only just begun."""
        self._forget(now)
        if not self._samples:
            return None if now - self._since >= RATE_WINDOW_S else 0.0
        return sum(count for _, count in self._samples) / min(RATE_WINDOW_S, max(now - self._since, _SAMPLE_S))

    def _forget(self, now: float) -> None:
        while self._samples and now - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()


@dataclass(slots=True)
class _Moved:
    done: int | None = None
    total: int | None = None
    origin: int = 0
    peers: int = 0


class Fetch:
    """What a Source is asked for, and what it tells meanwhile."""

    def __init__(self, artifact: Artifact, feed: Feed | None = None) -> None:
        self.artifact = artifact
        self.feed = feed
        """Whom to follow, as the controller has it now; None: nobody, it comes from its origin."""
        self.refed = asyncio.Event()
        """Set when `feed` has changed; whoever follows it clears it."""
        self.digest = ""
        """What the origin calls it, as soon as that is known."""
        self.stage = Stage(name=artifact.kind, started_at=time.time())
        self._moved = _Moved()
        self._meter = Meter(time.monotonic())
        self._parent: InstanceId | None = None

    @property
    def bytes_done(self) -> int | None:
        return self._moved.done

    def follow(self, feed: Feed | None) -> None:
        """The controller has spoken; a Source under way takes it up."""
        if feed != self.feed:
            self.feed = feed
            self.refed.set()

    def expect(self, total: int | None, *, done: int = 0) -> None:
        """How many bytes it has, and how many of them are here from an earlier attempt."""
        self._moved.total = total
        self._moved.done = done

    def progress(self, done: int, total: int) -> None:
        """For a Source that hears of bytes done, not of bytes moved."""
        before = self._moved.done or 0
        self._moved.done, self._moved.total = done, total
        if done > before:
            self._meter.add(time.monotonic(), done - before)

    def source(self, parent: InstanceId | None) -> None:
        """From whom bytes come from now on; None: the origin."""
        self._parent = parent
        self._meter.restart(time.monotonic())

    def moved(self, *, origin: int = 0, peers: int = 0, done: int = 0) -> None:
        """Bytes that came over the wire from the origin or from Nodes, and how many of them count."""
        self._moved.origin += origin
        self._moved.peers += peers
        if done:
            self._moved.done = (self._moved.done or 0) + done
            self._meter.add(time.monotonic(), done)

    def status(self, state: ArtifactState) -> ArtifactStatus:
        fetching = state is ArtifactState.FETCHING
        moved = self._moved
        known = moved.total is not None
        return ArtifactStatus(
            artifact=self.artifact,
            state=state,
            stage=Stage(name=self.stage.name, started_at=self.stage.started_at, bytes_total=moved.total),
            bytes_done=moved.done,
            bytes_total=moved.total,
            origin_bytes=moved.origin,
            peer_bytes=moved.peers,
            rate=self._meter.rate(time.monotonic()) if fetching and known else None,
            parent=self._parent if fetching else None,
            digest=self.digest,
        )
