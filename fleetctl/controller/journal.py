"""One journal entry per tick: what was decided, holds too, on what, and what was begun and ended."""

from dataclasses import dataclass, replace

import msgspec

from fleetctl.model.decisions import Decision, Memory, Outcome, Plan
from fleetctl.model.instances import Listing
from fleetctl.model.names import ProviderName, ServiceName
from fleetctl.model.signals import Unknown
from fleetctl.model.snapshots import Intent, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """What Decisions are made from besides their Inputs, at the beginning of a stretch of ticks."""

    intents: tuple[Intent, ...]
    memories: tuple[tuple[ServiceName, Memory], ...]
    """Before the tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A tick as the journal keeps it."""

    at: float
    fence: int
    decisions: tuple[Decision, ...]
    begun: tuple[Begun, ...]
    ended: tuple[Outcome, ...]
    in_flight: tuple[str, ...]
    unknown_providers: tuple[tuple[ProviderName, str], ...]
    unknown_nodes: int
    billed: int
    """Instances that may cost money."""
    begun_at: float = 0.0
    """The tick at which this stretch begins: from there on it can be played again."""
    begin: Begin | None = None
    """With the first tick of a stretch."""


STRETCH_TICKS = 150
"""Five minutes of ticks of two seconds: what `explain --at` has to play again, in a fraction of a second; and what a
stretch begins with, some 30 kB for a Service that learns, is then little beside its ticks."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class Stretches:
    """When the journal begins a new stretch: with the process, with every change by the user, and now and then."""

    def __init__(self) -> None:
        self._began_at = 0.0
        self._ticks = 0
        self._intents: tuple[Intent, ...] | None = None

    def next(self, snapshot: Snapshot) -> tuple[float, Begin | None]:
        """Where the stretch of this tick began, and what it begins with if it begins here."""
        self._ticks += 1
        # Those that Decisions are made from; earlier revisions are the Rollout's.
        intents = tuple(replace(intent, revisions=()) for intent in snapshot.in_force())
        if intents == self._intents and self._ticks < STRETCH_TICKS:
            return self._began_at, None
        self._began_at, self._ticks, self._intents = snapshot.now, 0, intents
        return snapshot.now, Begin(intents=intents, memories=tuple(snapshot.memories.items()))


def entry(snapshot: Snapshot, made: Plan, stretches: Stretches) -> bytes:
    """The journal entry of one tick."""
    begun_at, begin = stretches.next(snapshot)
    changed = {instance.id: instance for instance in made.instances}
    return _encoder.encode(
        Entry(
            at=snapshot.now,
            fence=snapshot.fence,
            decisions=made.decisions,
            begun=tuple(Begun(key=action.key, reason=action.reason) for action in made.actions),
            ended=snapshot.outcomes,
            in_flight=tuple(sorted(snapshot.in_flight)),
            unknown_providers=tuple(
                (name, listing.reason)
                for name, listing in snapshot.listings.items()
                if not isinstance(listing, Listing)
            ),
            unknown_nodes=sum(1 for node in snapshot.nodes.values() if isinstance(node, Unknown)),
            begun_at=begun_at,
            begin=begin,
            billed=sum(instance.billed for instance in {**snapshot.instances, **changed}.values()),
        )
    )


def read(body: bytes) -> Entry:
    """A journal entry back from the store."""
    return _decoder.decode(body)
