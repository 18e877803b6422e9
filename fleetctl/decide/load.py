"""The concurrency of a Service: queued + running, with what is unknown kept unknown."""

from collections.abc import Mapping, Sequence

from fleetctl.model.names import ReplicaId
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.services import Service
from fleetctl.model.signals import Load, QueueStats, Reading, Unknown

STALE_S = 15.0
"""A reading older than this says nothing of now: several ticks, and the HPA's own metric resolution."""


def measure(
    service: Service,
    replicas: Sequence[Replica],
    readings: Mapping[ReplicaId, Reading | Unknown],
    queue: QueueStats | Unknown | None,
    now: float,
) -> Load | Unknown:
    """The load of one Service from its engines' readings and the gateway's queue.

    Engines report what runs and waits inside them; the gateway adds what it still holds. A request is in one of the
    two places, so nothing is counted twice.
    """
    known = 0.0
    waiting = 0.0
    known_at_least = 0.0
    unknown = 0
    ready = 0
    reason = ""
    in_flight = dict(queue.in_flight) if isinstance(queue, QueueStats) else {}
    for replica in replicas:
        if replica.phase is not ReplicaPhase.READY:
            continue
        ready += 1
        reading = readings.get(replica.id)
        if isinstance(reading, Reading) and now - reading.at <= STALE_S:
            known += reading.total
            waiting += reading.waiting
        else:
            unknown += 1
            known_at_least += in_flight.get(replica.id, 0)
            reason = reading.reason if isinstance(reading, Unknown) else "no fresh metrics"
    if isinstance(queue, Unknown):
        if ready == 0:
            return Unknown(reason=f"the gateway does not answer ({queue.reason})", since=queue.since)
        low = known + known_at_least
        return Load(
            low=low,
            high=max(low, known) + unknown * service.target_concurrency,
            queued=0,
            oldest_wait_s=0.0,
            unknown=unknown,
            waiting=waiting,
            queue_known=False,
        )
    queued = queue.queued if queue else 0
    if ready and unknown == ready and queue is None:
        return Unknown(reason=f"no replica's load could be read ({reason})", since=now)
    low = known + known_at_least + queued
    return Load(
        low=low,
        high=max(low, known + queued + unknown * service.target_concurrency),
        queued=queued,
        oldest_wait_s=queue.oldest_wait_s if queue else 0.0,
        unknown=unknown,
        waiting=waiting,
    )
