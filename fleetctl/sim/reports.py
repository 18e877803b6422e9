"""How it went: what a run in virtual time tells afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleetctl.sim.fluctuation import percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The fleet from `at` until the next Moment."""

    at: float
    ready: int
    ordered: int
    """Ready and starting."""
    standby: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Seconds, nearest rank; infinite where so many were never served."""

    p50_s: float
    p95_s: float
    p99_s: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles":
        return cls(p50_s=percentile(values, 0.5), p95_s=percentile(values, 0.95), p99_s=percentile(values, 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it went. Hours are replica-hours within the trace's length."""

    requests: int
    completed: int
    within: int
    """Requests that waited no longer than promised."""
    kept: bool
    wait: Percentiles
    """Time to first token less the reading of the request's own prompt by an idle engine."""
    ttft: Percentiles
    replica_hours: float
    standby_hours: float
    """Of units while they stand by, at a whole replica."""
    gpu_hours: float
    """Of replicas, and of standby at its price share."""
    cost: float
    launches: int
    """Cold starts, those for the standby stock included."""
    wakes: int
    launches_failed: int
    reclaimed: int
    scale_actions: int
    """Ticks at which the wish changed what is ordered."""
    reversals: int
    """Scale actions in the other direction than the one before."""
    peak_ordered: int
    timeline: tuple[Moment, ...]

    @property
    def share_within(self) -> float:
        return self.within / self.requests if self.requests else 1.0
