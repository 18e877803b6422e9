"""The gateway's view of capacity and of those who may use it. It comes from the controller, whole, each time."""

from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    replica: ReplicaId
    address: str
    """`host:port`."""
    slots: int
    """Requests it may serve at once; 0 drains it."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters that are loaded already."""
    prefill_tokens_per_s: float = 0.0
    """How fast it reads prompts; 0: not known, it is learned from its answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    service: ServiceName
    models: tuple[str, ...]
    """Values of `model` in a request's body that select this Service, besides its name."""
    upstreams: tuple[Upstream, ...]
    hosts: tuple[str, ...] = ()
    """Values of the Host header that select this Service; `*.example.org` for all below it."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters: values of `model` that select this Service and are asked of it as they are."""
    queue_timeout_s: float = 1800.0
    """The longest that a request waits for a slot while there are replicas; what would wait longer is refused."""
    cold_timeout_s: float = 3600.0
    """The same while there is no replica; longer than the slowest cold start."""
    queue_limit: int = 10_000
    """Requests that wait."""
    queue_limit_bytes: int = 256 * 1024 * 1024
    """Their bodies together."""
    shed: bool = True
    """Refuse at once what will wait longer than it may by all that is known; else only when the time is over."""
    probe_path: str = ""
    """Asked of a replica that failed, before it gets requests again; empty: connecting is enough."""
    nameless: bool = False
    """Nobody has named the Service: its name still selects it, and is no model that clients are told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The whole view. The gateway refuses a smaller `fence` than it has seen in the same `epoch`."""

    fence: int
    """The Lease's fencing number."""
    epoch: str = ""
    """Which store speaks; a new store begins its fences anew."""
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLimits:
    """None: without a limit."""

    in_flight: int | None = None
    """Requests that wait or run."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Prompt and answer together."""
    tokens_per_month: int | None = None
    """By the calendar month, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantEntry:
    """One Tenant as the gateway knows it."""

    name: str
    weight: float = 1.0
    """Its share of a contended band, relative to the others'."""
    priority: str = "normal"
    """high | normal | low: the band of its requests; a request may ask for a later one, never for an earlier one."""
    limits: TenantLimits = TenantLimits()
    services: tuple[ServiceName, ...] | None = None
    """Those it may use; None: all."""
    tokens_used: int = 0
    """In `month`, as far as the store knows."""
    month: str = ""
    """`2026-11`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One API key. The key itself is nowhere but with its owner."""

    id: str
    """Shown in lists and logs."""
    sha256: str
    """Of the key's bytes, in hexadecimal. A key has 256 random bits: a slow hash would add nothing."""
    tenant: str
    services: tuple[ServiceName, ...] | None = None
    """Narrower than its Tenant's; None: the Tenant's."""
    priority: str | None = None
    """Later than its Tenant's; None: the Tenant's."""
    expires_at: float | None = None
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who may enter, in place of what the gateway knew before."""

    required: bool = True
    """False: `auth: none`; every request is of the nameless Tenant."""
    tenants: tuple[TenantEntry, ...] = ()
    keys: tuple[KeyEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUse:
    """What one gateway, since it began, has counted of one Tenant in one month."""

    tenant: str
    month: str
    """`2026-11`, UTC."""
    tokens: int
    """Prompts and answers of requests that were given to a replica."""
