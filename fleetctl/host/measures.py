"""What the controller counts of itself and shows of its fleet, tick by tick. No text, no socket."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fleetctl.model.decisions import Decision, Outcome
from fleetctl.model.instances import Instance
from fleetctl.model.signals import Reading, Unknown
from fleetctl.model.starts import Start

TICK_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. A tick of a few services takes milliseconds; one that waits for a cloud some seconds."""
START_BOUNDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0)
"""Seconds. From an engine that wakes to a machine that is waited for, with the weights of a large model."""


class Histogram:
    """Counts of values by the least bound that they do not exceed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one tick tells."""

    began_at: float
    """Unix seconds."""
    wall_s: float
    cpu_s: float
    fence: int
    decisions: tuple[Decision, ...]
    instances: Iterable[Instance]
    readings: Mapping[str, Iterable[Reading | Unknown]]
    """By Service: what was asked of its Replicas for their load, and what came."""
    outcomes: tuple[Outcome, ...]
    starts: tuple[Start, ...]
    silent_providers: tuple[str, ...] = ()
    """Whose listings are unknown."""
    max_cost_per_hour: float | None = None


@dataclass(slots=True, kw_only=True)
class LoopMeasures:
    """Counters since the process began, and the fleet as the last tick saw it."""

    period_s: float
    ticks: Histogram = field(default_factory=lambda: Histogram(TICK_BOUNDS))
    last: Tick | None = None
    ended_at: float = 0.0
    """When the last tick ended, by the monotonic clock: a clock that is set moves no age."""
    lag_s: float = 0.0
    """How much later than its period the last tick began."""
    lag_most_s: float = 0.0
    troubles: int = 0
    """Ticks that failed because of the store."""
    actions: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """By verb, and `done` or the error's code."""
    scrape_failures: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By Service."""
    starts: dict[tuple[str, str, str], Histogram] = field(default_factory=dict)
    """By Service, origin and outcome."""
    stages: dict[tuple[str, str, str], Histogram] = field(default_factory=dict)
    """By Service, origin and stage."""
    _began: float | None = None

    def tick(self, tick: Tick, *, now: float) -> None:
        """Take in a tick that has just ended; `now` is the monotonic clock's."""
        began = now - tick.wall_s
        if self._began is not None:
            self.lag_s = max(0.0, began - self._began - self.period_s)
            self.lag_most_s = max(self.lag_most_s, self.lag_s)
        self._began, self.ended_at, self.last = began, now, tick
        self.ticks.add(tick.wall_s)
        for outcome in tick.outcomes:
            self.actions[(str(outcome.verb), "done" if outcome.error is None else outcome.error_code or "failure")] += 1
        for service, readings in tick.readings.items():
            self.scrape_failures[service] += sum(1 for one in readings if isinstance(one, Unknown))
        for start in tick.starts:
            self._start(start)
        self._forget({decision.service for decision in tick.decisions})

    def trouble(self) -> None:
        """A tick failed because of the store."""
        self.troubles += 1

    def age_s(self, now: float) -> float | None:
        """Since the last tick that ended, by the monotonic clock; None: there was none."""
        return None if self.last is None else max(0.0, now - self.ended_at)

    def _start(self, start: Start) -> None:
        service, origin = str(start.service), str(start.origin)
        self.starts.setdefault((service, origin, start.outcome), Histogram(START_BOUNDS)).add(start.took_s)
        for stage in start.stages:
            if stage.ended_at is not None and start.outcome == "ready":
                took_s = max(0.0, stage.ended_at - stage.started_at)
                self.stages.setdefault((service, origin, stage.name), Histogram(START_BOUNDS)).add(took_s)

    def _forget(self, services: set[str]) -> None:
        """Series of Services that are gone would be kept as long as the process lives."""
        self.scrape_failures = defaultdict(int, {k: v for k, v in self.scrape_failures.items() if k in services})
        self.starts = {key: value for key, value in self.starts.items() if key[0] in services}
        self.stages = {key: value for key, value in self.stages.items() if key[0] in services}
