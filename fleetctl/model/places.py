"""What was experienced where: how often a machine type was out of stock in a zone, and how often it was taken away."""

from fleetctl.model.instances import Offer
from fleetctl.model.names import ProviderName
from fleetctl.model.records import dataclass
from fleetctl.model.services import Market

HALF_LIFE_S = 6 * 3600.0
"""An experience counts half after this long: shortages of GPUs last hours, seldom days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where Instances of one kind come from."""

    provider: ProviderName
    region: str
    zone: str
    instance_type: str
    market: Market

    def __str__(self) -> str:
        return f"{self.provider}/{self.zone}/{self.instance_type}/{self.market}"


def place_of(offer: Offer) -> Place:
    return Place(
        provider=offer.provider,
        region=offer.region,
        zone=offer.zone,
        instance_type=offer.instance_type,
        market=offer.market,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """Sums that fade with time, as of `at`: what happened at a Place."""

    place: Place
    at: float
    """Unix seconds."""
    launched: float = 0.0
    """Launches that were granted."""
    short: float = 0.0
    """Launches refused for want of capacity."""
    taken: float = 0.0
    """Instances that were taken away again without our asking."""

    def faded(self, now: float) -> "Experience":
        """The same as of `now`."""
        share = 0.5 ** (max(0.0, now - self.at) / HALF_LIFE_S)
        return Experience(
            place=self.place,
            at=max(now, self.at),
            launched=self.launched * share,
            short=self.short * share,
            taken=self.taken * share,
        )

    @property
    def shortage(self) -> float:
        """The share of launches that find no capacity, [0, 1): none is known to fail before one has."""
        return self.short / (1.0 + self.short + self.launched)

    @property
    def loss(self) -> float:
        """The share of machines that are taken away, [0, 1)."""
        return self.taken / (1.0 + self.taken + self.launched)
