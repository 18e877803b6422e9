"""What a Service lives in, in virtual time: everything but the traffic, the scaler and the seed."""

import math
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from fleetctl.rehearsal.batching import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One part of a start: log-normal around its median. `spread` is the standard deviation of the logarithm."""

    name: str
    median_s: float
    spread: float = 0.25

    def draw(self, random: Random) -> float:
        return self.median_s * math.exp(self.spread * random.gauss(0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything but the traffic, the scaler and the seed. The defaults are a one-GPU replica of an 8B model."""

    pace: Pace = field(default_factory=Pace)
    gpus: int = 1
    cold_start: tuple[Stage, ...] = (
        Stage(name="procure", median_s=60.0),
        Stage(name="fetch", median_s=110.0),
        Stage(name="engine", median_s=100.0, spread=0.1),
    )
    standby_start: Stage = field(default_factory=lambda: Stage(name="wake", median_s=8.0, spread=0.1))
    replicas_start: int = 1
    """Ready when the trace begins."""
    replicas_max: int = 1000
    standby: int = 0
    """Units on standby, where the scaler does not say; that many are there when the trace begins."""
    standby_share: float = 0.5
    """Price of a unit on standby, in replicas."""
    tick_s: float = 5.0
    metric_delay_s: float = 2.0
    output_counted: Literal["completed", "generated"] = "completed"
    """Whose output tokens the signals count: those of requests that ended in the interval, as a gateway knows them, or
    all that were made in it, as engines count them. Over a while they are the same."""
    stock_outs: tuple[tuple[float, float], ...] = ()
    """Stretches, from and until, in which nothing can be launched."""
    reclaims_per_hour: float = 0.0
    """Of each ready replica, at random."""
    reclaim_notice_s: float = 30.0
    price_per_gpu_hour: float = 2.0
    wait_limit_s: float = 5.0
    """The promise: this long may a request wait for its first token, beyond the reading of its own prompt…"""
    promised_share: float = 0.99
    """…and this share of all requests must not wait longer."""

    @property
    def cold_start_s(self) -> float:
        """The sum of the stages' medians."""
        return sum(stage.median_s for stage in self.cold_start)
