"""What takes too long, found four times a second; no request has a timer of its own."""

from typing import TYPE_CHECKING

from fleetctl.gateway.limits import FIRST_BYTE_TIMEOUT_S, SILENCE_SWEEP_S, STREAM_IDLE_TIMEOUT_S
from fleetctl.gateway.refusals import LATE

if TYPE_CHECKING:
    from fleetctl.gateway.plane import DataPlane


class Timeouts:
    """Ends the connections of one data plane that have waited too long. A host calls `advance`."""

    __slots__ = ("_plane", "_swept_at", "first_byte_s", "stream_idle_s", "sweep_s")

    def __init__(self, plane: "DataPlane") -> None:
        self.first_byte_s = FIRST_BYTE_TIMEOUT_S
        self.stream_idle_s = STREAM_IDLE_TIMEOUT_S
        self.sweep_s = SILENCE_SWEEP_S
        self._plane = plane
        self._swept_at = plane.now()

    def advance(self, now: float) -> None:
        plane = self._plane
        for client in plane.heads.expired(now) + plane.bodies.expired(now):
            plane.records.malformed += 1
            client.refuse_and_close(LATE)
        for client in plane.idles.expired(plane.clients, now) + plane.lingers.expired(now):
            client.close(now)
        for client in plane.stalls.expired(now) + plane.crowds.expired(now):
            client.transport.abort()
        plane.pools.close_expired(now)
        if now - self._swept_at >= self.sweep_s:
            self._sweep(now - self._swept_at)
            self._swept_at = now

    def _sweep(self, passed_s: float) -> None:
        """Find upstreams that have said nothing for too long."""
        for upstream in tuple(self._plane.upstreams):
            exchange = upstream.exchange
            if exchange is None or upstream.heard or exchange.client.paused:
                upstream.heard = False
                upstream.silent_s = 0.0
                continue
            upstream.silent_s += passed_s
            if upstream.silent_s >= (self.stream_idle_s if upstream.answering else self.first_byte_s):
                upstream.fall_silent(exchange)
