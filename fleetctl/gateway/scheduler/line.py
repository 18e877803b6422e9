"""The one queue of a Service: who is served next, where, and who is told that it is too late.

The Bearer is called when all is consistent, and may call back at once: what it frees is then given out by the call
that is giving out already.
"""

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from fleetctl.gateway.arbitration import Bearer
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler import shedding
from fleetctl.gateway.scheduler.affinity import NO_LINKS
from fleetctl.gateway.scheduler.estimates import OUTPUT_SHARE, OUTPUT_TOKENS_AT_FIRST
from fleetctl.gateway.scheduler.fairness import INPUT_WEIGHT, LEAD_TOKENS, OUTPUT_WEIGHT, Lane, Share
from fleetctl.gateway.scheduler.quotas import Quotas
from fleetctl.gateway.scheduler.replicas import Replica
from fleetctl.gateway.scheduler.seating import Seating
from fleetctl.gateway.scheduler.ticket import ANSWERED, RUNNING, Fault, Phase, Seat, Ticket
from fleetctl.gateway.scheduler.waiting import Waiting
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route

SLACK_S: Final = 0.1
"""A ticket this close to its deadline is not passed over any more."""
PATIENCE_S: Final = 0.25
"""None waits longer than this, while others are served, for the one replica that could continue it: as long as a cold
prompt of 2,000 tokens takes."""


