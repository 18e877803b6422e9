"""One whole look at a fleet, now or at an earlier time: what the dashboard draws."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from fleetctl.controller.journal import Entry, read
from fleetctl.decide.schedules import beginnings
from fleetctl.model.decisions import Decision, Event
from fleetctl.model.instances import Instance
from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import Replica
from fleetctl.model.snapshots import Intent, Lease
from fleetctl.model.starts import Start
from fleetctl.store import Memo, SqlStore
from fleetctl.views.charts import DemandPoint
from fleetctl.views.fleet import FleetView, ServiceRow, fleet_view, service_rows
from fleetctl.views.promise import Promise

TRACE_S: Final = 7200.0
"""How far back demand is drawn."""
TRACE_POINTS: Final = 240
"""Points of a trace: two for each column of a wide terminal."""
EVENTS_MAX: Final = 500
STARTS_MAX: Final = 50
"""Starts that the waterfall's figures are of."""
AHEAD_S: Final = 7 * 86400.0
"""How far ahead schedules are listed."""
SECONDS_AN_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """One Pool: what it holds, by what it costs."""

    name: str
    ready: int
    instances: int
    standby: str
    """`1/2 warm`."""
    standby_short: bool
    gpus_used: int
    gpus: int
    price_per_hour: float | None
    spot: int
    """Instances of the spot market."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLine:
    """One coming firing of a schedule."""

    at: float
    service: str
    cron: str
    tz: str
    what: str
    """`min 4`."""
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything at one time. Only `trace` reaches back."""

    at: float
    """Unix seconds of the data; for a look at now, when it was read."""
    now: bool = True
    """False: it is played back."""
    view: FleetView
    services: Sequence[ServiceRow]
    events: Sequence[Event] = ()
    """Newest first."""
    starts: Sequence[Start] = ()
    """Newest first."""
    traces: Mapping[str, Sequence[DemandPoint]] = field(default_factory=dict)
    """By Service, oldest first."""
    max_cost_per_hour: float | None = None

    @property
    def data_age_s(self) -> float | None:
        """How old the newest Decision is; None: there is none."""
        return self.view.age_s

    def decision(self, service: str) -> Decision | None:
        return self.view.decisions.get(service)

    def intent(self, service: str) -> Intent | None:
        return next((one for one in self.view.intents if one.service.name == service), None)


class Source(Protocol):
    """Where looks come from."""

    def look(self) -> Look:
        """The next one. Raises `errors.StoreFailure`."""


class Live:
    """Looks at the store as it is. What has not changed since the last look is not read again."""

    def __init__(self, store: SqlStore, *, listen: str, max_cost_per_hour: float | None) -> None:
        self._store = store
        self._listen = listen
        self._max_cost = max_cost_per_hour
        self._memo = Memo()
        self._traces: dict[str, deque[DemandPoint]] | None = None
        self._decided: dict[str, float] = {}

    def look(self) -> Look:
        now = time.time()
        view = fleet_view(self._store, self._listen, now, self._memo)
        if self._traces is None:
            self._traces = {
                name: deque(points, maxlen=4 * TRACE_POINTS)
                for name, points in traces(self._store, since=now - TRACE_S, until=now).items()
            }
        for name, decision in view.decisions.items():
            if self._decided.get(name) != decision.at:
                self._decided[name] = decision.at
                self._traces.setdefault(name, deque(maxlen=4 * TRACE_POINTS)).append(_point(decision))
        return Look(
            at=now,
            view=view,
            services=service_rows(view),
            events=tuple(reversed(self._store.events(limit=EVENTS_MAX))),
            starts=tuple(reversed(self._store.starts(limit=STARTS_MAX))),
            traces={name: tuple(points) for name, points in self._traces.items()},
            max_cost_per_hour=self._max_cost,
        )


class Past:
    """Looks at what the journal has kept of a time, and of the times after it at `speed`."""

    def __init__(self, store: SqlStore, *, listen: str, since: float, speed: float = 0.0) -> None:
        self._store = store
        self._listen = listen
        self.at = since
        """What the next look is of; Unix seconds."""
        self.speed = speed
        """Seconds of the past that go by in one; 0: it stands still."""
        self._asked_at = time.monotonic()
        self._intents = store.intents()

    def look(self) -> Look:
        asked_at = time.monotonic()
        self.at = min(time.time(), self.at + (asked_at - self._asked_at) * self.speed)
        self._asked_at = asked_at
        body = self._store.journal(at=self.at)
        entry = None if body is None else read(body)
        events = [
            one for one in self._store.events(since=self.at - TRACE_S, limit=20 * EVENTS_MAX) if one.at <= self.at
        ]
        decisions = {} if entry is None else {str(one.service): one for one in entry.decisions}
        intents, pools = self._intents
        view = FleetView(
            at=self.at,
            lease=None if entry is None else Lease(holder="", fence=entry.fence, expires_at=0.0),
            intents=intents,
            pools=pools,
            instances=(),
            replicas=(),
            decisions=decisions,
            endpoint=f"http://{self._listen}",
            refused={},
        )
        rows = [
            past_row(view, intent, decisions[intent.service.name])
            for intent in intents
            if intent.service.name in decisions
        ]
        return Look(
            at=self.at,
            now=False,
            view=view,
            services=rows,
            events=tuple(reversed(events[-EVENTS_MAX:])),
            starts=tuple(one for one in reversed(self._store.starts(limit=10 * STARTS_MAX)) if one.ended_at <= self.at),
            traces=traces(self._store, since=self.at - TRACE_S, until=self.at),
        )


