"""Whether an Identity that was sent can be taken, before anything of it is."""

import re
from typing import Final

from fleetctl.errors import UsageError
from fleetctl.gateway.scheduler.quotas import TENANTS_MAX
from fleetctl.model.routes import Identity

PRIORITIES: Final = ("high", "normal", "low")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def check(identity: Identity) -> None:
    """Raises `UsageError` for what would be taken in part only, or not at all."""
    if len(identity.tenants) > TENANTS_MAX:
        raise UsageError(
            f"{len(identity.tenants)} tenants are more than the {TENANTS_MAX} that a gateway tracks",
            hint="give several of them one tenant",
        )
    for key in identity.keys:
        if _SHA256.fullmatch(key.sha256) is None:
            raise UsageError(f"the sha256 of key {key.id} is none", hint="send 64 small hexadecimal digits")
    named = [tenant.priority for tenant in identity.tenants]
    named += [key.priority for key in identity.keys if key.priority is not None]
    for priority in named:
        if priority not in PRIORITIES:
            raise UsageError(f"there is no priority {priority!r}", hint=f"one of: {', '.join(PRIORITIES)}")
