"""Who may enter the gateway, from what is declared, the keys there are, and what was used in the month."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fleetctl.model.keys import ApiKey
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry

OPEN = Identity(required=False)
"""`auth: none`."""


def identity_of(
    tenants: Sequence[TenantEntry], keys: Sequence[ApiKey], used: Mapping[str, int], *, now: float
) -> Identity:
    """The keys in force and the Tenants they are of. A Tenant that is declared nowhere has no limits.

    `used`: tokens of the month that `now` (Unix time) is in, by Tenant.
    """
    in_force = [key for key in keys if key.in_force(now)]
    declared = {tenant.name: tenant for tenant in tenants}
    month = month_of(now)
    return Identity(
        tenants=tuple(
            replace(declared.get(name) or TenantEntry(name=name), tokens_used=used.get(name, 0), month=month)
            for name in sorted({key.tenant for key in in_force})
        ),
        keys=tuple(
            KeyEntry(
                id=key.id,
                sha256=key.sha256,
                tenant=key.tenant,
                services=key.services,
                priority=key.priority,
                expires_at=key.expires_at,
            )
            for key in in_force
        ),
    )


def month_of(now: float) -> str:
    """The calendar month, UTC, of a Unix time: `2026-11`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m")