def past_row(view: FleetView, intent: Intent, decision: Decision) -> ServiceRow:
    """A Service as a Decision of an earlier time tells of it; its file is today's."""
    scaling = intent.service.scaling
    load = decision.inputs.load if decision.inputs is not None else None
    moving = decision.desired != decision.ready
    state = "held" if load is None else "scaling" if moving else "ready" if decision.ready else "idle"
    return ServiceRow(
        name=decision.service,
        state=state,
        ready=decision.ready,
        booting=decision.current - decision.ready,
        desired=decision.desired,
        min=scaling.min,
        max=scaling.max,
        concurrency=decision.concurrency,
        concurrency_most=decision.concurrency_most,
        queued=decision.queued,
        target=decision.target,
        standby_ready=decision.inputs.standby if decision.inputs is not None else 0,
        standby_wanted=decision.standby or 0,
        tier="",
        price_per_hour=decision.price_per_hour,
        endpoint="",
        reason=decision.reason,
        trouble=decision.trouble,
        decided_at=decision.at,
        age_s=view.at - intent.changed_at,
        gpu=str(intent.service.gpu[0]),
        policy=scaling.preset,
        oldest_wait_s=None if load is None else load.oldest_wait_s,
        promise=Promise(ttft_s=None, kept=None),
    )


def traces(store: SqlStore, *, since: float, until: float) -> dict[str, list[DemandPoint]]:
    """Demand, wish and capacity of each Service between two times, from evenly spaced journal entries."""
    found: dict[str, list[DemandPoint]] = {}
    begins = store.journal_begins()
    if begins is None:
        return found
    since = max(since, begins)
    last = 0.0
    for index in range(TRACE_POINTS + 1):
        body = store.journal(at=since + (until - since) * index / TRACE_POINTS)
        if body is None:
            continue
        entry: Entry = read(body)
        if entry.at <= last:
            continue
        last = entry.at
        for decision in entry.decisions:
            found.setdefault(decision.service, []).append(_point(decision))
    return found


def _point(decision: Decision) -> DemandPoint:
    demand = None if decision.concurrency is None or decision.target <= 0 else decision.concurrency / decision.target
    return DemandPoint(t_s=decision.at, demand=demand, ready=decision.ready, desired=decision.desired)


def pool_lines(view: FleetView, rows: Iterable[ServiceRow]) -> list[PoolLine]:
    """Every Pool with Instances, or of a Service that is up."""
    by_name = {row.name: row for row in rows}
    intents: dict[str, list[Intent]] = {}
    for intent in view.intents:
        if intent.up:
            intents.setdefault(view.pool_of(intent).name, []).append(intent)
    lines = []
    for name in sorted({*intents, *(pool for pool, held in view.by_pool.items() if any(not one.over for one in held))}):
        held = [one for one in view.by_pool.get(name, ()) if not one.over]
        of = [by_name[one.service.name] for one in intents.get(name, ()) if one.service.name in by_name]
        ready = max((row.standby_ready for row in of), default=0)
        wanted = max((row.standby_wanted for row in of), default=0)
        lines.append(
            PoolLine(
                name=name,
                ready=sum(1 for one in held if one.phase == "ready"),
                instances=len(held),
                standby=f"{ready}/{wanted} {of[0].tier}" if of else "-",
                standby_short=ready < wanted,
                gpus_used=sum(view.used_gpus(one.id) for one in held),
                gpus=sum(one.offer.gpu.count for one in held),
                price_per_hour=_price(held),
                spot=sum(1 for one in held if one.offer.market == "spot"),
            )
        )
    return lines


def schedule_lines(view: FleetView, *, within_s: float = AHEAD_S) -> list[ScheduleLine]:
    """The coming firings of all schedules, soonest first."""
    lines = []
    for intent in view.intents:
        if not intent.up:
            continue
        for schedule in intent.service.schedule:
            said = [
                f"{word} {value}"
                for word, value in (("=", schedule.replicas), ("min", schedule.min), ("max", schedule.max))
                if value is not None
            ]
            lines += [
                ScheduleLine(
                    at=one.at,
                    service=intent.service.name,
                    cron=schedule.cron,
                    tz=schedule.tz,
                    what=", ".join(said),
                    duration_s=schedule.duration_s,
                )
                for one in beginnings((schedule,), view.at, within_s)
            ]
    return sorted(lines, key=lambda line: line.at)


def _price(instances: Iterable[Instance]) -> float | None:
    prices = [one.offer.price_per_hour for one in instances if one.billed]
    return None if any(price is None for price in prices) else sum(price or 0.0 for price in prices)


def replica_of(look: Look, name: str) -> Replica | None:
    return next((one for one in look.view.replicas if one.id == name), None)


def start_of(look: Look, service: ServiceName) -> Start | None:
    """The newest start of a Service that is over."""
    return next((one for one in look.starts if one.service == service), None)
