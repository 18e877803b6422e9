"""Azure: machines of Microsoft's cloud, through its own SDK, imported at the first call.

Each fleet has one resource group in each of its regions, and everything the fleet owns there lies in it.
"""

from collections.abc import Mapping

from fleetctl.model.abilities import Abilities
from fleetctl.providers import Setup
from fleetctl.providers.azure.permissions import permissions
from fleetctl.providers.azure.provider import AzureProvider

__all__ = ["abilities", "permissions", "provider"]


def provider(setup: Setup) -> AzureProvider:
    """The Azure Provider of a fleet. Cheap: nothing is imported or asked yet. Raises `UsageError`."""
    return AzureProvider(setup)


NO_HOLD = "a stopped machine holds no capacity, and its zone may have none left"


def abilities(options: Mapping[str, object]) -> Abilities:
    """What its machines can do."""
    return Abilities(start_may_fail=NO_HOLD)
