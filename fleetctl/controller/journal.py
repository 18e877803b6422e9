"""One journal entry per tick: what was decided, holds too, on what, and what was begun and ended."""

from dataclasses import dataclass

import msgspec

from fleetctl.model.decisions import Decision, Outcome, Plan
from fleetctl.model.instances import Listing
from fleetctl.model.names import ProviderName
from fleetctl.model.signals import Unknown
from fleetctl.model.snapshots import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    key: str
    reason: str


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


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def entry(snapshot: Snapshot, made: Plan) -> bytes:
    """The journal entry of one tick."""
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
            billed=sum(instance.billed for instance in {**snapshot.instances, **changed}.values()),
        )
    )


def read(body: bytes) -> Entry:
    """A journal entry back from the store."""
    return _decoder.decode(body)
