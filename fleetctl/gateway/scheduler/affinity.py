"""Which replica has seen a prompt's beginning, or has an adapter loaded, by what the arbiter itself granted.

A Link is one of the ticket's chained hashes; the longest that a replica was given is what it need not compute again.
The first of a chain (64 tokens) is too little to be worth an unequal load and is not looked at.

Nobody tells how much an engine keeps. So a link has one home, the replica that was given it last, and other holders
only while they are given it often: what was among a replica's last requests is surely kept, and what is rare is not
spread over all memories, where it would push out something else. Engines with little memory then hit as often as those
that a consistent hash sends to, and the choice stays free.
"""

from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final

from fleetctl.gateway.scheduler.ticket import Band, Ticket

if TYPE_CHECKING:
    from fleetctl.gateway.scheduler.replicas import Replica

LINK_TOKENS: Final = (64, 256, 1024, 4096)
"""About what each link of a chain covers: 256 B, 1 kB, 4 kB and 16 kB, at four bytes a token."""
LINKS_PER_REPLICA: Final = 512
"""Links remembered for each replica of a Service; more prompts than an engine keeps in its memory."""
HOLDERS_MAX: Final = 4
"""Replicas remembered per link, those that were given it last. Enough for the busiest prompts, and a small choice."""
RECENT_GRANTS: Final = 64
"""A link that was among so many last requests of a replica is taken to be in its memory still."""
ADAPTERS_MAX: Final = 8
"""Adapters that a replica is taken to have room for; beyond, the one used longest ago is taken to be gone."""
ADAPTER_LOADED: Final = 1.0
ADAPTER_ROOM: Final = 0.8
ADAPTER_LOADING: Final = 0.6
"""What a replica is worth to a request for an adapter (llm-d's weights); 0 where another adapter must go first."""
_STALE_WANTS_MAX: Final = 1024
"""Entries in the heap of what a replica could continue, before those that are out of date are thrown out."""

NO_LINKS: "Final[tuple[Link, ...]]" = ()


class Link:
    """One beginning of prompts: who has it, and who waits that begins with it."""

    __slots__ = ("holders", "home", "key", "waiting")

    def __init__(self, key: int) -> None:
        self.key = key
        self.holders: dict[Replica, int] = {}
        """With the number of the replica's last request that had it; the home last."""
        self.home: Replica | None = None
        """The replica that was given it last."""
        self.waiting: list[OrderedDict[Ticket, None] | None] = [None, None, None]
        """By band, oldest first: tickets of which this is the longest link that anybody knew when they came."""

    def held_by(self, replica: "Replica") -> bool:
        if self.home is replica:
            return True
        number = self.holders.get(replica)
        return number is not None and replica.granted - number <= RECENT_GRANTS

    def first(self, band: int) -> Ticket | None:
        waiting = self.waiting[band]
        return next(iter(waiting)) if waiting else None

    def leave(self, ticket: Ticket) -> None:
        waiting = self.waiting[ticket.band]
        assert waiting is not None
        del waiting[ticket]
        if not waiting:
            self.waiting[ticket.band] = None


class Wants:
    """What a replica could continue: heaps by band of links that it was given, by the number of their oldest ticket."""

    __slots__ = ("heaps",)

    def __init__(self) -> None:
        self.heaps: tuple[list[tuple[int, Link]], ...] = tuple([] for _ in Band)

    def add(self, link: Link, band: int, replica: "Replica") -> None:
        ticket = link.first(band)
        if ticket is None:
            return
        heap = self.heaps[band]
        heappush(heap, (ticket.number, link))
        if len(heap) > _STALE_WANTS_MAX:
            alive = {entry[1]: entry for entry in heap if entry[1].waiting[band] and entry[1].held_by(replica)}
            heap[:] = alive.values()
            heapify(heap)

    def first(self, band: int, replica: "Replica") -> Ticket | None:
        """The oldest ticket that begins with something that the replica was given."""
        heap = self.heaps[band]
        while heap:
            number, link = heap[0]
            waiting = link.waiting[band]
            if not waiting or (link.home is not replica and not link.held_by(replica)):
                heappop(heap)
                continue
            ticket = next(iter(waiting))
            if ticket.number == number:
                return ticket
            heapreplace(heap, (ticket.number, link))
        return None


