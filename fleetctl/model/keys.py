"""API keys as the fleet keeps them, and what gateways tell of their use."""

from fleetctl.model.names import ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.routes import TenantUse

KEYS_MAX = 10_000
"""That are in force: so many go to the gateway in one message of some 2 MB."""
NAMELESS_TENANT = "default"
"""Whose a key is that was made for nobody in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One API key. The key itself is nowhere but with its owner."""

    id: str
    """Short and public: shown in lists and logs."""
    sha256: str
    """Of the key's bytes, in hexadecimal."""
    tenant: str
    name: str = ""
    """Chosen by whoever made it; no two keys in force share one."""
    services: tuple[ServiceName, ...] | None = None
    """Narrower than its Tenant's; None: the Tenant's."""
    priority: str | None = None
    """high | normal | low, later than its Tenant's; None: the Tenant's."""
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    """As far as a gateway has told; to within some seconds."""

    def in_force(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReport:
    """Who used a gateway, as it tells since it began."""

    gateway: str
    """Its incarnation: another process is another one."""
    known: bool = True
    """Whether it has been told who may enter."""
    uses: tuple[TenantUse, ...] = ()
    keys: tuple[str, ...] = ()
    """Ids of keys that were used since the last report."""
