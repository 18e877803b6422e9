"""The replicas of one Service as the arbiter sees them: how much each may take, and which has the most room.

A replica takes a request while it runs fewer than its slots *and* the prompts it is still computing are less than its
window (`estimates.PrefillRate`). An idle replica always takes one, whatever its size. A replica that failed rests, is
probed, and is then tried with one request at a time until one of them is answered.
"""

from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from fleetctl.gateway.limits import REST_FIRST_S, REST_LONGEST_S
from fleetctl.gateway.scheduler.affinity import Wants
from fleetctl.gateway.scheduler.estimates import PrefillRate
from fleetctl.gateway.scheduler.ticket import Seat, Ticket

PROBE_PATIENCE_S: Final = 10.0
"""A probe of which nothing is heard is asked for again; well above any connect time-out."""
PACE_STEP_S: Final = 0.25
"""A replica that begins from zero takes one more for each first byte, and twice as many after each step of this: 256
slots are open after two seconds even if nothing was answered by then."""
UNPACED: Final = 1 << 30
_STALE_ENTRIES_SPARE: Final = 64
"""Outdated entries kept in the heap before it is rebuilt; spares small fleets the rebuilding."""
_LOAD_EPSILON: Final = 1e-9
"""Loads are sums of fractions; smaller differences are no differences."""


class Replica:
    """One Seat, what it runs, and what is known of it."""

    __slots__ = (
        "adapters", "awaited", "cap", "entry", "entry_load", "failures", "granted", "limit", "load_per_slot", "pace",
        "paced_at", "prefilling", "prefills", "probing_since", "rests_until", "seat", "trial", "used", "wants",
    )  # fmt: skip

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.used = 0
        """Slots taken."""
        self.cap = 0
        """Its slots by the newest route; 0: draining, or gone."""
        self.limit = 0
        """Slots that may be taken now: `cap`, less for one that rests, is tried, or begins slowly."""
        self.load_per_slot = 1.0
        self.pace = UNPACED
        self.paced_at = 0.0
        self.granted = 0
        """Requests it was given in all."""
        self.prefilling = 0
        """Tokens of prompts that it has not computed yet."""
        self.prefills = PrefillRate()
        self.adapters: OrderedDict[str, bool] = OrderedDict()
        """The one used last at the end. False: it is being loaded."""
        self.wants = Wants()
        self.awaited = 0
        """Tickets that were set apart to wait for it."""
        self.failures = 0
        """In a row; not 0 means that it is tried with one new request at a time, the trial."""
        self.trial: Ticket | None = None
        self.rests_until: float | None = None
        self.probing_since: float | None = None
        self.entry = 0
        """The number of its valid entry in the heap of free replicas; 0: it has none."""
        self.entry_load = 0.0

    @property
    def free(self) -> bool:
        return self.used < self.limit and self.prefilling < self.prefills.window

    @property
    def load(self) -> float:
        """Share of its slots plus share of its prefill window: what one more request would come behind."""
        return self.used * self.load_per_slot + self.prefilling * self.prefills.load_per_token

    def resize(self, slots: int, prefill_tokens_per_s: float) -> None:
        self.cap = slots
        self.load_per_slot = 1.0 / slots if slots else 1.0
        self.prefills.configure(prefill_tokens_per_s)
        self.relimit()

    def relimit(self) -> None:
        """Say anew how many slots may be taken; after any change of what that depends on."""
        if not self.failures:
            self.limit = min(self.cap, self.pace)
        elif self.rests_until is not None or self.probing_since is not None or self.trial is not None:
            self.limit = 0
        else:
            self.limit = min(self.cap, self.used + 1)

    def rest(self, now: float) -> bool:
        """It failed. Requests that fail together are one failure. False: it rests already."""
        if self.rests_until is not None:
            return False
        self.failures += 1
        self.rests_until = now + min(REST_LONGEST_S, REST_FIRST_S * 2 ** min(self.failures - 1, 10))
        self.probing_since = None
        self.relimit()
        return True

    def recover(self) -> None:
        """It answers: what it failed before is forgotten."""
        self.failures = 0
        self.rests_until = None
        self.probing_since = None
        self.trial = None
        self.relimit()


class FreeReplicas:
    """Those that can take a request, the least loaded first. Entries may be out of date in the cheap direction: loads
    that grew are corrected when they come to the top, so that giving a request out costs the heap nothing."""

    __slots__ = ("_entries", "_numbers", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Replica]] = []
        """Empty: none is free. Not empty: one may be."""
        self._numbers = 0
        self._entries = 0
        """Replicas in it, with an entry that is valid."""

    def enter(self, replica: Replica) -> None:
        """It may have become free, or freer."""
        if not (replica.used < replica.limit and replica.prefilling < replica.prefills.window):
            return
        load = replica.used * replica.load_per_slot + replica.prefilling * replica.prefills.load_per_token
        if replica.entry:
            if replica.entry_load <= load + _LOAD_EPSILON:
                return
        else:
            self._entries += 1
        self._numbers += 1
        replica.entry = self._numbers
        replica.entry_load = load
        heap = self.heap
        heappush(heap, (load, self._numbers, replica))
        if len(heap) > 4 * self._entries + _STALE_ENTRIES_SPARE:
            self.heap = [entry for entry in heap if entry[2].entry == entry[1]]
            heapify(self.heap)

    def leave(self, replica: Replica) -> None:
        if replica.entry:
            replica.entry = 0
            self._entries -= 1

    def least(self, avoids: Seat | None = None) -> Replica | None:
        """The least loaded; None: none is free."""
        heap = self.heap
        while heap:
            load, number, replica = heap[0]
            if replica.entry != number:
                heappop(heap)
                continue
            if replica.used >= replica.limit or replica.prefilling >= replica.prefills.window:
                heappop(heap)
                self.leave(replica)
                continue
            if len(heap) == 1 and avoids is None:
                return replica  # no other to be less loaded
            now = replica.used * replica.load_per_slot + replica.prefilling * replica.prefills.load_per_token
            if now > load + _LOAD_EPSILON:
                replica.entry_load = now
                heapreplace(heap, (now, number, replica))
                continue
            if replica.seat is not avoids:
                return replica
            self.leave(heappop(heap)[2])
            other = self.least()
            self.enter(replica)
            return other
        return None
