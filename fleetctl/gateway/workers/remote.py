"""The arbiter as a worker process sees it: the real one sits in the scheduler process, behind a socket."""

from collections.abc import Callable
from itertools import count
from typing import Final, Generic, TypeVar, assert_never

from fleetctl.gateway.arbitration import Bearer
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Fault, Phase, Seat, Ticket
from fleetctl.gateway.workers.links import Link
from fleetctl.gateway.workers.messages import (
    Ask,
    Cancel,
    Carried,
    Down,
    Finish,
    GiveBack,
    Granted,
    Hears,
    Hello,
    Identified,
    Named,
    Probe,
    Probed,
    Refused,
    SeatKnown,
    SeatLeft,
)
from fleetctl.model.names import ReplicaId, ServiceName

FAULTS: Final = tuple(Fault)
"""A Fault travels as its place in here."""
LOST: Final = Refusal(
    status=503,
    code="scheduler_lost",
    message="The gateway's scheduler was lost and is being started again. Try again.",
    retry_after_s=1,
)

T = TypeVar("T", bound=Ticket)


class RemoteArbiter(Generic[T]):
    """An `arbitration.Arbiter`: what is said goes to the scheduler in one write per turn, answers go to `bearer`.

    Without a scheduler what waits is refused with `scheduler_lost`, and what runs goes on to its end. `configured` gets
    what the scheduler says for the data plane itself: the names of Services and who may enter.
    """

    def __init__(self, bearer: Bearer[T], configured: Callable[[Named | Identified], None]) -> None:
        self._bearer = bearer
        self._configured = configured
        self._link: Link[Down] | None = None
        self._last_id = 0
        self._tickets: dict[int, T] = {}
        """All that wait or run."""
        self._carried: dict[int, Carried] = {}
        """Of these, what a scheduler that is gone had seated."""
        self._seats: dict[int, Seat] = {}
        """By the scheduler's number. Each gets one of ours: the next scheduler counts from 1 again."""
        self._generations = count(1)
        self._probes: dict[int, int] = {}
        """The scheduler's number of each seat that is looked at, by ours."""

    @property
    def linked(self) -> bool:
        return self._link is not None

    @property
    def tickets(self) -> tuple[T, ...]:
        """All that wait or run."""
        return tuple(self._tickets.values())

    # an Arbiter

    def ask(self, ticket: T, now: float) -> None:
        ticket.arrived_s = now
        link = self._link
        if link is None:
            self._refuse(ticket, LOST)
            return
        self._last_id += 1
        ticket.number = number = self._last_id
        ticket.phase = Phase.QUEUED
        self._tickets[number] = ticket
        link.say(
            Ask(
                number, ticket.service, ticket.tenant, ticket.band, ticket.prefix, ticket.adapter, ticket.input_tokens,
                ticket.output_tokens, ticket.patience_s, ticket.size_bytes, ticket.streams,
            )
        )  # fmt: skip

    def hears(self, ticket: T, now: float) -> None:
        if self._link is not None and ticket.number not in self._carried:
            self._link.say(Hears(ticket.number))

    def give_back(self, ticket: T, fault: Fault, now: float) -> None:
        if ticket.phase is not Phase.RUNNING:
            raise ValueError("only a running request can be given back")
        ticket.seat = None
        if self._link is None or ticket.number in self._carried:
            self._forget(ticket)
            self._refuse(ticket, LOST)
            return
        ticket.phase = Phase.QUEUED
        ticket.retried = ticket.retried or fault is not Fault.UNREACHED
        self._link.say(GiveBack(ticket.number, FAULTS.index(fault)))

    def finish(self, ticket: T, now: float, *, answered: bool, input_tokens: int = 0, output_tokens: int = 0) -> None:
        if ticket.phase is not Phase.RUNNING:
            raise ValueError("only a running request can be finished")
        number, link = ticket.number, self._link
        del self._tickets[number]
        if self._carried:
            self._carried.pop(number, None)
        ticket.seat = None
        ticket.phase = Phase.ANSWERED if answered else Phase.FAILED
        if link is None:
            return
        newest = link.newest()
        if type(newest) is Hears and newest.id == number:  # a short answer begins and ends in one turn
            link.instead(Finish(number, answered, input_tokens, output_tokens, True))
        else:
            link.say(Finish(number, answered, input_tokens, output_tokens, False))

    def cancel(self, ticket: T, now: float) -> None:
        if ticket.phase is Phase.QUEUED or ticket.phase is Phase.RUNNING:
            self._forget(ticket)
            ticket.seat = None
            ticket.phase = Phase.CANCELLED

    def probed(self, seat: Seat, now: float, *, well: bool) -> None:
        number = self._probes.pop(seat.generation, None)
        if self._link is not None and number is not None:
            self._link.say(Probed(number, well))

    # the link

    def linked_by(self, link: Link[Down], hello: Hello) -> None:
        """A scheduler is there: tell it who this is, and which seats its requests still hold."""
        self._link = link
        link.say_now([Hello(hello.worker, hello.pid, tuple(self._carried.values()))])

    def unlinked(self) -> None:
        """The scheduler is gone. What waits there is lost with it; what runs holds its seat on."""
        self._link = None
        for seat in self._seats.values():
            seat.listed = False
        self._seats.clear()
        self._probes.clear()
        for number, ticket in self._tickets.items():
            seat_held = ticket.seat
            if seat_held is not None and number not in self._carried:
                self._carried[number] = Carried(number, seat_held.service, seat_held.replica, seat_held.address)
        self._refuse_waiting()

    def takes(self, said: list[Down]) -> None:
        """What the scheduler says."""
        for one in said:
            match one:
                case Granted():
                    ticket = self._tickets.get(one.id)
                    if ticket is not None:  # else it was cancelled meanwhile, and the scheduler will read so
                        ticket.seat = self._seats[one.generation]
                        ticket.retriable = one.retriable
                        ticket.uncached_tokens = one.uncached_tokens
                        ticket.phase = Phase.RUNNING
                        self._bearer.granted(ticket)
                case Refused():
                    ticket = self._tickets.pop(one.id, None)
                    if ticket is not None:
                        refusal = Refusal(
                            status=one.status,
                            code=one.code,
                            message=one.message,
                            retry_after_s=one.retry_after_s,
                            extra=one.extra,
                        )
                        self._refuse(ticket, refusal)
                case SeatKnown():
                    self._seats[one.generation] = Seat(
                        ServiceName(one.service), ReplicaId(one.replica), one.address, next(self._generations)
                    )
                case SeatLeft():
                    left = self._seats.pop(one.generation, None)
                    if left is not None:
                        left.listed = False
                case Probe():
                    seat = self._seats[one.generation]
                    self._probes[seat.generation] = one.generation
                    self._bearer.probe(seat)
                case Named() | Identified():
                    self._configured(one)
                case _:
                    assert_never(one)

    def _refuse_waiting(self) -> None:
        for ticket in [one for one in self._tickets.values() if one.phase is Phase.QUEUED]:
            self._forget(ticket)
            self._refuse(ticket, LOST)

    def _forget(self, ticket: T) -> None:
        del self._tickets[ticket.number]
        self._carried.pop(ticket.number, None)
        if self._link is not None:
            self._link.say(Cancel(ticket.number))

    def _refuse(self, ticket: T, refusal: Refusal) -> None:
        ticket.phase = Phase.REFUSED
        self._bearer.refused(ticket, refusal)
