"""A data plane for the arbiter's tests: it writes down what it is told, and does what it was told to do at once."""

from collections.abc import Callable
from typing import Any

from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.arbiter import FairArbiter
from fleetctl.gateway.scheduler.ticket import Band, Phase, Seat, Ticket
from fleetctl.gateway.scheduler.views import LineView
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route, Upstream

CHAT = ServiceName("chat")


def route(*upstreams: tuple[str, int], service: ServiceName = CHAT, **bounds: Any) -> Route:
    """Replicas as (name, slots). Unlike in the product, nothing is refused early where `shed` is not set."""
    return Route(
        service=service,
        models=(),
        upstreams=tuple(
            Upstream(replica=ReplicaId(name), address=f"10.0.0.1:{ord(name[0])}", slots=slots)
            for name, slots in upstreams
        ),
        **{"shed": False, **bounds},
    )


def a_ticket(tenant: str = "", band: Band = Band.NORMAL, *, service: ServiceName = CHAT, **fields: Any) -> Ticket:
    ticket = Ticket(service)
    ticket.tenant = tenant
    ticket.band = band
    for name, value in fields.items():
        setattr(ticket, name, value)
    return ticket


class Plane:
    """A `Bearer` with an arbiter, both without sockets. Probes find what `well` says; `on_grant` runs at each grant."""

    def __init__(self, *routes: Route) -> None:
        self.now = 0.0
        self.log: list[Ticket] = []
        """Grants, in order."""
        self.refusals: dict[Ticket, Refusal] = {}
        self.probes: list[Seat] = []
        self.starving: list[ServiceName] = []
        self.well: bool | None = True
        """None: probes are not answered."""
        self.on_grant: Callable[[Ticket], None] | None = None
        self.arbiter: FairArbiter[Ticket] = FairArbiter(self)
        self.arbiter.configure(routes, self.now)

    # what the arbiter says

    def granted(self, ticket: Ticket) -> None:
        assert ticket.phase is Phase.RUNNING and ticket.seat is not None
        self.log.append(ticket)
        if self.on_grant is not None:
            self.on_grant(ticket)

    def refused(self, ticket: Ticket, refusal: Refusal) -> None:
        """Once for each ticket at most."""
        assert ticket.phase is Phase.REFUSED and ticket.seat is None
        assert ticket not in self.refusals
        self.refusals[ticket] = refusal

    def probe(self, seat: Seat) -> None:
        self.probes.append(seat)
        if self.well is not None:
            self.arbiter.probed(seat, self.now, well=self.well)

    def starved(self, service: ServiceName) -> None:
        self.starving.append(service)

    # what tests say

    def route(self, *routes: Route) -> None:
        self.arbiter.configure(routes, self.now)

    def asks(self, *tickets: Ticket) -> list[Ticket]:
        for ticket in tickets:
            self.arbiter.ask(ticket, self.now)
        return list(tickets)

    def finish(self, *tickets: Ticket, answered: bool = True, input_tokens: int = 0, output_tokens: int = 0) -> None:
        for ticket in tickets:
            self.arbiter.finish(
                ticket, self.now, answered=answered, input_tokens=input_tokens, output_tokens=output_tokens
            )

    def hears(self, *tickets: Ticket) -> None:
        for ticket in tickets:
            self.arbiter.hears(ticket, self.now)

    def passes(self, seconds: float) -> None:
        """Time goes on in the steps in which a host advances it, to the same moment whatever the steps."""
        until = self.now + seconds
        while self.now + 0.25 < until:
            self.now += 0.25
            self.arbiter.advance(self.now)
        self.now = until
        self.arbiter.advance(self.now)

    def granted_since(self, count: int) -> list[Ticket]:
        return self.log[count:]

    @property
    def view(self) -> LineView:
        return self.arbiter.views(self.now)[0]

    @property
    def in_flight(self) -> dict[str, int]:
        return {str(replica): used for replica, used in self.view.in_flight}


def places(*tickets: Ticket) -> str:
    """Where they run, one letter each; `-`: nowhere."""
    return "".join(ticket.seat.replica if ticket.seat is not None else "-" for ticket in tickets)


def tickets(count: int, tenant: str = "", band: Band = Band.NORMAL, **fields: Any) -> list[Ticket]:
    return [a_ticket(tenant, band, **fields) for _ in range(count)]