class Line:
    """What waits and what runs of one Service."""

    def __init__(
        self,
        service: ServiceName,
        bearer: Bearer[Ticket],
        quotas: Quotas,
        weights: Mapping[str, float],
        generations: Callable[[], int],
    ) -> None:
        self.service = service
        self.waiting = Waiting()
        self.seating = Seating(service, generations)
        self.leaving = False
        self.arrived = self.granted = self.retried = 0
        self.answered = self.failed = self.expired = self.cancelled = self.shed = 0
        self.refused = 0
        self.sheds: dict[str, int] = {}
        self._bearer = bearer
        self._quotas = quotas
        self._weights = weights
        self._route = Route(service=service, models=(), upstreams=())
        self._output_tokens = OUTPUT_TOKENS_AT_FIRST
        self._late: list[Ticket] = []
        """Found to be too late while slots were given out; told before more are."""
        self._passed_s = -shedding.PASSING_S
        """When one was last passed over."""
        self._pumping = False

    # what the host says

    def reroute(self, route: Route, now: float) -> None:
        """Take the newest view."""
        self._route = route
        were_listed = self.seating.listed
        self.seating.reroute(route, now, slowly=not were_listed and self.waiting.count > 0)
        if were_listed and not self.seating.listed:
            self.waiting.extend(route.cold_timeout_s)  # what waits now waits for a cold start, like what comes next
        self.pump(now)

    def reweigh(self) -> None:
        """The tenants have changed: take their weights, and forget those that are gone."""
        for lane in self.waiting.lanes:
            for tenant, share in tuple(lane.shares.items()):
                if tenant and tenant not in self._weights and not share.waiting and not share.running:
                    del lane.shares[tenant]
                else:
                    lane.reweigh(share, self._weights.get(tenant, 1.0))

    def advance(self, now: float) -> None:
        """End the rests that are over, open slots that were paced, refuse those that have waited too long."""
        seating, waiting = self.seating, self.waiting
        for seat in seating.advance(now):
            self._bearer.probe(seat)
        seating.drain.look(self.granted, seating.slots, now, backlogged=waiting.count > 0)
        while (ticket := waiting.late(now)) is not None:
            self._expire(ticket, now)
            self._tell_late(now)
        self.pump(now)

    def dismiss(self, refusal: Refusal, now: float) -> None:
        """Refuse all that is queued."""
        for ticket in tuple(self.waiting):
            if ticket.phase is Phase.QUEUED:
                self._shed(ticket, refusal, now)

    def probed(self, seat: Seat, now: float, *, well: bool) -> None:
        if self.seating.probed(seat, now, well=well):
            self.pump(now)

    # what the data plane says

    def ask(self, ticket: Ticket, now: float) -> None:
        waiting, seating, route = self.waiting, self.seating, self._route
        budget_s = route.queue_timeout_s
        if not seating.listed:
            budget_s = route.cold_timeout_s
            if not self.leaving:
                self._bearer.starved(self.service)
        patience_s = ticket.patience_s
        if patience_s is not None and patience_s < budget_s:
            budget_s = patience_s
        lane = waiting.lanes[ticket.band]
        share = lane.shares.get(ticket.tenant)
        if share is None:
            weight = self._weights.get(ticket.tenant, 1.0)
            share = lane.shares[ticket.tenant] = Share(lane, ticket.tenant, weight)
        least = None
        if not waiting.count and not self._pumping:
            least = seating.free.least()
        refusal = self._overload(ticket, lane, share, budget_s, now) if least is None else None
        if refusal is None:
            refusal = self._quotas.admit(ticket, now)
        if refusal is not None:
            ticket.phase = Phase.REFUSED
            self.refused += 1
            self.sheds[refusal.code] = self.sheds.get(refusal.code, 0) + 1
            self._bearer.refused(ticket, refusal)
            return
        self.arrived += 1
        ticket.number = self.arrived
        ticket.arrived_s = now
        ticket.deadline_s = now + budget_s
        ticket.share = share
        ticket.link = None
        ticket.overdue_s = 0.0
        ticket.again = False
        ticket.links = seating.index.of(ticket.prefix) if len(ticket.prefix) > 1 else NO_LINKS
        if least is not None:
            if seating.listed > 1 and (ticket.links is not NO_LINKS or ticket.adapter):
                may_wait = budget_s > 2 * PATIENCE_S and waiting.fits(
                    ticket, route.queue_limit, route.queue_limit_bytes
                )
                least = seating.choose(ticket, least, may_wait=may_wait)
            if least.used < least.limit and least.prefilling < least.prefills.window:
                lane.turn(share)
                self._seat(ticket, least, now)
                self._pumping = True
                try:
                    self._bearer.granted(ticket)
                finally:
                    self._pumping = False
                if waiting.count:
                    self.pump(now)
                return
        if waiting.count >= route.queue_limit or waiting.size_bytes + ticket.size_bytes > route.queue_limit_bytes:
            self._make_room(ticket, now)
        waiting.add(ticket)
        if ticket.links is not NO_LINKS:
            ticket.link = seating.index.join(ticket)
        if seating.free.heap:
            self.pump(now)

    def hears(self, ticket: Ticket, now: float) -> None:
        if ticket.phase is RUNNING and not ticket.heard and self.seating.heard(ticket, now):
            replica = ticket.replica
            if replica.used < replica.limit and replica.prefilling < replica.prefills.window:
                self.pump(now, replica)

    def give_back(self, ticket: Ticket, fault: Fault, now: float) -> None:
        replica = ticket.replica
        match fault:
            case Fault.UNREACHED:
                avoids = None
                self.seating.rest(replica, now)
            case Fault.BROKEN | Fault.BUSY:
                if not ticket.retriable:
                    raise ValueError("a request that is not retriable can only be finished")
                avoids = replica.seat
                ticket.retried = True
                if fault is Fault.BROKEN:
                    self.seating.rest(replica, now)
            case _:
                assert_never(fault)
        share = ticket.share
        share.lane.settle(share, -ticket.charge)
        share.running -= 1
        self._quotas.returned(ticket, now)
        self.seating.release(ticket)
        self.retried += 1
        ticket.avoids = avoids
        ticket.again = True
        ticket.link = None
        self.waiting.add(ticket)
        if self.leaving:  # nobody will ever take it
            self._shed(ticket, shedding.removed(self.service), now)
        self.pump(now, replica)

    def finish(self, ticket: Ticket, now: float, answered: bool, input_tokens: int, output_tokens: int) -> None:
        replica, share = ticket.replica, ticket.share
        if answered:
            if not ticket.heard:  # an answer in one piece
                self.seating.heard(ticket, now)
            ticket.phase = ANSWERED
            self.answered += 1
        else:
            ticket.phase = Phase.FAILED
            self.failed += 1
            if not ticket.heard:
                self.seating.rest(replica, now)
        share.running -= 1
        self.seating.release(ticket)
        if output_tokens:
            self._output_tokens += OUTPUT_SHARE * (output_tokens - self._output_tokens)
        if input_tokens or output_tokens:
            computed = input_tokens - (ticket.input_tokens - ticket.uncached_tokens)
            cost = ((computed if computed > 0 else 0) * INPUT_WEIGHT + output_tokens * OUTPUT_WEIGHT) / share.weight
            share.lane.settle(share, cost - ticket.charge)
        self._quotas.ended(ticket, now, input_tokens, output_tokens, answered=answered)
        if self.waiting.count:
            self.pump(now, replica)
        else:
            self.seating.free.enter(replica)

    def cancel(self, ticket: Ticket, now: float) -> None:
        self.cancelled += 1
        if ticket.phase is Phase.QUEUED:
            self.waiting.remove(ticket)
            ticket.phase = Phase.CANCELLED
            self._quotas.ended(ticket, now)
            return
        ticket.phase = Phase.CANCELLED
        ticket.share.running -= 1
        self.seating.release(ticket)
        self._quotas.ended(ticket, now)
        self.pump(now, ticket.replica)

    # giving slots out

    def pump(self, now: float, freed: Replica | None = None) -> None:
        """Give free slots to those that wait until one of the two runs out. `freed`: where one may have come free."""
        waiting, free = self.waiting, self.seating.free
        if self._pumping or not waiting.count:
            if freed is not None:
                free.enter(freed)
            return
        alone = freed is not None and not free.heap and not waiting.retries.count
        if freed is not None and not alone:
            free.enter(freed)
        self._pumping = True
        try:
            while waiting.count:
                ticket = None
                if freed is not None:
                    if freed.used < freed.limit and freed.prefilling < freed.prefills.window:
                        ticket = self._pick(freed, now, wanted_only=not alone)
                    else:
                        freed = None
                if ticket is None and (freed is None or not alone):
                    freed = None
                    least = free.least() if free.heap else None
                    if least is not None:
                        ticket = self._pick(least, now)
                if ticket is not None:
                    self._bearer.granted(ticket)
                elif not self._late:
                    break
                if self._late:
                    self._tell_late(now)
        finally:
            self._pumping = False
            if freed is not None:
                free.enter(freed)

    def _pick(self, least: Replica, now: float, *, wanted_only: bool = False) -> Ticket | None:
        """The next ticket that can have a slot, now holding it: of `least`, which is free, or of one that suits better.

        None: what waits waits for something else. `wanted_only`: only what wants this very replica.
        """
        waiting = self.waiting
        if waiting.retries.count:
            if wanted_only:
                return None
            ticket = self._pick_again(now)
            if ticket is not None:
                return ticket
        for lane in waiting.lanes:
            if not lane.order:
                continue
            if lane.patient:
                lane.call_back(now)
            while True:
                share = lane.head()
                head = None if share is None else next(iter(share.tickets))
                if head is not None and head.deadline_s <= now:
                    self._expire(head, now)
                    continue
                wanted = None
                if least.wants.heaps[lane.band]:
                    wanted = least.wants.first(lane.band, least)
                    if wanted is not None and wanted is not head and _may_pass(wanted, head, now):
                        if head is not None:
                            self._passed_s = now
                        return self._take(wanted, least, now)
                if share is None or head is None:
                    break
                if wanted_only and wanted is not head:
                    return None
                replica = least
                if head.links is not NO_LINKS or head.adapter:
                    may_wait = not head.overdue_s and head.deadline_s - now > 2 * PATIENCE_S
                    replica = self.seating.choose(head, least, may_wait=may_wait)
                    if replica is not least and not replica.free:
                        lane.set_apart(head, replica, now + PATIENCE_S)
                        continue
                lane.turn(share)
                return self._take(head, replica, now)
        return None

    def _pick_again(self, now: float) -> Ticket | None:
        for ticket in self.waiting.retries.heads():
            if ticket.deadline_s <= now:
                self._expire(ticket, now)
                return None
            replica = self.seating.free.least(ticket.avoids if self.seating.listed > 1 else None)
            if replica is not None:
                return self._take(ticket, replica, now)
        return None

    def _take(self, ticket: Ticket, replica: Replica, now: float) -> Ticket:
        waiting = self.waiting
        if ticket.again:
            waiting.remove(ticket)
        else:  # the same without a detour: every request that waited comes through here
            waiting.count -= 1
            waiting.size_bytes -= ticket.size_bytes
            ticket.share.lane.remove(ticket)
        self._seat(ticket, replica, now)
        return ticket

    def _seat(self, ticket: Ticket, replica: Replica, now: float) -> None:
        self.seating.seat(ticket, replica, now)
        self.granted += 1
        output = self._output_tokens
        if 0 < ticket.output_tokens < output:
            output = float(ticket.output_tokens)
        share = ticket.share
        charge = (ticket.uncached_tokens * INPUT_WEIGHT + output * OUTPUT_WEIGHT) / share.weight
        share.clock += charge
        share.running += 1
        ticket.charge = charge
        self._quotas.dispatched(ticket, now)

    # refusing

    def wait_s(self, lane: Lane, share: Share | None) -> float:
        """How long one more of this tenant and band will probably wait; 0: it is not known."""
        drain = self.seating.drain.per_slot * self.seating.slots
        if drain <= 0:
            return 0.0
        ahead = self.waiting.retries.count + 1
        for earlier in self.waiting.lanes[: lane.band]:
            ahead += len(earlier.order)
        same = len(lane.order)
        if share is None or not same:
            return (ahead + same) / drain
        weight = lane.weight_waiting if share.waiting else lane.weight_waiting + share.weight
        return (ahead + min(same, share.waiting * weight / share.weight)) / drain

    def _overload(self, ticket: Ticket, lane: Lane, share: Share, budget_s: float, now: float) -> Refusal | None:
        """Why it is better refused than queued; nothing is changed."""
        route, waiting = self._route, self.waiting
        if self.leaving:
            return shedding.removed(self.service)
        limit, limit_bytes = route.queue_limit, route.queue_limit_bytes
        full = waiting.count >= limit or waiting.size_bytes + ticket.size_bytes > limit_bytes
        if full and not waiting.displaceable(ticket, limit, limit_bytes):
            return shedding.queue_full(self.service, self.wait_s(lane, share))
        seating = self.seating
        drain = seating.drain.per_slot * seating.slots
        if route.shed and drain > 0 and (waiting.count + 1) * shedding.PASSED_OVER_COLD > drain * budget_s:
            estimate_s = self.wait_s(lane, share)
            if now - self._passed_s < shedding.PASSING_S:
                known = seating.index.known(ticket.prefix) if len(ticket.prefix) > 1 else NO_LINKS
                estimate_s *= shedding.PASSED_OVER if known and known[-1].holders else shedding.PASSED_OVER_COLD
            if estimate_s > budget_s:
                return shedding.overloaded(self.service, estimate_s, budget_s)
        return None

    def _make_room(self, ticket: Ticket, now: float) -> None:
        """Displace the youngest of the latest band, as many as it takes."""
        route, waiting = self._route, self.waiting
        while not waiting.fits(ticket, route.queue_limit, route.queue_limit_bytes):
            youngest = waiting.youngest_after(ticket.band)
            if youngest is None:
                return
            wait_s = self.wait_s(youngest.share.lane, youngest.share)
            self._shed(youngest, shedding.displaced(self.service, wait_s), now)

    def _expire(self, ticket: Ticket, now: float) -> None:
        """It leaves the queue; its client is told a moment later, by `_tell_late`."""
        self.waiting.remove(ticket)
        ticket.phase = Phase.REFUSED
        self.expired += 1
        self.sheds["queue_timeout"] = self.sheds.get("queue_timeout", 0) + 1
        self._quotas.ended(ticket, now)
        self._late.append(ticket)

    def _tell_late(self, now: float) -> None:
        while self._late:
            ticket = self._late.pop()
            self._bearer.refused(ticket, shedding.waited_too_long(self.service, now - ticket.arrived_s))

    def _shed(self, ticket: Ticket, refusal: Refusal, now: float) -> None:
        self.waiting.remove(ticket)
        ticket.phase = Phase.REFUSED
        self.shed += 1
        self.sheds[refusal.code] = self.sheds.get(refusal.code, 0) + 1
        self._quotas.ended(ticket, now)
        self._bearer.refused(ticket, refusal)


def _may_pass(wanted: Ticket, head: Ticket | None, now: float) -> bool:
    """Whether one that a replica could continue is served before the one whose turn it is."""
    if wanted.deadline_s <= now:
        return False
    if head is None:
        return True
    return head.deadline_s - now > SLACK_S and wanted.share.clock <= head.share.clock + LEAD_TOKENS
