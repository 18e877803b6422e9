"""Which request goes to which replica, and when. Pure: no socket, no clock; time is an argument (seconds, any origin).

One `ServiceQueue` holds every request of one Service, also while it has no replica. Its whole interface:

* `reroute(route)`           the controller's newest view: replicas, slots, bounds
* `offer(ticket, now)`       accept a request, or refuse it because the queue is full
* `pull()`                   the next request that a free slot can take, now holding that slot; None: nothing to do
* `hears(ticket)`            its replica has begun to answer
* `give_back(ticket, fault)` its replica failed it before the client saw a byte: queued again, or not
* `finish(ticket, answered)` it is over; its slot is free
* `cancel(ticket)`           the client has gone
* `advance(now)`             move time: rests end; the requests that have waited too long come back
* `close()`                  the Service is gone; what was queued comes back

Promises: an accepted request ends exactly once (answered, failed, expired or cancelled); a replica never has more
requests than slots were free when they were given to it; a slot is released in one place, `_release`, by the request
that holds it, to the incarnation that gave it. Every method is O(log replicas) or better, except `reroute` and `close`.

Call `pull` until it returns None after anything that may free a slot or add work.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar, assert_never

from fleetctl.gateway.limits import REST_FIRST_S, REST_LONGEST_S
from fleetctl.model.names import ReplicaId
from fleetctl.model.routes import Route, Upstream

_STALE_ENTRIES_SPARE = 64
"""Outdated entries kept in the heap of free replicas before it is rebuilt; spares small fleets the rebuilding."""


class Phase(Enum):
    NEW = auto()
    QUEUED = auto()
    RUNNING = auto()
    ANSWERED = auto()
    FAILED = auto()
    EXPIRED = auto()
    CANCELLED = auto()


class Fault(Enum):
    """How a replica failed a request of which the client has not seen a byte."""

    UNREACHED = auto()
    """No connection: nothing was delivered, so it is tried as often as the time-out allows. The replica rests."""
    BROKEN = auto()
    """Reset, closed or garbage after the request was sent: tried once more, elsewhere. The replica rests."""
    BUSY = auto()
    """It answered 502, 503 or 504: tried once more if there is another replica, else the answer stands."""


class Incarnation:
    """One Upstream for as long as its replica and address stay the same. It owns its slots."""

    __slots__ = ("address", "entry", "failures", "listed", "probe", "replica", "rests_until", "slots", "used")

    def __init__(self, upstream: Upstream) -> None:
        self.replica = upstream.replica
        self.address = upstream.address
        self.listed = True
        """In the newest routes."""
        self.slots = upstream.slots
        """0: draining, or gone from the routes."""
        self.used = 0
        self.failures = 0
        """In a row; not 0 means that it is tried with one new request at a time, the probe."""
        self.probe: Ticket | None = None
        self.rests_until: float | None = None
        self.entry = 0
        """The number of its valid entry in the heap of free replicas; 0: it has none."""

    @property
    def free(self) -> bool:
        return self.used < self.slots and (not self.failures or (self.rests_until is None and self.probe is None))


class Ticket:
    """One request's place: in the queue, or in a slot. The fields belong to the queue."""

    __slots__ = ("arrived_s", "avoids", "incarnation", "number", "phase", "retried")

    def __init__(self) -> None:
        self.phase = Phase.NEW
        self.arrived_s = 0.0
        self.number = 0
        self.incarnation: Incarnation | None = None
        """Whose slot it holds; None: no slot."""
        self.avoids: Incarnation | None = None
        self.retried = False


T = TypeVar("T", bound=Ticket)


