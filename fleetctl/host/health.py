"""How the controller is, as `/healthz` tells it."""

import psutil

from fleetctl.host.measures import LoopMeasures
from fleetctl.model.records import dataclass

STALE_LEAST_S = 15.0
"""As long as a Lease: a controller that has not ended a tick for so long is one no more."""
STALE_PERIODS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`/healthz`, as JSON."""

    status: str
    """ok; starting, until the first tick ended; stale, when none ended for long."""
    version: str
    pid: int
    holder: str
    fence: int | None
    period_s: float
    ticks: int
    tick_age_s: float | None
    tick_lag_s: float
    tick_lag_most_s: float
    tick_s: float | None
    """How long the last one took."""
    resident_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the process knows of itself."""

    version: str
    pid: int
    holder: str


def health(measures: LoopMeasures, facts: Facts, *, now: float) -> Health:
    """How the controller is; `now` is the monotonic clock's."""
    age, last = measures.age_s(now), measures.last
    stale = age is not None and age > max(STALE_LEAST_S, STALE_PERIODS * measures.period_s)
    return Health(
        status="starting" if last is None else "stale" if stale else "ok",
        version=facts.version,
        pid=facts.pid,
        holder=facts.holder,
        fence=None if last is None else last.fence,
        period_s=measures.period_s,
        ticks=sum(measures.ticks.counts),
        tick_age_s=age,
        tick_lag_s=measures.lag_s,
        tick_lag_most_s=measures.lag_most_s,
        tick_s=None if last is None else last.wall_s,
        resident_bytes=resident_bytes(),
    )


def resident_bytes() -> int:
    """Memory of this process."""
    return int(psutil.Process().memory_info().rss)
