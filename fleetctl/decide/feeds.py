"""Who follows whom when several Nodes need the same Artifact: chains, so that it leaves its origin once a zone.

In a chain each Node passes on every chunk that it has verified, so the last one has all hardly later than the first.
What the Nodes report of themselves is all that is known from one tick to the next: whom each follows now, what it has
and how fast that grows. The order is kept as long as nothing is wrong with it. A Node that cannot be asked is out; one
that stands still or is much slower than the one before it goes to the end, and whoever followed it follows the one
before it instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed, Peer

ANCESTORS = 3
"""Of those before it in its chain, each Node knows so many, and the first: two neighbours seldom die at once, and every
one more is one more to tell of each change."""

SLOW_SHARE = 0.7
"""Of the rate of the Node before it. Links of one kind differ by a tenth; half the rate is another kind of trouble, and
halves the rate of all behind it."""

SLOW_LAG_S = 0.3
"""A slow Node is so much behind, at the rate of the one before it: a rate alone may be a moment's."""

LAG_SHARE = 0.005
"""Of the Artifact: a Node that stands still with less than this to fetch from the one before it stands still because
that one does. Some chunks are always on their way."""

_ORIGINS = frozenset(("hf", "s3", "gs", "az", "http", "https"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A Node that shall hold the Artifact, and answers."""

    instance: InstanceId
    zone: str
    """Chains do not leave it: traffic between zones is slow and costs money."""
    address: str
    """Where others fetch from it."""
    status: ArtifactStatus | None = None
    """Of the Artifact there; None: not begun."""

    @property
    def peer(self) -> Peer:
        return Peer(instance=self.instance, address=self.address)

    @property
    def holds(self) -> bool:
        return self.status is not None and self.status.state is ArtifactState.PRESENT

    @property
    def fetches(self) -> bool:
        return self.status is not None and self.status.state is ArtifactState.FETCHING

    @property
    def done(self) -> int:
        return (self.status.bytes_done or 0) if self.status is not None else 0

    @property
    def rate(self) -> float | None:
        return self.status.rate if self.status is not None else None


def travels(artifact: Artifact) -> bool:
    """Whether Nodes can give it to each other; what lies on a Node already, or is rehearsed, does not travel."""
    if artifact.kind != "weights":
        return True
    scheme, found, _ = artifact.name.partition("://")
    return bool(found) and scheme in _ORIGINS


def feeds(artifact: Artifact, members: Iterable[Member]) -> dict[InstanceId, Feed]:
    """Whom each Node that lacks the Artifact follows; empty where nobody lacks it, or nobody is there to share it."""
    zones: dict[str, list[Member]] = {}
    for member in members:
        zones.setdefault(member.zone, []).append(member)
    found: dict[InstanceId, Feed] = {}
    for zone in zones.values():
        if len(zone) < 2 or all(member.holds for member in zone):
            continue
        for chain in _chains(zone):
            for place, member in enumerate(chain):
                if not member.holds:
                    found[member.instance] = Feed(artifact=artifact, parents=_parents(chain[:place]))
    return found


def _parents(before: Sequence[Member]) -> tuple[Peer, ...]:
    nearest = list(reversed(before[-ANCESTORS:]))
    if before and before[0] not in nearest:
        nearest.append(before[0])
    return tuple(member.peer for member in nearest)


def _chains(zone: Sequence[Member]) -> list[list[Member]]:
    """One behind each Node that holds it; else one behind the Node that fetches it from its origin."""
    by_id = {member.instance: member for member in zone}
    pace = max((member.rate for member in zone if member.rate), default=0.0)
    faulty = {member.instance for member in zone if not member.holds and _is_faulty(member, by_id, pace)}
    roots = sorted((member for member in zone if member.holds), key=lambda member: member.instance)
    if not roots:
        roots = [_seed([member for member in zone if member.instance not in faulty] or zone)]
    heads = {root.instance for root in roots}
    lacking = [member for member in zone if member.instance not in heads and not member.holds]
    sound = [member for member in lacking if member.instance not in faulty]
    under = _under(sound, by_id, faulty)
    chains = [[root] for root in roots]
    waiting = {member.instance: member for member in sound if member.done or member.instance in under}
    for chain in chains:
        _lengthen(chain, waiting, under)
    for member in sorted(waiting.values(), key=_most_done):  # the one that they followed is gone
        if member.instance in waiting:
            del waiting[member.instance]
            chain = min(chains, key=len)
            chain.insert(_place(chain, member), member)
            _lengthen(chain, waiting, under)
    placed = {member.instance for chain in chains for member in chain}
    late = [member for member in sound if member.instance not in placed]
    last = [member for member in lacking if member.instance in faulty]
    for member in (*sorted(late, key=_fastest), *sorted(last, key=_fastest)):
        min(chains, key=len).append(member)
    return chains


def _seed(zone: Sequence[Member]) -> Member:
    """Who fetches it from its origin: the one that has most of it that way, else the fastest."""
    begun = [member for member in zone if member.fetches and member.done and _parent(member) is None]
    return min(begun, key=_most_done) if begun else min(zone, key=lambda member: (-member.done, *_fastest(member)))


def _under(
    sound: Sequence[Member], by_id: Mapping[InstanceId, Member], faulty: set[InstanceId]
) -> dict[InstanceId, InstanceId]:
    """Whom each follows now, where that one is still to be followed."""
    found = {}
    for member in sound:
        parent = _parent(member)
        if parent is not None and parent in by_id and parent not in faulty:
            found[member.instance] = parent
    return found


def _lengthen(chain: list[Member], waiting: dict[InstanceId, Member], under: Mapping[InstanceId, InstanceId]) -> None:
    """Add all who follow one of the chain, or one who does: who has most first, but nobody before whom they follow."""
    behind: dict[InstanceId, list[Member]] = {}
    for member in waiting.values():
        if member.instance in under:
            behind.setdefault(under[member.instance], []).append(member)
    ready = [(_most_done(one), one) for member in chain for one in behind.get(member.instance, ())]
    heapify(ready)
    while ready:
        _, best = heappop(ready)
        del waiting[best.instance]
        after = len(chain)
        while chain[after - 1].instance != under[best.instance]:
            after -= 1
        chain.insert(max(after, _place(chain, best)), best)
        for one in behind.get(best.instance, ()):
            heappush(ready, (_most_done(one), one))


def _place(chain: Sequence[Member], member: Member) -> int:
    """Behind the last one that has more of it, and behind the first."""
    place = len(chain)
    while place > 1 and not chain[place - 1].holds and chain[place - 1].done < member.done:
        place -= 1
    return place


def _is_faulty(member: Member, by_id: Mapping[InstanceId, Member], best: float) -> bool:
    """Whether it would hold up those behind it; `best`: the highest rate measured, what a link of this zone can do."""
    status = member.status
    if status is None or status.state is ArtifactState.WAITING:
        return False
    if status.state is ArtifactState.FAILED:
        return True
    parent_id = _parent(member)
    if status.bytes_total is None or member.done >= status.bytes_total:
        return False  # it has not begun, or makes sure of what it has
    if parent_id is None:
        return status.rate is None
    parent = by_id.get(parent_id)
    if parent is None:
        return False  # the one before it is what is wrong
    lag = (status.bytes_total if parent.holds else parent.done) - member.done
    if status.rate is None:
        return lag > status.bytes_total * LAG_SHARE
    pace = best if parent.holds else parent.rate
    return bool(pace and status.rate and status.rate < pace * SLOW_SHARE and lag > pace * SLOW_LAG_S)


def _parent(member: Member) -> InstanceId | None:
    return member.status.parent if member.status is not None else None


def _most_done(member: Member) -> tuple[int, InstanceId]:
    return (-member.done, member.instance)


def _fastest(member: Member) -> tuple[float, InstanceId]:
    """Not measured counts as fast: it has had no chance to show."""
    return (-member.rate if member.rate else float("-inf"), member.instance)