class Index:
    """The links and adapters of one Service."""

    __slots__ = ("adapters", "bound", "links")

    def __init__(self) -> None:
        self.links: OrderedDict[int, Link] = OrderedDict()
        """The one used longest ago first."""
        self.bound = LINKS_PER_REPLICA
        self.adapters: dict[str, dict[Replica, None]] = {}

    def known(self, prefix: tuple[int, ...]) -> tuple[Link, ...]:
        """The links of a chain that somebody has used, shortest first; nothing is remembered for asking."""
        links = self.links
        found = NO_LINKS
        for key in prefix[1:]:
            link = links.get(key)
            if link is None:
                return found
            found += (link,)
        return found

    def of(self, prefix: tuple[int, ...]) -> tuple[Link, ...]:
        """The links of a chain, shortest first, the latest used from now on."""
        links = self.links
        found = NO_LINKS
        for key in prefix[1:]:
            link = links.get(key)
            if link is None:
                link = links[key] = Link(key)
                if len(links) > self.bound:
                    links.popitem(last=False)
            else:
                links.move_to_end(key)
            found += (link,)
        return found

    def join(self, ticket: Ticket) -> Link:
        """Put one that waits to those that begin alike, by the longest link that somebody has or waits for."""
        band = ticket.band
        links = ticket.links
        chosen = links[-1]
        for link in reversed(links):
            if link.holders or link.waiting[band]:
                chosen = link
                break
        waiting = chosen.waiting[band]
        if waiting is None:
            waiting = chosen.waiting[band] = OrderedDict()
            waiting[ticket] = None
            for replica in chosen.holders:
                if chosen.home is replica or chosen.held_by(replica):
                    replica.wants.add(chosen, band, replica)
        else:
            waiting[ticket] = None
        return chosen

    def take(self, replica: "Replica", ticket: Ticket) -> None:
        """The replica is given the ticket: it is the home of its links, and others are forgotten that had them once."""
        number = replica.granted
        for link in ticket.links:
            holders = link.holders
            if link.home is replica:
                holders[replica] = number
                continue
            link.home = replica
            last = holders.pop(replica, None)
            if last is None or number - last > RECENT_GRANTS:
                for other, before in tuple(holders.items()):
                    if other.granted - before > RECENT_GRANTS or len(holders) >= HOLDERS_MAX:
                        del holders[other]
                holders[replica] = number
                high, normal, low = link.waiting
                if high:
                    replica.wants.add(link, Band.HIGH, replica)
                if normal:
                    replica.wants.add(link, Band.NORMAL, replica)
                if low:
                    replica.wants.add(link, Band.LOW, replica)
            else:
                holders[replica] = number
        adapter = ticket.adapter
        if adapter:
            held = replica.adapters
            if adapter in held:
                held.move_to_end(adapter)
            else:
                held[adapter] = False
                self.adapters.setdefault(adapter, {})[replica] = None
                if len(held) > ADAPTERS_MAX:
                    self._unload(replica, held.popitem(last=False)[0])

    def list_adapters(self, replica: "Replica", adapters: tuple[str, ...]) -> None:
        """It says itself that it has them."""
        for adapter in adapters:
            replica.adapters[adapter] = True
            self.adapters.setdefault(adapter, {})[replica] = None

    def forget(self, replica: "Replica") -> None:
        """It has gone. O(links): once in a replica's life."""
        for link in self.links.values():
            link.holders.pop(replica, None)
            if link.home is replica:
                link.home = next(reversed(link.holders), None)
        for adapter in replica.adapters:
            self._unload(replica, adapter)

    def _unload(self, replica: "Replica", adapter: str) -> None:
        holders = self.adapters.get(adapter)
        if holders is not None:
            holders.pop(replica, None)
            if not holders:
                del self.adapters[adapter]


def shared_tokens(place: int, input_tokens: int) -> int:
    """What a prompt probably shares with another of which the link at `place` is the longest they share.

    They part somewhere before the next link or the prompt's end: half of the way.
    """
    covered = LINK_TOKENS[place]
    if covered >= input_tokens:
        return input_tokens - 1
    next_link = 4 * covered
    return (covered + (next_link if next_link < input_tokens else input_tokens)) // 2


def cached_tokens(replica: "Replica", links: tuple[Link, ...], ticket: Ticket) -> int:
    """Of the ticket's prompt, what the replica probably has in its memory."""
    place = len(links)
    while place:
        link = links[place - 1]
        if link.home is replica or link.held_by(replica):
            return shared_tokens(place, ticket.input_tokens)
        place -= 1
    return 0


def adapter_worth(replica: "Replica", adapter: str) -> float:
    """From 0 to 1: how soon the replica could answer for the adapter."""
    loaded = replica.adapters.get(adapter)
    if loaded is not None:
        return ADAPTER_LOADED if loaded else ADAPTER_LOADING
    return ADAPTER_ROOM if len(replica.adapters) < ADAPTERS_MAX else 0.0
