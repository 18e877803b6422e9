"""The scheduler's side of its workers: all their Tickets in one arbiter, so that slots are never split between them."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fleetctl.gateway.arbitration import Bearer
from fleetctl.gateway.measures import PlaneMeasures
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.arbiter import FairArbiter
from fleetctl.gateway.scheduler.ticket import Phase, Seat
from fleetctl.gateway.workers.messages import (
    Granted,
    Identified,
    Named,
    Probe,
    Refused,
)
from fleetctl.gateway.workers.worker_sides import HostedTicket, WorkerSide
from fleetctl.model.keys import KEYS_MAX
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Route, Routes

_log = logging.getLogger("fleetctl.gateway")

GATHER_TIMEOUT_S: Final = 2.0
"""A scheduler waits this long to hear from all workers which slots they still hold; they answer in milliseconds."""
UNTOLD: Final = Routes(fence=-1, routes=())
"""What a worker hears while nobody has said what is to be served."""


class ArbiterHost(Bearer[HostedTicket]):
    """Joins workers and an arbiter.

    `starved` is the arbiter's word to whoever makes replicas. `cut` gets the number of a worker that is to be ended,
    and why, as a `Link` says it. `expected` workers are waited for before the first grant, as they may hold slots that
    a scheduler before this one has given.
    """

    def __init__(
        self,
        *,
        expected: int,
        starved: Callable[[ServiceName], None],
        cut: Callable[[int, Exception], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self.arbiter: FairArbiter[HostedTicket] = FairArbiter(self)
        self.workers: list[WorkerSide] = []
        self.ready = False
        self._expected = expected
        self._gather_until = now() + GATHER_TIMEOUT_S
        self._starved = starved
        self._cut = cut
        self._routes: tuple[Route, ...] = ()
        self._named = UNTOLD
        self._identity: Identity | None = None
        self._seats: dict[int, Seat] = {}
        """All that some worker knows, by generation."""
        self._probes: dict[int, tuple[Seat, WorkerSide | None]] = {}
        self._used_keys: set[str] = set()
        self._departed = PlaneMeasures()
        """What workers that are gone had counted: it has happened."""
        self._stale = False
        """Carried requests have ended since the arbiter was told its capacity."""

    # what steers it

    def configure(self, routes: Routes) -> None:
        """The newest view of capacity: slots to the arbiter, names to the workers."""
        self._routes = routes.routes
        self._apply()
        named = replace(routes, fence=0, routes=tuple(replace(one, upstreams=()) for one in routes.routes))
        if named != self._named:
            self._named = named
            for worker in self.workers:
                worker.say(Named(named))

    def identify(self, identity: Identity) -> None:
        self._identity = identity
        self.arbiter.identify(identity, self.now(), time.time())
        for worker in self.workers:
            worker.say(Identified(identity))

    def advance(self) -> None:
        """Move time; to be called four times a second."""
        now = self.now()
        if not self.ready and now >= self._gather_until:
            _log.warning(
                "only %d of %d workers were heard of in %g s; the scheduler begins without the others",
                sum(worker.present for worker in self.workers), self._expected, GATHER_TIMEOUT_S,
            )  # fmt: skip
            self._begin()
        if self._stale:
            self._apply()
        self.arbiter.advance(now)

    def measures(self) -> PlaneMeasures:
        """All workers' together, without queues: of those that live as they said last, and of those that are gone."""
        merged = PlaneMeasures()
        merged.add(self._departed)
        for worker in self.workers:
            if worker.report:
                merged.add(worker.measured())
        return merged

    def carried(self) -> Counter[tuple[str, str, str]]:
        """Requests that run since before this scheduler, by service, replica and address."""
        return Counter(
            (one.service, one.replica, one.address) for worker in self.workers for one in worker.carried.values()
        )

    # workers come and go

    def join(self, number: int) -> WorkerSide:
        """A worker that is to be linked; one of the same number before it is gone."""
        for before in [one for one in self.workers if one.number == number]:
            before.lost(None)
        worker = WorkerSide(self, number)
        self.workers.append(worker)
        return worker

    def greeted(self, worker: WorkerSide) -> None:
        worker.say(Named(self._named))
        if self._identity is not None:
            worker.say(Identified(self._identity))
        if worker.carried:
            self._stale = True
        if not self.ready:
            self._begin_when_heard()
        elif worker.carried:
            self._apply()
        self._assign_probes()

    def lose(self, worker: WorkerSide, why: Exception | None) -> None:
        """Every Ticket of it is cancelled; those that wait first, so that no slot goes round among the dead."""
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        if worker.report:
            gone = worker.measured()
            gone.held_bytes = gone.client_connections = gone.upstream_connections = 0
            self._departed.add(gone)
        now = self.now()
        tickets = sorted(worker.tickets.values(), key=lambda ticket: ticket.phase is Phase.RUNNING)
        worker.tickets = {}
        for ticket in tickets:
            self.arbiter.cancel(ticket, now)
        if worker.carried:
            worker.carried = {}
            self._stale = True
        for generation, (seat, asked) in self._probes.items():
            if asked is worker:
                self._probes[generation] = seat, None
        self._assign_probes()
        if tickets:
            _log.warning("worker %d is gone, and %d requests with it", worker.number, len(tickets))
        if not self.ready:
            self._expected -= 1  # with it ended what it held
            self._begin_when_heard()
        if why is not None:
            self._cut(worker.number, why)

    def used(self, keys: tuple[str, ...]) -> None:
        if len(self._used_keys) < KEYS_MAX:
            self._used_keys.update(keys)

    def take_used(self) -> tuple[str, ...]:
        """Ids of API keys that were used since this was asked last."""
        used, self._used_keys = tuple(sorted(self._used_keys)), set()
        return used

    def uncarried(self) -> None:
        self._stale = True

    def probed(self, generation: int, *, well: bool) -> None:
        found = self._probes.pop(generation, None)
        if found is not None:
            self.arbiter.probed(found[0], self.now(), well=well)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    # a Bearer

    def granted(self, ticket: HostedTicket) -> None:
        seat, worker = ticket.seat, ticket.worker
        assert seat is not None
        if seat.generation not in worker.seats:
            self._introduce(seat, worker)
        worker.say(Granted(ticket.id, seat.generation, ticket.retriable, ticket.uncached_tokens))

    def refused(self, ticket: HostedTicket, refusal: Refusal) -> None:
        worker = ticket.worker
        worker.tickets.pop(ticket.id, None)
        worker.say(
            Refused(
                ticket.id, refusal.status, refusal.code, refusal.message, refusal.retry_after_s, refusal.extra
            )
        )  # fmt: skip

    def probe(self, seat: Seat) -> None:
        self._probes[seat.generation] = seat, None
        self._assign_probes()

    def starved(self, service: ServiceName) -> None:
        self._starved(service)

    # the inside

    def _begin_when_heard(self) -> None:
        """Not by their number alone: one that is new holds nothing, and does not stand for one that may hold slots."""
        if len(self.workers) >= self._expected and all(one.present for one in self.workers):
            self._begin()

    def _begin(self) -> None:
        self.ready = True
        self._apply()
        for worker in tuple(self.workers):
            worker.begin()

    def _apply(self) -> None:
        """Tell the arbiter the slots that are there, less those that carried requests hold."""
        if not self.ready:
            return
        self._stale = False
        carried = self.carried()
        routes = self._routes
        if carried:
            routes = tuple(
                replace(
                    route,
                    upstreams=tuple(
                        replace(up, slots=max(0, up.slots - carried[route.service, up.replica, up.address]))
                        for up in route.upstreams
                    ),
                )
                for route in routes
            )
        self.arbiter.configure(routes, self.now())
        left = {generation for generation, seat in self._seats.items() if not seat.listed}
        if left:
            for worker in self.workers:
                worker.forget(left)
            for generation in left:
                del self._seats[generation]

    def _introduce(self, seat: Seat, worker: WorkerSide) -> None:
        self._seats[seat.generation] = seat
        worker.learn(seat)

    def _assign_probes(self) -> None:
        """A probe whose worker is gone is another's; without any worker it waits for one."""
        present = next((one for one in self.workers if one.present), None)
        if present is None:
            return
        for generation, (seat, asked) in self._probes.items():
            if asked is None:
                self._probes[generation] = seat, present
                if generation not in present.seats:
                    self._introduce(seat, present)
                present.say(Probe(generation))
