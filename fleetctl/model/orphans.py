"""What a fleet owns at a Provider and nothing claims any more."""

from fleetctl.model.instances import InstanceSeen, Leftover, Listing
from fleetctl.model.names import InstanceId, ProviderName
from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """An Instance without a Pool or a row, or what an Instance that is gone left behind."""

    provider: ProviderName
    kind: str
    """`instance`, or the Provider's own word for anything else."""
    id: str
    region: str = ""
    why: str = ""
    """What is missing: its row, its Pool, its Instance."""
    created_at: float | None = None
    price_per_hour: float | None = None
    """US dollars; None: not known, never zero."""
    seen_at: float = 0.0
    """Unix seconds at which it was first found to be one."""

    @property
    def key(self) -> str:
        return f"{self.provider}/{self.region}/{self.kind}/{self.id}"


def orphaned(instance: InstanceSeen, why: str, now: float) -> Orphan:
    return Orphan(
        provider=instance.offer.provider,
        kind="instance",
        id=instance.id,
        region=instance.offer.region,
        why=why,
        created_at=instance.created_at,
        price_per_hour=instance.offer.price_per_hour,
        seen_at=now,
    )


def left_behind(leftover: Leftover, listing: Listing, now: float) -> Orphan | None:
    """The Orphan that a Leftover is, once the Instance it was made for is in no complete listing any more."""
    alive: set[InstanceId] = {instance.id for instance in listing.instances}
    if leftover.instance is None or leftover.instance in alive:
        return None
    return Orphan(
        provider=leftover.provider,
        kind=leftover.kind,
        id=leftover.id,
        region=leftover.region,
        why=f"its instance {leftover.instance} is gone",
        created_at=leftover.created_at,
        price_per_hour=leftover.price_per_hour,
        seen_at=now,
    )
