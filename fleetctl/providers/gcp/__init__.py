"""Google Compute Engine: Instances are its machines, found again by their labels. The first call imports the SDK."""

from collections.abc import Mapping

from fleetctl.model.abilities import Abilities
from fleetctl.ports import Provider
from fleetctl.providers import Setup
from fleetctl.providers.gcp.compute import GcpProvider
from fleetctl.providers.gcp.role import permissions
from fleetctl.providers.gcp.settings import read_settings

__all__ = ["abilities", "permissions", "provider"]


def provider(setup: Setup) -> Provider:
    """Google Compute Engine for a fleet. Raises `UsageError` for settings that are wrong."""
    return GcpProvider(read_settings(setup))


NO_HOLD = "a stopped machine holds no capacity, and its zone may have none left"


def abilities(options: Mapping[str, object]) -> Abilities:
    """What its machines can do."""
    return Abilities(start_may_fail=NO_HOLD)