class ServiceQueue(Generic[T]):
    """The requests of one Service, first come first served; the least loaded free replica is served first."""

    def __init__(self, route: Route) -> None:
        self.arrived = 0
        self.answered = 0
        self.failed = 0
        self.expired = 0
        self.cancelled = 0
        self.refused = 0
        self.retries = 0
        self.running = 0
        self._waiting: OrderedDict[T, None] = OrderedDict()
        self._retrying: dict[Incarnation | None, list[T]] = {}
        """Before all that wait; by the replica to avoid, in order of arrival. As few as replicas that fail at once."""
        self._retrying_count = 0
        self._incarnations: dict[tuple[ReplicaId, str], Incarnation] = {}
        self._free: list[tuple[float, int, Incarnation]] = []
        self._resting: set[Incarnation] = set()
        self._listed = 0
        self._entries = 0
        self._limit = 0
        self._timeout_s = 0.0
        self.reroute(route)

    @property
    def queued(self) -> int:
        return len(self._waiting) + self._retrying_count

    @property
    def incarnations(self) -> tuple[Incarnation, ...]:
        """Those in the routes, and those that left and still have requests."""
        return tuple(self._incarnations.values())

    def in_flight(self) -> dict[ReplicaId, int]:
        counts: dict[ReplicaId, int] = {}
        for incarnation in self._incarnations.values():
            counts[incarnation.replica] = counts.get(incarnation.replica, 0) + incarnation.used
        return counts

    def oldest_wait_s(self, now: float) -> float:
        heads = [group[0].arrived_s for group in self._retrying.values()]
        if self._waiting:
            heads.append(next(iter(self._waiting)).arrived_s)
        return max(0.0, now - min(heads)) if heads else 0.0

    def reroute(self, route: Route) -> None:
        """Take the controller's newest view. Running requests keep their slots; a removed replica gets no more."""
        self._limit = route.queue_limit
        self._timeout_s = route.queue_timeout_s
        wanted = {(upstream.replica, upstream.address): upstream for upstream in route.upstreams}
        for key, incarnation in tuple(self._incarnations.items()):
            if key not in wanted:
                incarnation.slots = 0
                incarnation.listed = False
                if not incarnation.used:
                    self._forget(incarnation)
        for key, upstream in wanted.items():
            incarnation = self._incarnations.get(key) or Incarnation(upstream)
            incarnation.slots = upstream.slots
            incarnation.listed = True
            self._incarnations[key] = incarnation
        self._listed = sum(1 for incarnation in self._incarnations.values() if incarnation.slots > 0)
        self._rebuild()

    def offer(self, ticket: T, now: float) -> bool:
        """Accept a new request; False: the queue is full and it is refused."""
        if self.queued >= self._limit:
            self.refused += 1
            return False
        self.arrived += 1
        ticket.number = self.arrived
        ticket.arrived_s = now
        ticket.phase = Phase.QUEUED
        self._waiting[ticket] = None
        return True

    def pull(self) -> T | None:
        """The next request for a free slot, now RUNNING on `ticket.incarnation`."""
        if self._retrying_count:
            for group_avoids in sorted(self._retrying, key=self._group_age):
                avoided = group_avoids if self._listed > 1 else None
                incarnation = self._freest(avoided)
                if incarnation is not None:
                    return self._seat(self._take_retry(group_avoids), incarnation)
        if not self._waiting:
            return None
        incarnation = self._freest(None)
        if incarnation is None:
            return None
        return self._seat(self._waiting.popitem(last=False)[0], incarnation)

    def hears(self, ticket: T) -> bool:
        """The replica answers: whatever it failed before is forgotten. True: it takes more requests for that."""
        incarnation = ticket.incarnation
        if incarnation is None or not incarnation.failures:
            return False
        incarnation.failures = 0
        incarnation.rests_until = None
        incarnation.probe = None
        self._resting.discard(incarnation)
        self._enter(incarnation)
        return True

    def give_back(self, ticket: T, fault: Fault, now: float) -> bool:
        """Queue it again before all others. False: it stays RUNNING, and the caller must `finish` it."""
        incarnation = ticket.incarnation
        if ticket.phase is not Phase.RUNNING or incarnation is None:
            raise ValueError("only a running request can be given back")
        match fault:
            case Fault.UNREACHED:
                self._rest(incarnation, now)
                again, avoids = True, None
            case Fault.BROKEN:
                self._rest(incarnation, now)
                again, avoids = not ticket.retried, incarnation
            case Fault.BUSY:
                others = self._listed - (1 if incarnation.slots > 0 else 0)
                again, avoids = not ticket.retried and others > 0, incarnation
            case _:
                assert_never(fault)
        if not again:
            return False
        ticket.retried = ticket.retried or avoids is not None
        self.retries += 1
        self._release(ticket)
        ticket.phase = Phase.QUEUED
        ticket.avoids = avoids
        insort(self._retrying.setdefault(avoids, []), ticket, key=_number)
        self._retrying_count += 1
        return True

    def finish(self, ticket: T, *, answered: bool) -> None:
        """A running request is over."""
        if ticket.phase is not Phase.RUNNING:
            raise ValueError("only a running request can be finished")
        self._release(ticket)
        if answered:
            ticket.phase = Phase.ANSWERED
            self.answered += 1
        else:
            ticket.phase = Phase.FAILED
            self.failed += 1

    def cancel(self, ticket: T) -> None:
        """The client has gone: leave the queue or the slot. One that is over stays as it is."""
        if ticket.phase is Phase.QUEUED:
            self._unqueue(ticket)
        elif ticket.phase is Phase.RUNNING:
            self._release(ticket)
        else:
            return
        ticket.phase = Phase.CANCELLED
        self.cancelled += 1

    def advance(self, now: float) -> list[T]:
        """End the rests that are over, and take out the requests that have waited longer than the route allows."""
        for incarnation in [one for one in self._resting if one.rests_until is not None and one.rests_until <= now]:
            self._resting.discard(incarnation)
            incarnation.rests_until = None
            self._enter(incarnation)
        over: list[T] = []
        born_before = now - self._timeout_s
        for avoids, group in tuple(self._retrying.items()):
            while group and group[0].arrived_s <= born_before:
                over.append(self._take_retry(avoids))
        while self._waiting and next(iter(self._waiting)).arrived_s <= born_before:
            over.append(self._waiting.popitem(last=False)[0])
        for ticket in over:
            ticket.phase = Phase.EXPIRED
        self.expired += len(over)
        return over

    def close(self) -> list[T]:
        """Take out everything queued, as failed; what runs may still be finished."""
        over = [ticket for group in self._retrying.values() for ticket in group] + list(self._waiting)
        self._retrying.clear()
        self._retrying_count = 0
        self._waiting.clear()
        for ticket in over:
            ticket.phase = Phase.FAILED
        self.failed += len(over)
        return over

    def _seat(self, ticket: T, incarnation: Incarnation) -> T:
        ticket.phase = Phase.RUNNING
        ticket.incarnation = incarnation
        ticket.avoids = None
        incarnation.used += 1
        if incarnation.failures:
            incarnation.probe = ticket
        self.running += 1
        self._enter(incarnation)
        return ticket

    def _release(self, ticket: T) -> None:
        """The one place where a slot is given back."""
        incarnation = ticket.incarnation
        assert incarnation is not None
        ticket.incarnation = None
        incarnation.used -= 1
        self.running -= 1
        if incarnation.probe is ticket:
            incarnation.probe = None
        if incarnation.used == 0 and not incarnation.listed:
            self._forget(incarnation)
        else:
            self._enter(incarnation)

    def _forget(self, incarnation: Incarnation) -> None:
        self._incarnations.pop((incarnation.replica, incarnation.address), None)
        self._resting.discard(incarnation)
        incarnation.entry = 0

    def _unqueue(self, ticket: T) -> None:
        if ticket in self._waiting:
            del self._waiting[ticket]
            return
        group = self._retrying[ticket.avoids]
        del group[bisect_left(group, ticket.number, key=_number)]
        self._shrink(ticket.avoids)

    def _take_retry(self, avoids: Incarnation | None) -> T:
        ticket = self._retrying[avoids].pop(0)
        self._shrink(avoids)
        return ticket

    def _shrink(self, avoids: Incarnation | None) -> None:
        self._retrying_count -= 1
        if not self._retrying[avoids]:
            del self._retrying[avoids]

    def _group_age(self, avoids: Incarnation | None) -> int:
        return self._retrying[avoids][0].number

    def _rest(self, incarnation: Incarnation, now: float) -> None:
        """Requests that fail together are one failure."""
        if incarnation.rests_until is not None:
            return
        incarnation.failures += 1
        incarnation.rests_until = now + min(REST_LONGEST_S, REST_FIRST_S * 2 ** min(incarnation.failures - 1, 10))
        self._resting.add(incarnation)
        incarnation.entry = 0

    def _enter(self, incarnation: Incarnation) -> None:
        """Its load has changed: its old entry is void; it gets a new one while it has a free slot."""
        if not incarnation.free:
            incarnation.entry = 0
            return
        self._entries += 1
        incarnation.entry = self._entries
        heappush(self._free, (incarnation.used / incarnation.slots, self._entries, incarnation))
        if len(self._free) > 4 * len(self._incarnations) + _STALE_ENTRIES_SPARE:
            self._rebuild()

    def _rebuild(self) -> None:
        self._free = []
        for incarnation in self._incarnations.values():
            incarnation.entry = 0
            if incarnation.free:
                self._entries += 1
                incarnation.entry = self._entries
                self._free.append((incarnation.used / incarnation.slots, self._entries, incarnation))
        heapify(self._free)

    def _freest(self, avoided: Incarnation | None) -> Incarnation | None:
        """The least loaded replica with a free slot, the one that waited longest among equals."""
        free = self._free
        aside: tuple[float, int, Incarnation] | None = None
        chosen: Incarnation | None = None
        while free:
            entry = free[0]
            incarnation = entry[2]
            if incarnation.entry != entry[1]:
                heappop(free)
            elif incarnation is avoided:
                aside = heappop(free)
            else:
                chosen = incarnation
                break
        if aside is not None:
            heappush(free, aside)
        return chosen


def _number(ticket: Ticket) -> int:
    return ticket.number
