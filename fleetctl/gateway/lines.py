"""One Service in the data plane: its queue, its measures and its unused upstream connections."""

from typing import TYPE_CHECKING

from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.metrics import DURATION_BUCKETS_S, TTFT_BUCKETS_S, Histogram, ServiceMeasures
from fleetctl.gateway.queue import Incarnation, ServiceQueue
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route
from fleetctl.model.signals import QueueStats

if TYPE_CHECKING:
    from fleetctl.gateway.upstream import UpstreamConnection


class ServiceLine:
    """The queue of one Service and what belongs to it."""

    __slots__ = ("duration", "idle", "queue", "service", "ttft")

    def __init__(self, route: Route) -> None:
        self.service: ServiceName = route.service
        self.queue: ServiceQueue[Exchange] = ServiceQueue(route)
        self.idle: dict[Incarnation, dict[UpstreamConnection, None]] = {}
        """Newest last, and used first: the others may be closed when they were not needed for a while."""
        self.ttft = Histogram(TTFT_BUCKETS_S)
        self.duration = Histogram(DURATION_BUCKETS_S)

    @property
    def empty(self) -> bool:
        return not self.queue.queued and not self.queue.running

    def reroute(self, route: Route) -> None:
        self.queue.reroute(route)
        self.close_unlisted()

    def close_unlisted(self) -> None:
        """Close unused connections to replicas that have left."""
        listed = {incarnation for incarnation in self.queue.incarnations if incarnation.listed}
        for incarnation in [one for one in self.idle if one not in listed]:
            for connection in self.idle.pop(incarnation):
                connection.transport.close()

    def stats(self, *, now: float, at: float) -> QueueStats:
        """`now` is the queue's time, `at` is Unix time."""
        queue = self.queue
        return QueueStats(
            at=at,
            service=self.service,
            queued=queue.queued,
            oldest_wait_s=queue.oldest_wait_s(now),
            in_flight=tuple(queue.in_flight().items()),
            arrived=queue.arrived,
            completed=queue.answered,
            failed=queue.failed + queue.expired,
            ttft=self.ttft.counted(),
            end_to_end=self.duration.counted(),
        )

    def measures(self, now: float) -> ServiceMeasures:
        queue = self.queue
        return ServiceMeasures(
            service=self.service,
            queued=queue.queued,
            oldest_wait_s=queue.oldest_wait_s(now),
            in_flight=tuple(queue.in_flight().items()),
            outcomes=(
                ("answered", queue.answered),
                ("failed", queue.failed),
                ("expired", queue.expired),
                ("cancelled", queue.cancelled),
                ("refused", queue.refused),
            ),
            retries=queue.retries,
            ttft=self.ttft,
            duration=self.duration,
        )
