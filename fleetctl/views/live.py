"""Looks at a fleet as it is now, each at the cost of what has changed since the last."""

import time
from collections.abc import Sequence
from dataclasses import replace
from operator import is_
from typing import Final, TypeVar

from fleetctl.model.decisions import Event
from fleetctl.model.services import Pool
from fleetctl.model.snapshots import Intent
from fleetctl.model.starts import Start
from fleetctl.store import Memo, SqlStore
from fleetctl.views.fleet import FleetView, ServiceRow, service_rows, view_of
from fleetctl.views.looks import EVENTS_MAX, STARTS_MAX, Look
from fleetctl.views.traces import Traces

T = TypeVar("T")

MACHINES_SHARE: Final = 0.005
"""Of one core, for reading machines and replicas again: a thousand replicas are read with every tick of a controller,
ten thousand every three seconds or so. Decisions, which say how many and why, are read with every look."""
MACHINES_WAIT_MAX_S: Final = 10.0
"""However slow the store is: what is shown of machines is never older."""


class Live:
    """Looks at the store as it is. The first look has no past yet, so that it is there at once."""

    def __init__(self, store: SqlStore, *, listen: str, max_cost_per_hour: float | None) -> None:
        self._store = store
        self._listen = listen
        self._max_cost = max_cost_per_hour
        self._memo = Memo()
        self._traces = Traces()
        self._changes: tuple[int, int, int] | None = None
        self._wanted: tuple[tuple[Intent, ...], tuple[Pool, ...]] = ((), ())
        self._due_at = 0.0
        self._behind = False
        """Whether the store has changed since machines were read."""
        self._machines_at = 0.0
        self._events: tuple[Event, ...] = ()
        self._starts: tuple[Start, ...] = ()
        self._view: FleetView | None = None
        self._rows: Sequence[ServiceRow] = ()

    def look(self) -> Look:
        now = time.time()
        changes = self._store.changes()
        due = time.monotonic() >= self._due_at
        first = self._view is None
        if self._view is None or changes != self._changes or (due and self._behind):
            self._read(now, changes, due=due)
        if not first and self._traces.read_at is None:
            self._traces.load(self._store, until=now)
        assert self._view is not None
        if self._traces.read_at is not None:
            self._traces.add(self._view.decisions.values())
        return Look(
            at=now,
            view=self._view,
            services=self._rows,
            events=self._events,
            starts=self._starts,
            traces=self._traces.points,
            stands=self._traces.stands,
            machines_at=self._machines_at if self._behind else None,
            whole=not first,
            max_cost_per_hour=self._max_cost,
        )

    def _read(self, now: float, changes: tuple[int, int, int], *, due: bool) -> None:
        before, self._changes = self._changes, changes
        if before is None or before[2] != changes[2]:
            self._wanted = self._store.intents()
        if before is None or before[1] != changes[1]:
            self._events = self._newer_events()
        began_s = time.thread_time()
        decisions = self._store.decisions(self._memo)
        lease = self._store.lease()
        if self._view is None or due or before is None or before[2] != changes[2]:
            state = self._store.load(self._memo)
            self._starts = tuple(reversed(self._store.starts(limit=STARTS_MAX)))
            view = view_of(self._wanted, state, decisions, lease, listen=self._listen, now=now)
            if self._view is not None:
                view = replace(
                    view,
                    instances=_same(self._view.instances, view.instances),
                    replicas=_same(self._view.replicas, view.replicas),
                )
            due = True
        else:
            view = replace(
                self._view, at=now, lease=lease, decisions={str(name): one for name, one in decisions.items()}
            )
        self._view = view.sharing(self._view)
        self._rows = service_rows(self._view)
        self._behind = not due
        if due:
            self._machines_at = now
            wait_s = (time.thread_time() - began_s) / MACHINES_SHARE
            self._due_at = time.monotonic() + min(MACHINES_WAIT_MAX_S, wait_s)

    def _newer_events(self) -> tuple[Event, ...]:
        """Those known and what came since, newest first."""
        since = self._events[0].at if self._events else 0.0
        known = {one for one in self._events if one.at >= since}
        found = [one for one in self._store.events(since=since, limit=EVENTS_MAX) if one not in known]
        return (*reversed(found), *self._events)[:EVENTS_MAX]


def _same(before: tuple[T, ...], now: tuple[T, ...]) -> tuple[T, ...]:
    """The tuple of before, where it holds the very same objects."""
    return before if len(before) == len(now) and all(map(is_, before, now)) else now
