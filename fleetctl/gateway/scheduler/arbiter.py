"""The arbiter: decides which request gets which slot, and when. Pure: no socket, no clock; time is an argument.

One `Line` holds the requests of one Service, also while it has no replica. What is promised:

* an accepted request ends exactly once, and a slot is given back exactly once, to the incarnation that gave it;
* a replica never runs more requests than it had slots when they were given to it;
* no request of a later band is served while one of an earlier band can be, but for retries, which come first of all,
  once each, and for requests that wait for the one replica that knows their prompt, a quarter of a second at most.
  A later band can therefore starve for as long as earlier ones fill every slot; its requests are then refused when
  their time is over, and not kept for ever;
* inside a band, tenants that always have requests waiting are given tokens in proportion to their weights;
* a slot that can be used is never left free while a request waits, but for that quarter of a second, and for the
  steps in which the first replica after none opens.

Every method is O(log n) or better in requests, tenants and replicas, except `configure`, `identify`, `close`, `views`,
and retries, which look once at each replica that has failed and is avoided.
"""

from itertools import count
from typing import Generic, TypeVar, cast

from fleetctl.gateway.arbitration import Bearer
from fleetctl.gateway.scheduler import shedding
from fleetctl.gateway.scheduler.line import Line
from fleetctl.gateway.scheduler.quotas import Quotas
from fleetctl.gateway.scheduler.ticket import RUNNING, Fault, Phase, Seat, Ticket
from fleetctl.gateway.scheduler.views import LineView, view_of
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Route

T = TypeVar("T", bound=Ticket)

_WEIGHT_LEAST = 1e-3
"""A weight of nothing would be a share of nothing, for ever."""


class FairArbiter(Generic[T]):
    """An `arbitration.Arbiter` for all Services of a gateway, in this process."""

    def __init__(self, bearer: Bearer[T]) -> None:
        self.quotas = Quotas()
        self._bearer = cast("Bearer[Ticket]", bearer)  # it gets back only what it asked for
        self._lines: dict[ServiceName, Line] = {}
        self._weights: dict[str, float] = {}
        self._generations = count(1)
        self._closed = False

    # what the host says

    def configure(self, routes: tuple[Route, ...], now: float) -> None:
        """Take the newest view of all Services. A Service that is gone refuses what waits; what runs may end."""
        given = {route.service: route for route in routes}
        for service, route in given.items():
            line = self._lines.get(service)
            if line is None:
                line = self._lines[service] = Line(
                    service, self._bearer, self.quotas, self._weights, self._generations.__next__
                )
            line.leaving = False
            line.reroute(route, now)
        for service, line in tuple(self._lines.items()):
            if service not in given:
                line.leaving = True
                line.reroute(Route(service=service, models=(), upstreams=()), now)
                line.dismiss(shedding.removed(service), now)
                if not line.seating.running:
                    self._lines.pop(service, None)

    def identify(self, identity: Identity, now: float, at: float | None = None) -> None:
        """Take the newest list of tenants. `at`: Unix time at `now`, for what is counted by the month."""
        self.quotas.identify(identity, now, now if at is None else at)
        self._weights.clear()
        for entry in identity.tenants:
            self._weights[entry.name] = max(_WEIGHT_LEAST, entry.weight)
        for line in self._lines.values():
            line.reweigh()

    def advance(self, now: float) -> None:
        """Move time on; called four times a second."""
        for service, line in tuple(self._lines.items()):
            line.advance(now)
            if line.leaving and not line.seating.running and not line.waiting.count:
                self._lines.pop(service, None)

    def close(self, now: float) -> None:
        """Refuse all that waits, and all that comes; what runs may end, and be tried elsewhere."""
        self._closed = True
        for line in tuple(self._lines.values()):
            line.dismiss(shedding.SHUTTING_DOWN, now)

    def views(self, now: float) -> tuple[LineView, ...]:
        return tuple(view_of(line, now) for line in self._lines.values())

    # what the data plane says: `arbitration.Arbiter`

    def ask(self, ticket: T, now: float) -> None:
        line = self._lines.get(ticket.service)
        if line is None or self._closed:
            ticket.phase = Phase.REFUSED
            self._bearer.refused(
                ticket, shedding.SHUTTING_DOWN if line is not None else shedding.removed(ticket.service)
            )
            return
        line.ask(ticket, now)

    def hears(self, ticket: T, now: float) -> None:
        self._lines[ticket.service].hears(ticket, now)

    def give_back(self, ticket: T, fault: Fault, now: float) -> None:
        if ticket.phase is not RUNNING:
            raise ValueError("only a running request can be given back")
        self._lines[ticket.service].give_back(ticket, fault, now)

    def finish(self, ticket: T, now: float, *, answered: bool, input_tokens: int = 0, output_tokens: int = 0) -> None:
        if ticket.phase is not RUNNING:
            raise ValueError("only a running request can be finished")
        self._lines[ticket.service].finish(ticket, now, answered, input_tokens, output_tokens)

    def cancel(self, ticket: T, now: float) -> None:
        if ticket.phase is Phase.QUEUED or ticket.phase is Phase.RUNNING:
            self._lines[ticket.service].cancel(ticket, now)

    def probed(self, seat: Seat, now: float, *, well: bool) -> None:
        line = self._lines.get(seat.service)
        if line is not None:
            line.probed(seat, now, well=well)
