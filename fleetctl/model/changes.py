"""Changes by the user, kept so that they can be taken back: what each intent was before one."""

from fleetctl.model.names import PoolName, ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.routes import TenantEntry
from fleetctl.model.services import Pool
from fleetctl.model.snapshots import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentBefore:
    """A Service as it was wanted before a Change."""

    service: ServiceName
    intent: Intent | None
    """None: it was not declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBefore:
    """A Pool as it was declared before a Change."""

    pool: PoolName
    declared: Pool | None
    """None: it was not declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantBefore:
    """A Tenant as it was declared before a Change."""

    tenant: str
    declared: TenantEntry | None
    """None: it was not declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One command that changed what is wanted. Its times are Unix seconds."""

    command: str
    """As it was typed: `scale chat=3`."""
    at: float
    intents: tuple[IntentBefore, ...] = ()
    pools: tuple[PoolBefore, ...] = ()
    tenants: tuple[TenantBefore, ...] = ()
    settings: str = ""
    """The fleet's own settings as they were, as JSON, without the address of its store; empty: it left them."""
    number: int = 0
    """Of the store; 0: not stored yet."""
