"""Demand, wish and capacity of each Service over the last hours, and since when its Decision stands."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from fleetctl.controller.journal import read
from fleetctl.model.decisions import Decision
from fleetctl.store import SqlStore
from fleetctl.views.charts import DemandPoint
from fleetctl.views.looks import TRACE_POINTS, TRACE_S

_POINTS_MAX = 4 * TRACE_POINTS
"""Of a Service: more than can be drawn. Beyond it, neighbours become one."""
SPACING_S = TRACE_S / TRACE_POINTS
"""Of what `load` reads when the journal reaches back far enough."""


class Traces:
    """What was and what comes, by Service. Not safe to call from two threads at once."""

    def __init__(self) -> None:
        self._points: dict[str, list[DemandPoint]] = {}
        self._newest: dict[str, Decision] = {}
        self._stands: dict[str, float] = {}
        self.read_at: float | None = None
        """How far `load` has read; None: nothing was read yet."""

    def load(self, store: SqlStore, *, until: float) -> None:
        """Read evenly spaced journal entries of the last `TRACE_S`; beginning with the oldest that is kept."""
        begins = store.journal_begins()
        self._points, self._newest, self._stands, last = {}, {}, {}, 0.0
        self.read_at = until
        if begins is None:
            return
        since = max(until - TRACE_S, begins)
        for index in range(TRACE_POINTS + 1):
            body = store.journal(at=since + (until - since) * index / TRACE_POINTS)
            if body is None:
                continue
            entry = read(body)
            if entry.at > last:
                last = entry.at
                self.add(entry.decisions)

    def add(self, decisions: Iterable[Decision]) -> None:
        """Take the newest Decisions. One from before the newest that is known tells of a clock that was set back."""
        for decision in decisions:
            name = str(decision.service)
            before = self._newest.get(name)
            if before is not None and before.at == decision.at:
                continue
            if before is not None and decision.at < before.at:
                self._points.pop(name, None)
                before = None
            if before is None or (before.desired, before.binding) != (decision.desired, decision.binding):
                self._stands[name] = decision.at
            self._newest[name] = decision
            self._append(self._points.setdefault(name, []), point(decision))

    def _append(self, points: list[DemandPoint], new: DemandPoint) -> None:
        points.append(new)
        if len(points) > _POINTS_MAX:
            recent = [one for one in points if one.t_s > new.t_s - TRACE_S]
            each_s = (new.t_s - recent[0].t_s) * 2 / _POINTS_MAX
            parts = groupby(recent, key=lambda one: int((one.t_s - recent[0].t_s) / each_s) if each_s > 0 else 0)
            points[:] = [_joined(list(part)) for _, part in parts]

    @property
    def points(self) -> Mapping[str, Sequence[DemandPoint]]:
        return {name: tuple(points) for name, points in self._points.items()}

    @property
    def stands(self) -> Mapping[str, float]:
        return dict(self._stands)


def point(decision: Decision) -> DemandPoint:
    """Demand in replicas: requests queued and running ÷ those that one replica is meant to serve at once."""
    demand = None if decision.concurrency is None or decision.target <= 0 else decision.concurrency / decision.target
    return DemandPoint(t_s=decision.at, demand=demand, ready=decision.ready, desired=decision.desired)


def _joined(part: Sequence[DemandPoint]) -> DemandPoint:
    """The most demand of all, and what was ready at the end."""
    demands = [one.demand for one in part if one.demand is not None]
    last = part[-1]
    return DemandPoint(t_s=last.t_s, demand=max(demands, default=None), ready=last.ready, desired=last.desired)
