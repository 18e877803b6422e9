"""Rented or owned machines: what may be rented, what we hold, and what a Provider says of it."""

from enum import StrEnum

from fleetctl.model.names import InstanceId, PoolName, ProviderName
from fleetctl.model.notices import Notice
from fleetctl.model.records import dataclass
from fleetctl.model.services import Gpu, LocalMachine, Market


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A machine type rentable now, in a zone, on a Market, at a price with a date."""

    provider: ProviderName
    instance_type: str
    gpu: Gpu
    zone: str
    market: Market
    price_per_hour: float | None
    """US dollars; None: unknown, never zero."""
    price_source: str
    price_as_of: float
    """Unix seconds."""
    region: str = ""
    """What the zone lies in; empty where a Provider has none."""
    quota_left: int | None = None
    """Instances of this kind that the account's quota still allows; None: not known."""
    sole: bool = False
    """There is just one such machine: while an Instance of ours is there, nothing more is to be had."""


class InstancePhase(StrEnum):
    INTENDED = "intended"
    """Stored; whether the Provider has it is not yet known. Counted as billed."""
    BOOTING = "booting"
    """The Provider has it; its Node does not answer yet."""
    READY = "ready"
    """Its Node answered."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    """Confirmed by the Provider."""
    LOST = "lost"
    """Gone without our asking: absent from complete listings for the whole consistency window."""


class Wanted(StrEnum):
    """What we intend an Instance to be."""

    RUNNING = "running"
    STOPPED = "stopped"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One rented (or owned) machine, as the store keeps it."""

    id: InstanceId
    pool: PoolName
    offer: Offer
    wanted: Wanted = Wanted.RUNNING
    phase: InstancePhase = InstancePhase.INTENDED
    phase_at: float
    """Unix seconds at which `phase` began."""
    created_at: float
    booted_at: float | None = None
    """First time its Node answered since it was last started."""
    resumed_at: float | None = None
    """Last time it was started again from stopped."""
    ordered_at: float | None = None
    """When it was last decided to start it again from stopped; None: never."""
    launched_at: float | None = None
    """When its Provider last had the order to launch it, or to start it again."""
    address: str | None = None
    """Where its node agent is reached, e.g. `unix:/run/…/agent.sock`."""
    absent_since: float | None = None
    """First complete listing that lacked it."""
    failures: int = 0
    """Attempts at launching or starting it that failed since it was last ready."""
    failed_at: float | None = None
    failure: str | None = None
    failure_code: str | None = None
    """`FleetError.code` of that failure."""
    notice: Notice | None = None
    """What its cloud says of its end, as its Node told last."""
    reclaimed_at: float | None = None
    """When a notice was heeded: what runs there drains, nothing comes to it any more, and it is given back. A notice
    that is withdrawn afterwards changes nothing: the replacement is on its way."""

    @property
    def reclaimed(self) -> bool:
        """Whether its cloud is taking it back."""
        return self.reclaimed_at is not None

    @property
    def hinted(self) -> bool:
        """Whether it may be taken away, and nothing forces us to leave it yet."""
        return self.notice is not None and self.reclaimed_at is None

    @property
    def billed(self) -> bool:
        """Whether it may cost money now. Unknown counts as yes."""
        return self.phase not in (InstancePhase.STOPPED, InstancePhase.TERMINATED, InstancePhase.LOST)

    @property
    def over(self) -> bool:
        return self.phase in (InstancePhase.TERMINATED, InstancePhase.LOST)


DISK_GB = 200
"""What a machine is given: room for the driver's image, a container image of 20 GB and the weights of a 70B model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """What a Provider needs to make an Instance. `id` is the idempotency token: the same id never makes two."""

    id: InstanceId
    fleet: str
    pool: PoolName
    offer: Offer
    local: LocalMachine = LocalMachine()
    images: tuple[str, ...] = ()
    """Container images that its Pool's Services will want of it, to be fetched from its first moment on."""
    registry_mirrors: tuple[str, ...] = ()
    """Addresses of mirrors of Docker's hub that its Docker asks first."""
    image: str | None = None
    """The machine image, in the Provider's own words; None: the Provider's GPU image."""
    disk_gb: int = DISK_GB
    """Of the boot disk."""
    user_data: str = ""
    """What the machine runs at its first boot (cloud-init). Carries no secret: anyone on the machine can read it."""
    ssh_key: str = ""
    """The public key that may log in, as one line of `authorized_keys`."""


class Sighting(StrEnum):
    """What a Provider says of an Instance."""

    BOOTING = "booting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSeen:
    """One line of a Provider's listing."""

    id: InstanceId
    pool: PoolName
    state: Sighting
    offer: Offer
    created_at: float
    address: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A complete listing of the fleet's Instances at one Provider. Incomplete listings are errors, never Listings."""

    provider: ProviderName
    at: float
    """Unix seconds at which the listing was asked for."""
    instances: tuple[InstanceSeen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something other than an Instance that a fleet owns at a Provider: a disk, an address, a network, a key."""

    provider: ProviderName
    kind: str
    """The Provider's own word, as in `volume` or `security-group`."""
    id: str
    """Unique together with `kind` and `region`."""
    region: str = ""
    instance: InstanceId | None = None
    """The Instance it was made for; None: it is shared by the fleet's Instances of its region."""
    created_at: float | None = None
    """Unix seconds; None: the Provider does not say."""
    price_per_hour: float | None = None
    """US dollars; None: not known. What costs nothing says 0."""
