"""One worker as the scheduler knows it: its Tickets, its link, and what it follows of what the worker says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from fleetctl.gateway.measures import PlaneMeasures
from fleetctl.gateway.scheduler.ticket import Band, Seat, Ticket
from fleetctl.gateway.workers.links import Link
from fleetctl.gateway.workers.messages import (
    Ask,
    BadFrame,
    Cancel,
    Carried,
    Down,
    Finish,
    GiveBack,
    Hears,
    Hello,
    Probed,
    Report,
    SeatKnown,
    SeatLeft,
    Up,
)
from fleetctl.gateway.workers.remote import FAULTS
from fleetctl.model.names import ServiceName

if TYPE_CHECKING:
    from fleetctl.gateway.workers.hosting import ArbiterHost

_BANDS: Final = tuple(Band)
_measures: Final = msgspec.msgpack.Decoder(PlaneMeasures)


class HostedTicket(Ticket):
    """What the scheduler knows of one request of a worker."""

    __slots__ = ("id", "worker")

    def __init__(self, service: ServiceName, worker: "WorkerSide", number: int) -> None:
        super().__init__(service)
        self.worker = worker
        self.id = number


class WorkerSide:
    """One worker as the scheduler knows it. All that it holds ends with its link."""

    def __init__(self, host: "ArbiterHost", number: int) -> None:
        self.number = number
        self.pid = 0
        """0: it has not said hello."""
        self.report = b""
        self.tickets: dict[int, HostedTicket] = {}
        self.carried: dict[int, Carried] = {}
        self._host = host
        self._link: Link[Up] | None = None
        self.seats: set[int] = set()
        """Generations that it knows."""
        self._early: list[Up] = []
        """What it said before the scheduler was ready."""

    @property
    def present(self) -> bool:
        return self.pid != 0

    def measured(self) -> PlaneMeasures:
        return _measures.decode(self.report)

    def linked_by(self, link: Link[Up]) -> None:
        self._link = link

    def say(self, message: Down) -> None:
        if self._link is not None:
            self._link.say(message)

    def learn(self, seat: Seat) -> None:
        """Tell it a seat that it does not know."""
        self.seats.add(seat.generation)
        self.say(SeatKnown(seat.generation, seat.service, seat.replica, seat.address))

    def forget(self, left: set[int]) -> None:
        """These seats are no longer in the routes."""
        for generation in self.seats & left:
            self.seats.discard(generation)
            self.say(SeatLeft(generation))

    def takes(self, said: list[Up]) -> None:
        """What it says. Raises nothing for what it says of a Ticket that is over: the two have crossed."""
        if not self.present:
            said = self._greet(said)
        if not self._host.ready:
            self._early += said
            return
        self._follow(said)

    def begin(self) -> None:
        """The scheduler is ready."""
        early, self._early = self._early, []
        self._follow(early)

    def lost(self, why: Exception | None) -> None:
        """Its process is gone; with a reason: it is to go. What it said and nobody has read yet is over with it."""
        self.close()
        self._host.lose(self, why)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _greet(self, said: list[Up]) -> list[Up]:
        hello = said[0]
        if not isinstance(hello, Hello):
            raise BadFrame(f"worker {self.number} said {type(hello).__name__} before hello")
        self.pid = hello.pid
        self.carried = {one.id: one for one in hello.carried}
        self._host.greeted(self)
        return said[1:]

    def _follow(self, said: Sequence[Up]) -> None:
        arbiter, tickets = self._host.arbiter, self.tickets
        now = self._host.now()
        for one in said:
            match one:
                case Ask():
                    ticket = HostedTicket(ServiceName(one.service), self, one.id)
                    ticket.tenant = one.tenant
                    ticket.band = _BANDS[one.band]
                    ticket.prefix = one.prefix
                    ticket.adapter = one.adapter
                    ticket.input_tokens = one.input_tokens
                    ticket.output_tokens = one.output_tokens
                    ticket.patience_s = one.patience_s
                    ticket.size_bytes = one.size_bytes
                    ticket.streams = one.streams
                    tickets[one.id] = ticket
                    arbiter.ask(ticket, now)
                case Hears():
                    heard = tickets.get(one.id)
                    if heard is not None:
                        arbiter.hears(heard, now)
                case Finish():
                    over = tickets.pop(one.id, None)
                    if over is not None:
                        if one.heard:
                            arbiter.hears(over, now)
                        arbiter.finish(
                            over, now,
                            answered=one.answered, input_tokens=one.input_tokens, output_tokens=one.output_tokens,
                        )  # fmt: skip
                    else:
                        self._uncarry(one.id)
                case Cancel():
                    left = tickets.pop(one.id, None)
                    if left is not None:
                        arbiter.cancel(left, now)
                    else:
                        self._uncarry(one.id)
                case GiveBack():
                    failed = tickets.get(one.id)
                    if failed is not None:
                        arbiter.give_back(failed, FAULTS[one.fault], now)
                case Probed():
                    self._host.probed(one.generation, well=one.well)
                case Report():
                    self.report = one.body
                    self._host.used(one.keys)
                case Hello():
                    raise BadFrame(f"worker {self.number} said hello twice")
                case _:
                    assert_never(one)

    def _uncarry(self, number: int) -> None:
        if self.carried.pop(number, None) is not None:
            self._host.uncarried()
