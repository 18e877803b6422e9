"""Azure: machines of Microsoft's cloud, through its own SDK, imported at the first call.

Each fleet has one resource group in each of its regions, and everything the fleet owns there lies in it.
"""

from fleetctl.providers import Setup
from fleetctl.providers.azure.permissions import permissions
from fleetctl.providers.azure.provider import AzureProvider

__all__ = ["permissions", "provider"]


def provider(setup: Setup) -> AzureProvider:
    """The Azure Provider of a fleet. Cheap: nothing is imported or asked yet. Raises `UsageError`."""
    return AzureProvider(setup)
