"""The replicas of one Service and who sits where. Slots are taken in `seat`, given back in `release`, nowhere else."""

from collections.abc import Callable
from itertools import islice
from math import inf
from typing import Final

from fleetctl.gateway.scheduler.affinity import (
    HOLDERS_MAX,
    LINKS_PER_REPLICA,
    NO_LINKS,
    Index,
    adapter_worth,
    cached_tokens,
    shared_tokens,
)
from fleetctl.gateway.scheduler.estimates import DrainRate
from fleetctl.gateway.scheduler.replicas import PACE_STEP_S, PROBE_PATIENCE_S, UNPACED, FreeReplicas, Replica
from fleetctl.gateway.scheduler.ticket import RUNNING, Seat, Ticket
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route

UNCACHED_COST: Final = 2.0
"""A token that is computed though another replica has it costs its own request once, and those behind it once more."""


class Seating:
    """Which replica takes what."""

    __slots__ = (
        "_generations", "_paced", "_resting", "drain", "free", "hits", "index", "listed", "misses", "replicas",
        "running", "service", "slots",
    )  # fmt: skip

    def __init__(self, service: ServiceName, generations: Callable[[], int]) -> None:
        self.service = service
        self.replicas: dict[tuple[ReplicaId, str], Replica] = {}
        """In the routes, and those that left and still have requests."""
        self.free = FreeReplicas()
        self.index = Index()
        self.drain = DrainRate()
        self.listed = 0
        """Replicas that take new requests by the newest route."""
        self.slots = 0
        """Theirs together."""
        self.running = 0
        self.hits = 0
        self.misses = 0
        self._generations = generations
        self._resting: dict[Replica, None] = {}
        self._paced: dict[Replica, None] = {}

    def reroute(self, route: Route, now: float, *, slowly: bool) -> None:
        """Running requests keep their slots; a removed replica gets no more. `slowly`: new ones open in steps."""
        wanted = {(upstream.replica, upstream.address): upstream for upstream in route.upstreams}
        for key, replica in tuple(self.replicas.items()):
            if key not in wanted:
                replica.resize(0, 0.0)
                replica.seat.listed = False
                if not replica.used:
                    self._forget(replica)
        for key, upstream in wanted.items():
            known = self.replicas.get(key)
            if known is None:
                seat = Seat(self.service, upstream.replica, upstream.address, self._generations())
                known = self.replicas[key] = Replica(seat)
                if slowly:
                    known.pace = 1
                    known.paced_at = now
                    self._paced[known] = None
            known.seat.listed = True
            known.resize(upstream.slots, upstream.prefill_tokens_per_s)
            self.index.list_adapters(known, upstream.adapters)
            self.free.enter(known)
        self.listed = sum(1 for replica in self.replicas.values() if replica.cap > 0)
        self.slots = sum(replica.cap for replica in self.replicas.values())
        self.index.bound = LINKS_PER_REPLICA * max(1, self.listed)

    def choose(self, ticket: Ticket, least: Replica, *, may_wait: bool) -> Replica:
        """Where it is best computed. One that is not free: it will be so soon that waiting for it is cheaper.

        `least` is free and the least loaded of all.
        """
        links = ticket.links
        adapter = ticket.adapter
        place = len(links)
        while place and not links[place - 1].holders:
            place -= 1
        if not place:
            return least if not adapter else self._least_for_adapter(ticket, least)
        link = links[place - 1]
        if not adapter and link.held_by(least):
            return least
        tokens = shared_tokens(place, ticket.input_tokens)
        if adapter:
            least = self._least_for_adapter(ticket, least)
        best = least
        per_token = UNCACHED_COST * least.prefills.load_per_token
        known = cached_tokens(least, links[:place], ticket)
        best_load = least.load - known * per_token - (adapter_worth(least, adapter) if adapter else 0.0)
        hot = None
        for replica in link.holders:
            if not link.held_by(replica):
                continue
            load = replica.load - (adapter_worth(replica, adapter) if adapter else 0.0)
            if not (replica.used < replica.limit and replica.prefilling < replica.prefills.window):
                if hot is None or load < hot.load:
                    hot = replica
            elif load - tokens * per_token < best_load:
                best, best_load, known = replica, load - tokens * per_token, tokens
        if may_wait and hot is not None and known < tokens:
            rate = least.prefills.rate
            if rate and self._free_in_s(hot, ticket.input_tokens - tokens) < UNCACHED_COST * (tokens - known) / rate:
                return hot
        return best

    def seat(self, ticket: Ticket, replica: Replica, now: float) -> None:
        """Take a slot."""
        replica.granted += 1
        uncached = ticket.input_tokens
        if ticket.links is not NO_LINKS:
            cached = cached_tokens(replica, ticket.links, ticket)
            if cached:
                self.hits += 1
                uncached -= cached
            else:
                self.misses += 1
            self.index.take(replica, ticket)
        elif ticket.adapter:
            self.index.take(replica, ticket)
        ticket.phase = RUNNING
        ticket.replica = replica
        ticket.seat = replica.seat
        ticket.uncached_tokens = uncached
        ticket.granted_s = now
        ticket.heard = False
        ticket.retriable = not ticket.retried and self.listed > (1 if replica.cap else 0)
        if ticket.streams:
            prefilling = replica.prefilling
            ticket.prefilling = uncached
            ticket.alone = not prefilling
            ticket.delivered_before = replica.prefills.delivered
            replica.prefilling = prefilling + uncached
        else:
            ticket.prefilling = 0
        replica.used += 1
        self.running += 1
        if replica.failures:
            replica.trial = ticket
            replica.relimit()

    def heard(self, ticket: Ticket, now: float) -> bool:
        """Its first byte has come. True: its replica may take more for that."""
        ticket.heard = True
        replica = ticket.replica
        opened = False
        tokens = ticket.prefilling
        if tokens:
            prefills = replica.prefills
            replica.prefilling -= tokens
            prefills.delivered += tokens
            delivered = prefills.delivered - ticket.delivered_before
            prefills.learn(delivered, now - ticket.granted_s, alone=ticket.alone, busy=replica.prefilling > 0)
            opened = True
        if ticket.adapter and ticket.adapter in replica.adapters:
            replica.adapters[ticket.adapter] = True
        if replica.failures:
            replica.recover()
            self._resting.pop(replica, None)
            opened = True
        if replica.pace < UNPACED:
            self._hasten(replica, 1)
            opened = True
        return opened

    def release(self, ticket: Ticket) -> None:
        """Give its slot back."""
        replica = ticket.replica
        ticket.seat = None
        replica.used -= 1
        self.running -= 1
        if not ticket.heard:
            replica.prefilling -= ticket.prefilling
        if replica.failures:
            if replica.trial is ticket:
                replica.trial = None
            replica.relimit()
        if not replica.used and not replica.seat.listed:
            self._forget(replica)

    def rest(self, replica: Replica, now: float) -> None:
        """It has failed."""
        if replica.rest(now):
            self._resting[replica] = None
            self.free.leave(replica)

    def advance(self, now: float) -> list[Seat]:
        """Open what was paced; the Seats to probe: their rest is over, or nothing was heard of the probe before."""
        for replica in tuple(self._paced):
            if now - replica.paced_at >= PACE_STEP_S:
                replica.paced_at = now
                self._hasten(replica, replica.pace)
        due = []
        for replica in self._resting:
            if replica.rests_until is not None:
                if replica.rests_until > now:
                    continue
                replica.rests_until = None
            elif replica.probing_since is None or now - replica.probing_since < PROBE_PATIENCE_S:
                continue
            replica.probing_since = now
            replica.relimit()
            due.append(replica.seat)
        return due

    def probed(self, seat: Seat, now: float, *, well: bool) -> bool:
        """True: it is tried with a request now."""
        replica = self.replicas.get((seat.replica, seat.address))
        if replica is None or replica.seat.generation != seat.generation or replica.probing_since is None:
            return False
        if not well:
            self.rest(replica, now)
            return False
        replica.probing_since = None
        self._resting.pop(replica, None)
        replica.relimit()
        self.free.enter(replica)
        return True

    def _least_for_adapter(self, ticket: Ticket, least: Replica) -> Replica:
        """The least loaded that has the adapter, if that is worth the load; a look at a few is enough."""
        adapter = ticket.adapter
        if least.adapters.get(adapter):
            return least
        best, best_load = least, least.load - adapter_worth(least, adapter)
        for replica in islice(self.index.adapters.get(adapter, ()), HOLDERS_MAX):
            if replica.free and replica.seat is not ticket.avoids:
                load = replica.load - adapter_worth(replica, adapter)
                if load < best_load:
                    best, best_load = replica, load
        return best

    def _free_in_s(self, hot: Replica, tokens: int) -> float:
        """When a replica that is not free will probably be, for one more than those that wait for it already."""
        if hot.used >= hot.limit:
            if not hot.limit or not self.drain.per_slot:
                return inf
            return (1 + hot.awaited) / (self.drain.per_slot * hot.limit)
        if not hot.prefills.rate:
            return inf
        return (hot.prefilling - hot.prefills.window + hot.awaited * tokens) / hot.prefills.rate

    def _hasten(self, replica: Replica, by: int) -> None:
        replica.pace += by
        if replica.pace >= replica.cap:
            replica.pace = UNPACED
            self._paced.pop(replica, None)
        replica.relimit()
        self.free.enter(replica)

    def _forget(self, replica: Replica) -> None:
        self.replicas.pop((replica.seat.replica, replica.seat.address), None)
        self._resting.pop(replica, None)
        self._paced.pop(replica, None)
        self.free.leave(replica)
        self.index.forget(replica)
