"""What the arbiter tells of itself, for metrics, signals and people."""

from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from fleetctl.gateway.scheduler.ticket import Band
from fleetctl.model.names import ReplicaId, ServiceName

if TYPE_CHECKING:
    from fleetctl.gateway.scheduler.line import Line

TENANTS_SHOWN: Final = 50
"""Tenants named in a view, those with the most requests; the others are summed up as `OTHERS`."""
OTHERS: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantView:
    tenant: str
    queued: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BandView:
    band: str
    """high | normal | low."""
    queued: int
    running: int
    oldest_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """One Service's queue at one moment. Counts are since the arbiter began."""

    service: ServiceName
    queued: int
    queued_bytes: int
    running: int
    oldest_wait_s: float
    bands: tuple[BandView, ...]
    tenants: tuple[TenantView, ...]
    in_flight: tuple[tuple[ReplicaId, int], ...]
    """By replica; also those that left the routes and still have requests."""
    resting: tuple[ReplicaId, ...]
    """Failed, and not yet found well."""
    arrived: int
    """Accepted: answered + failed + expired + cancelled + shed after they were accepted + running + queued."""
    answered: int
    failed: int
    expired: int
    """Waited as long as they might."""
    cancelled: int
    refused: int
    """Not accepted, or accepted and then displaced or taken down with their Service."""
    sheds: tuple[tuple[str, int], ...]
    """All requests that were refused, by the code that their clients were told."""
    retries: int
    prefix_hits: int
    """Granted to a replica that was given the beginning of their prompt before."""
    prefix_misses: int
    wait_estimate_s: float
    """How long a request of normal priority that came now would probably wait for a slot; 0: not at all, or unknown."""


def view_of(line: "Line", now: float) -> LineView:
    """O(tenants + replicas)."""
    retrying = list(line.waiting.retries)
    bands = []
    arrivals = [ticket.arrived_s for ticket in retrying]
    counts: dict[str, tuple[int, int]] = {}
    for lane in line.waiting.lanes:
        again = [ticket for ticket in retrying if ticket.band is lane.band]
        oldest = [ticket.arrived_s for ticket in again]
        if lane.order:
            oldest.append(next(iter(lane.order)).arrived_s)
        arrivals += oldest
        for share in lane.shares.values():
            queued, running = counts.get(share.tenant, (0, 0))
            counts[share.tenant] = (queued + share.waiting, running + share.running)
        bands.append(
            BandView(
                band=lane.band.name.lower(),
                queued=len(lane.order) + len(again),
                running=sum(share.running for share in lane.shares.values()),
                oldest_wait_s=max(0.0, now - min(oldest)) if oldest else 0.0,
            )
        )
    for ticket in retrying:
        queued, running = counts.get(ticket.tenant, (0, 0))
        counts[ticket.tenant] = (queued + 1, running)
    in_flight: dict[ReplicaId, int] = {}
    for replica in line.seating.replicas.values():
        in_flight[replica.seat.replica] = in_flight.get(replica.seat.replica, 0) + replica.used
    return LineView(
        service=line.service,
        queued=line.waiting.count,
        queued_bytes=line.waiting.size_bytes,
        running=line.seating.running,
        oldest_wait_s=max(0.0, now - min(arrivals)) if arrivals else 0.0,
        bands=tuple(bands),
        tenants=_largest(counts),
        in_flight=tuple(in_flight.items()),
        resting=tuple(replica.seat.replica for replica in line.seating.replicas.values() if replica.failures),
        arrived=line.arrived,
        answered=line.answered,
        failed=line.failed,
        expired=line.expired,
        cancelled=line.cancelled,
        refused=line.refused + line.shed,
        sheds=tuple(sorted(line.sheds.items())),
        retries=line.retried,
        prefix_hits=line.seating.hits,
        prefix_misses=line.seating.misses,
        wait_estimate_s=line.wait_s(line.waiting.lanes[Band.NORMAL], None) if line.waiting.count else 0.0,
    )


def _largest(counts: dict[str, tuple[int, int]]) -> tuple[TenantView, ...]:
    busy = [(tenant, queued, running) for tenant, (queued, running) in counts.items() if queued or running]
    shown = nlargest(TENANTS_SHOWN, busy, key=lambda one: one[1] + one[2])
    views = [TenantView(tenant=tenant, queued=queued, running=running) for tenant, queued, running in shown]
    if len(busy) > len(shown):
        queued = sum(one[1] for one in busy) - sum(one[1] for one in shown)
        running = sum(one[2] for one in busy) - sum(one[2] for one in shown)
        views.append(TenantView(tenant=OTHERS, queued=queued, running=running))
    return tuple(views)
