"""What a data plane counts: histograms and sums that can be sent and added up."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from fleetctl.gateway.scheduler.views import LineView
from fleetctl.model.names import ServiceName
from fleetctl.model.signals import Histogram as Counted
from fleetctl.model.signals import QueuePart, QueueStats

TTFT_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""From a small model's prefill to a request held through a cold start."""
DURATION_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
WAIT_BUCKETS_S: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""In the queue: nothing, moments of contention, a cold start."""
INTER_TOKEN_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""From a small model with speculation to an engine that is overloaded; people read about 10 tokens/s."""


@dataclass(slots=True)
class Histogram:
    """Counts per bucket; the upper bounds are inclusive, the last bucket has none."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, weight: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += weight
        self.total += value * weight

    def add(self, other: "Histogram") -> None:
        """Take in what another process has counted in the same buckets."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def counted(self) -> Counted:
        """A copy for the controller."""
        return Counted(bounds_s=self.bounds, counts=tuple(map(float, self.counts)))


@dataclass(slots=True, kw_only=True)
class ServiceMeasures:
    """What a data plane has counted of one Service's answers since it began."""

    service: ServiceName
    wait: Histogram = field(default_factory=lambda: Histogram(WAIT_BUCKETS_S))
    """From arrival to the slot in which the answer began."""
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_BUCKETS_S))
    """From arrival to the first byte of the answer's body."""
    inter_token: Histogram = field(default_factory=lambda: Histogram(INTER_TOKEN_BUCKETS_S))
    """Between tokens of a stream: the mean of each request, weighted by its tokens."""
    duration: Histogram = field(default_factory=lambda: Histogram(DURATION_BUCKETS_S))
    input_tokens: int = 0
    """As the engines counted them; where one does not say, the events of its streams are taken for output."""
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input, what an engine did not have to compute."""

    def observe_whole(self, wait_s: float, total_s: float, usage: tuple[int, int, int]) -> None:
        """An answer that came in one piece: its first byte came with its last."""
        one = self.wait
        one.counts[bisect_left(one.bounds, wait_s)] += 1
        one.total += wait_s
        one = self.ttft
        one.counts[bisect_left(one.bounds, total_s)] += 1
        one.total += total_s
        one = self.duration
        one.counts[bisect_left(one.bounds, total_s)] += 1
        one.total += total_s
        self.input_tokens += usage[0]
        self.output_tokens += usage[1]
        self.cached_tokens += usage[2]

    def add(self, other: "ServiceMeasures") -> None:
        self.wait.add(other.wait)
        self.ttft.add(other.ttft)
        self.inter_token.add(other.inter_token)
        self.duration.add(other.duration)
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens


@dataclass(slots=True, kw_only=True)
class PlaneMeasures:
    """What a data plane has counted since it began, and what it holds now. Can be encoded, sent and added."""

    held_bytes: int = 0
    client_connections: int = 0
    upstream_connections: int = 0
    unrouted: int = 0
    malformed: int = 0
    log_dropped: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    """By code; codes are the gateway's own words."""
    services: tuple[ServiceMeasures, ...] = ()
    lines: tuple[LineView, ...] = ()
    """The queues, where the arbiter is in the same process; elsewhere whoever hosts it fills them in."""

    def add(self, other: "PlaneMeasures") -> None:
        """Take in what another process has counted; what is held is added, too."""
        self.held_bytes += other.held_bytes
        self.client_connections += other.client_connections
        self.upstream_connections += other.upstream_connections
        self.unrouted += other.unrouted
        self.malformed += other.malformed
        self.log_dropped += other.log_dropped
        for code, count in other.refusals.items():
            self.refusals[code] = self.refusals.get(code, 0) + count
        ours = {one.service: one for one in self.services}
        for theirs in other.services:
            mine = ours.get(theirs.service)
            if mine is None:
                mine = ours[theirs.service] = ServiceMeasures(service=theirs.service)
            mine.add(theirs)
        self.services = tuple(ours.values())
        self.lines += other.lines


def stats_of(measures: PlaneMeasures, at: float) -> list[QueueStats]:
    """What the controller reads of each Service that has a queue. `at` is Unix time."""
    services = {one.service: one for one in measures.services}
    return [_stats(line, services.get(line.service), at) for line in measures.lines]


def _stats(line: LineView, measures: ServiceMeasures | None, at: float) -> QueueStats:
    return QueueStats(
        at=at,
        service=line.service,
        queued=line.queued,
        oldest_wait_s=line.oldest_wait_s,
        in_flight=line.in_flight,
        arrived=line.arrived,
        completed=line.answered,
        failed=line.failed + line.expired,
        ttft=measures.ttft.counted() if measures is not None else None,
        end_to_end=measures.duration.counted() if measures is not None else None,
        bands=tuple(QueuePart(name=one.band, queued=one.queued, running=one.running) for one in line.bands),
        tenants=tuple(QueuePart(name=one.tenant, queued=one.queued, running=one.running) for one in line.tenants),
        retries=line.retries,
        sheds=line.sheds,
        prefix_hits=line.prefix_hits,
        prefix_misses=line.prefix_misses,
        inter_token=measures.inter_token.counted() if measures is not None else None,
        input_tokens=float(measures.input_tokens) if measures is not None and measures.input_tokens else None,
        output_tokens=float(measures.output_tokens) if measures is not None and measures.output_tokens else None,
    )
