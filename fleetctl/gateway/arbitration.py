"""The seam between the data plane and whoever decides: in the same process, or one scheduler for many processes.

Every message goes one way. The data plane says what it knows; the arbiter calls the data plane's `Bearer` back, maybe
before the call that caused it has returned. A Ticket that was asked for ends in exactly one of: `finish`, `cancel`,
`refused`.
"""

from typing import Protocol, TypeVar

from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Fault, Seat, Ticket
from fleetctl.model.names import ServiceName

T_contra = TypeVar("T_contra", bound=Ticket, contravariant=True)


class Bearer(Protocol[T_contra]):
    """Carries out what the arbiter decides: the data plane."""

    def granted(self, ticket: T_contra) -> None:
        """`ticket.seat` is its slot now: send it there."""

    def refused(self, ticket: T_contra, refusal: Refusal) -> None:
        """It gets no slot: tell the client. It is over."""

    def probe(self, seat: Seat) -> None:
        """Find out whether a replica that failed answers again, then say `probed`."""

    def starved(self, service: ServiceName) -> None:
        """A request came while the Service has no replica: whoever makes replicas should know at once."""


class Arbiter(Protocol[T_contra]):
    """Decides which request gets which slot, and when. `now` is in seconds, of any origin, and never goes back."""

    def ask(self, ticket: T_contra, now: float) -> None:
        """A whole request has come: queue it, grant it, or refuse it."""

    def hears(self, ticket: T_contra, now: float) -> None:
        """The first byte of its answer has come: its prompt is computed, its replica is well."""

    def give_back(self, ticket: T_contra, fault: Fault, now: float) -> None:
        """Its replica failed it before the client saw a byte: queue it again, before all others.

        Only for `UNREACHED`, or where `ticket.retriable`; else say `finish(answered=False)`.
        """

    def finish(
        self, ticket: T_contra, now: float, *, answered: bool, input_tokens: int = 0, output_tokens: int = 0
    ) -> None:
        """It is over, and its slot is free. Tokens as its engine counted them; 0: it did not say.

        An answer that came in one piece needs no `hears` before.
        """

    def cancel(self, ticket: T_contra, now: float) -> None:
        """The client has gone: leave the queue or the slot. One that is over stays as it is."""

    def probed(self, seat: Seat, now: float, *, well: bool) -> None:
        """What a probe found out."""
