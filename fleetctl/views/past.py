"""Looks at what the journal has kept of an earlier time, and of the times after it."""

import time
from typing import Final

from fleetctl.controller.journal import read
from fleetctl.decide.standing import standby_of
from fleetctl.errors import NotFound, UsageError
from fleetctl.model.decisions import Decision
from fleetctl.model.snapshots import Intent, Lease
from fleetctl.store import SqlStore
from fleetctl.views.fleet import FleetView, ServiceRow, worst_first
from fleetctl.views.holds import because
from fleetctl.views.looks import EVENTS_MAX, STARTS_MAX, TRACE_S, Look
from fleetctl.views.promise import Promise
from fleetctl.views.standbys import standby_figure
from fleetctl.views.traces import SPACING_S, Traces

_EVENTS_READ: Final = 20 * EVENTS_MAX
"""Looked through for those before a time: a busy day."""


class Past:
    """Looks at a time, and at those after it at `speed`. Nothing is read again while it stands still."""

    def __init__(
        self,
        store: SqlStore,
        *,
        listen: str,
        since: float,
        speed: float = 0.0,
        max_cost_per_hour: float | None = None,
    ) -> None:
        """Raises UsageError where the time is yet to come, and NotFound where the journal does not reach back to it.

        What plays (`speed`) begins where the journal does instead: its first hour is not lost for being the only one.
        """
        begins = store.journal_begins()
        if since > time.time():
            raise UsageError("that time is yet to come", hint="give one that is over: fleetctl top --at 10m")
        if begins is None:
            raise NotFound(
                "nothing is recorded yet: no controller has run here", hint="begin: fleetctl up, then: fleetctl top"
            )
        if speed > 0.0:
            since = max(since, begins)
        if since < begins:
            first = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begins + 1.0))
            raise NotFound(
                f"nothing is kept of that time: the journal begins at {first}", hint=f"fleetctl top --at {first}"
            )
        self._store = store
        self._listen = listen
        self._begins = begins
        self._max_cost = max_cost_per_hour
        self.speed = speed
        """Seconds of the past that go by in one; 0: it stands still."""
        self._at = since
        self._asked_at = time.monotonic()
        self._intents = store.intents()
        self._shown: Look | None = None
        self._traces = Traces()

    def seek(self, by_s: float) -> None:
        """The next look is of so much later, or earlier, as far as there is a record."""
        self._at += by_s

    def look(self) -> Look:
        asked_at = time.monotonic()
        wished = self._at + (asked_at - self._asked_at) * self.speed
        self._asked_at = asked_at
        self._at = at = max(self._begins, min(time.time(), wished))
        if self._shown is not None and self._shown.at == at:
            return self._shown
        body = self._store.journal(at=at)
        entry = None if body is None else read(body)
        decisions = {} if entry is None else {str(one.service): one for one in entry.decisions}
        read_at = self._traces.read_at
        if read_at is None or not 0.0 <= at - read_at < SPACING_S:
            self._traces.load(self._store, until=at)
        self._traces.add(decisions.values())
        intents, pools = self._intents
        view = FleetView(
            at=at,
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
        events = [one for one in self._store.events(since=at - TRACE_S, limit=_EVENTS_READ) if one.at <= at]
        self._shown = Look(
            at=at,
            now=False,
            view=view,
            services=sorted(rows, key=worst_first),
            events=tuple(reversed(events[-EVENTS_MAX:])),
            starts=tuple(one for one in reversed(self._store.starts(limit=10 * STARTS_MAX)) if one.ended_at <= at),
            traces=self._traces.points,
            stands=self._traces.stands,
            max_cost_per_hour=self._max_cost,
        )
        return self._shown


def past_row(view: FleetView, intent: Intent, decision: Decision) -> ServiceRow:
    """A Service as a Decision of an earlier time tells of it; its file is today's."""
    scaling = intent.service.scaling
    load = decision.inputs.load if decision.inputs is not None else None
    moving = decision.desired != decision.ready
    seen = decision.inputs
    pool = view.pool_of(intent)
    slots = standby_figure(
        intent, pool, decision, serving=decision.desired, ready=seen.standby if seen is not None else 0
    )
    why = "not recorded: an older fleetctl decided this" if seen is None else slots.why
    state = (
        "failing" if decision.binding == "failures"
        else "held" if decision.concurrency is None
        else "idle" if not (decision.desired or decision.ready)
        else "starting" if not decision.ready
        else "scaling" if moving
        else "ready"
    )  # fmt: skip
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
        standby_ready=slots.ready,
        standby_wanted=slots.wanted if seen is not None else 0,
        standby_why=why,
        tier=standby_of(pool, intent.service).tier,
        price_per_hour=decision.price_per_hour,
        endpoint="",
        reason=because(decision),
        trouble=decision.trouble,
        decided_at=decision.at,
        age_s=view.at - (intent.created_at or intent.changed_at),
        gpu=str(intent.service.gpu[0]),
        policy=scaling.preset,
        oldest_wait_s=None if load is None else load.oldest_wait_s,
        promise=Promise(ttft_s=None, kept=None),
    )
