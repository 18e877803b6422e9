"""Who is next inside a band: the tenant that was served least, by virtual token counters (VTC, arXiv 2401.00588).

Every tenant has a clock that runs by the tokens it is given, divided by its weight; the one whose clock is furthest
behind is next. Between two tenants that always have requests waiting, the tokens given divided by weight therefore
differ by no more than a constant, however long they ask. A tenant that was away comes back at the band's time: it is
owed nothing for its absence.
"""

from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final

from fleetctl.gateway.scheduler.ticket import Band, Ticket

if TYPE_CHECKING:
    from fleetctl.gateway.scheduler.replicas import Replica

INPUT_WEIGHT: Final = 1.0
OUTPUT_WEIGHT: Final = 2.0
"""An output token costs an engine about twice an input token (VTC's weights, after what providers charge)."""
LEAD_TOKENS: Final = 20_000.0
"""Q: how far a tenant's clock may be ahead of the next one's and still be served first where its prompt is known."""
_ABSENT: Final = object()
_STALE_ENTRIES_SPARE: Final = 64
"""Outdated entries kept in the heap before it is rebuilt."""


class Share:
    """One tenant in one band of one Service."""

    __slots__ = ("clock", "entry", "entry_clock", "lane", "running", "tenant", "tickets", "waiting", "weight")

    def __init__(self, lane: "Lane", tenant: str, weight: float) -> None:
        self.lane = lane
        self.tenant = tenant
        self.weight = weight
        self.clock = 0.0
        """Virtual time: tokens given, by `INPUT_WEIGHT` and `OUTPUT_WEIGHT`, over weight."""
        self.tickets: OrderedDict[Ticket, object] = OrderedDict()
        """Those that any replica may take, first come first served."""
        self.waiting = 0
        """`tickets`, and those that wait for one replica."""
        self.running = 0
        self.entry = 0
        """The number of its valid entry in the lane's heap; 0: it has none."""
        self.entry_clock = 0.0
        """By what it stands there: never after `clock`, and corrected when it comes to the top."""


class Lane:
    """One band of one Service: all that waits in it, by tenant and by age. Everything is O(log tenants)."""

    __slots__ = (
        "_heap", "_numbers", "band", "clock", "order", "patient", "shares", "size_bytes", "weight_waiting",
    )  # fmt: skip

    def __init__(self, band: Band) -> None:
        self.band = band
        self.clock = 0.0
        """The band's now: the clock of the tenant that was served last."""
        self.order: OrderedDict[Ticket, None] = OrderedDict()
        """All that wait, oldest first."""
        self.shares: dict[str, Share] = {}
        self.size_bytes = 0
        self.weight_waiting = 0.0
        """Of the tenants that wait, together."""
        self.patient: OrderedDict[Ticket, None] = OrderedDict()
        """Those that wait for one replica for a moment; they are in `order` too, and in no tenant's `tickets`."""
        self._heap: list[tuple[float, int, Share]] = []
        self._numbers = 0

    def add(self, ticket: Ticket) -> None:
        share = ticket.share
        self.order[ticket] = None
        self.size_bytes += ticket.size_bytes
        share.tickets[ticket] = None
        share.waiting += 1
        if share.waiting == 1:
            self.weight_waiting += share.weight
            if share.clock < self.clock:
                share.clock = self.clock
        if not share.entry:
            self._enter(share)

    def remove(self, ticket: Ticket) -> None:
        share = ticket.share
        del self.order[ticket]
        self.size_bytes -= ticket.size_bytes
        if share.tickets.pop(ticket, _ABSENT) is _ABSENT:
            del self.patient[ticket]
            ticket.replica.awaited -= 1
        if ticket.link is not None:
            ticket.link.leave(ticket)
        share.waiting -= 1
        if not share.waiting:
            self.weight_waiting -= share.weight
            if not self.order:
                self.weight_waiting = 0.0  # no rest of rounding stays

    def set_apart(self, ticket: Ticket, replica: "Replica", overdue_s: float) -> None:
        """It waits for one replica until then; those behind it need not."""
        del ticket.share.tickets[ticket]
        ticket.replica = replica
        replica.awaited += 1
        ticket.overdue_s = overdue_s
        self.patient[ticket] = None

    def call_back(self, now: float) -> None:
        """Those that have waited for one replica long enough are the first of their tenants again."""
        while self.patient:
            ticket = next(iter(self.patient))
            if ticket.overdue_s > now:
                return
            del self.patient[ticket]
            ticket.replica.awaited -= 1
            share = ticket.share
            share.tickets[ticket] = None
            share.tickets.move_to_end(ticket, last=False)
            if not share.entry:
                self._enter(share)

    def head(self) -> Share | None:
        """The tenant that is next."""
        heap = self._heap
        while heap:
            clock, number, share = heap[0]
            if share.entry != number:
                heappop(heap)
            elif not share.tickets:
                heappop(heap)
                share.entry = 0
            elif clock < share.clock:
                share.entry_clock = share.clock
                heapreplace(heap, (share.clock, number, share))
            else:
                return share
        return None

    def turn(self, share: Share) -> None:
        """It is this tenant's turn: the band's time goes on to its clock, or, if it was away, its clock to the band's.

        One that waits and is behind the band's time was charged too much before, and keeps what it got back.
        """
        if share.clock > self.clock:
            self.clock = share.clock
        elif not share.waiting:
            share.clock = self.clock

    def settle(self, share: Share, change: float) -> None:
        """Correct its clock by what turned out otherwise, in virtual time."""
        share.clock += change
        if share.clock < share.entry_clock and share.entry:
            self._enter(share)

    def reweigh(self, share: Share, weight: float) -> None:
        if share.waiting:
            self.weight_waiting += weight - share.weight
        share.weight = weight

    def _enter(self, share: Share) -> None:
        self._numbers += 1
        share.entry = self._numbers
        share.entry_clock = share.clock
        heappush(self._heap, (share.clock, self._numbers, share))
        if len(self._heap) > 4 * len(self.shares) + _STALE_ENTRIES_SPARE:
            self._heap = [entry for entry in self._heap if entry[2].entry == entry[1]]
            heapify(self._heap)
