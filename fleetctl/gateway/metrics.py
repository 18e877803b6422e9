"""Counts and histograms of the data plane, in the Prometheus text format."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.signals import Histogram as Counted

TTFT_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""From a small model's prefill to a request held through a cold start."""
DURATION_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class Histogram:
    """Counts per bucket; the upper bounds are inclusive, the last bucket has none."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def counted(self) -> Counted:
        """A copy for the controller."""
        return Counted(bounds_s=self.bounds, counts=tuple(map(float, self.counts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceMeasures:
    """One Service as `/metrics` shows it."""

    service: ServiceName
    queued: int
    oldest_wait_s: float
    in_flight: tuple[tuple[ReplicaId, int], ...]
    outcomes: tuple[tuple[str, int], ...]
    retries: int
    ttft: Histogram
    duration: Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneMeasures:
    """The whole gateway as `/metrics` shows it."""

    held_bytes: int
    client_connections: int
    unrouted: int
    malformed: int
    services: tuple[ServiceMeasures, ...]


def exposition(measures: PlaneMeasures) -> str:
    """Labels are Services and replicas, never anything that a client sent."""
    lines: list[str] = []
    _single(lines, "held_bytes", "gauge", "Bytes of request bodies held.", [("", measures.held_bytes)])
    _single(lines, "client_connections", "gauge", "Open client connections.", [("", measures.client_connections)])
    _single(lines, "unrouted_total", "counter", "Requests that no Service was found for.", [("", measures.unrouted)])
    _single(
        lines, "malformed_total", "counter", "Requests refused as malformed or too large.", [("", measures.malformed)]
    )
    services = measures.services
    _single(lines, "queued", "gauge", "Requests waiting for a free slot.", [(_of(s), s.queued) for s in services])
    _single(
        lines, "oldest_wait_seconds", "gauge", "How long the oldest of them has waited.",
        [(_of(s), s.oldest_wait_s) for s in services],
    )  # fmt: skip
    _single(
        lines, "in_flight", "gauge", "Requests that a replica is answering.",
        [(f'{_of(s)},replica="{_escape(replica)}"', count) for s in services for replica, count in s.in_flight],
    )  # fmt: skip
    _single(
        lines, "requests_total", "counter", "Requests by how they ended.",
        [(f'{_of(s)},outcome="{outcome}"', count) for s in services for outcome, count in s.outcomes],
    )  # fmt: skip
    _single(
        lines, "retries_total", "counter", "Times a request went back to the queue because its replica failed it.",
        [(_of(s), s.retries) for s in services],
    )  # fmt: skip
    _histogram(lines, "ttft_seconds", "From a request's arrival to the first byte of its answer.", services, ttft=True)
    _histogram(lines, "duration_seconds", "From a request's arrival to the end of its answer.", services, ttft=False)
    return "\n".join(lines) + "\n"


def _single(lines: list[str], name: str, kind: str, meaning: str, samples: Iterable[tuple[str, float]]) -> None:
    lines.append(f"# HELP fleetctl_gateway_{name} {meaning}")
    lines.append(f"# TYPE fleetctl_gateway_{name} {kind}")
    for labels, value in samples:
        lines.append(f"fleetctl_gateway_{name}{{{labels}}} {value}" if labels else f"fleetctl_gateway_{name} {value}")


def _histogram(lines: list[str], name: str, meaning: str, services: Iterable[ServiceMeasures], *, ttft: bool) -> None:
    lines.append(f"# HELP fleetctl_gateway_{name} {meaning}")
    lines.append(f"# TYPE fleetctl_gateway_{name} histogram")
    for service in services:
        histogram = service.ttft if ttft else service.duration
        below = 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            below += count
            lines.append(f'fleetctl_gateway_{name}_bucket{{{_of(service)},le="{bound}"}} {below}')
        lines.append(f"fleetctl_gateway_{name}_sum{{{_of(service)}}} {histogram.total}")
        lines.append(f"fleetctl_gateway_{name}_count{{{_of(service)}}} {below}")


def _of(service: ServiceMeasures) -> str:
    return f'service="{_escape(service.service)}"'


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
