"""Everything of one Service that waits: by band and tenant, to be tried again, and by when it is too late."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from fleetctl.gateway.scheduler.fairness import Lane
from fleetctl.gateway.scheduler.retries import Retries
from fleetctl.gateway.scheduler.ticket import Band, Phase, Ticket

_STALE_ENTRIES_SPARE: Final = 64
"""Outdated deadlines kept in the heap before it is rebuilt."""


class Waiting:
    """The queue of one Service."""

    __slots__ = ("_deadlines", "count", "lanes", "retries", "size_bytes")

    def __init__(self) -> None:
        self.lanes = tuple(Lane(band) for band in Band)
        self.retries = Retries()
        self.count = 0
        """In all lanes, and to be tried again."""
        self.size_bytes = 0
        """Of their bodies."""
        self._deadlines: list[tuple[float, int, Ticket]] = []

    def __iter__(self) -> Iterator[Ticket]:
        for lane in self.lanes:
            yield from lane.order
        yield from self.retries

    def add(self, ticket: Ticket) -> None:
        """It waits for its turn; or before all others, where it is tried again."""
        ticket.phase = Phase.QUEUED
        self.count += 1
        self.size_bytes += ticket.size_bytes
        deadlines = self._deadlines
        heappush(deadlines, (ticket.deadline_s, ticket.number, ticket))
        if len(deadlines) > 2 * self.count + _STALE_ENTRIES_SPARE:
            self._deadlines = [entry for entry in deadlines if entry[2].phase is Phase.QUEUED]
            heapify(self._deadlines)
        if ticket.again:
            self.retries.add(ticket)
        else:
            ticket.share.lane.add(ticket)

    def remove(self, ticket: Ticket) -> None:
        self.count -= 1
        self.size_bytes -= ticket.size_bytes
        if ticket.again:
            self.retries.remove(ticket)
        else:
            ticket.share.lane.remove(ticket)

    def late(self, now: float) -> Ticket | None:
        """One whose time is over, still in the queue."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            ticket = heappop(deadlines)[2]
            if ticket.phase is Phase.QUEUED and ticket.deadline_s <= now:
                return ticket
        return None

    def extend(self, seconds: float) -> None:
        """All may wait as long as this, counted from their arrival, but for what their clients would wait."""
        self._deadlines = []
        for ticket in self:
            patience_s = seconds if ticket.patience_s is None else min(seconds, ticket.patience_s)
            ticket.deadline_s = max(ticket.deadline_s, ticket.arrived_s + patience_s)
            self._deadlines.append((ticket.deadline_s, ticket.number, ticket))
        heapify(self._deadlines)

    def fits(self, ticket: Ticket, limit: int, limit_bytes: int) -> bool:
        """Whether there is room for one more, without displacing any."""
        return self.count < limit and self.size_bytes + ticket.size_bytes <= limit_bytes

    def displaceable(self, ticket: Ticket, limit: int, limit_bytes: int) -> bool:
        """Whether there would be room if all of later bands made way."""
        later = self.lanes[ticket.band + 1 :]
        count = sum(len(lane.order) for lane in later)
        size_bytes = sum(lane.size_bytes for lane in later)
        return self.count - count < limit and self.size_bytes - size_bytes + ticket.size_bytes <= limit_bytes

    def youngest_after(self, band: Band) -> Ticket | None:
        """The one that came last of the latest band after this one: the first to make way."""
        for lane in reversed(self.lanes[band + 1 :]):
            if lane.order:
                return next(reversed(lane.order))
        return None
