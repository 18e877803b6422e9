"""Google Compute Engine: Instances are its machines, found again by their labels. The first call imports the SDK."""

from fleetctl.ports import Provider
from fleetctl.providers import Setup
from fleetctl.providers.gcp.permissions import permissions
from fleetctl.providers.gcp.provider import GcpProvider
from fleetctl.providers.gcp.settings import settings

__all__ = ["permissions", "provider"]


def provider(setup: Setup) -> Provider:
    """Google Compute Engine for a fleet. Raises `UsageError` for settings that are wrong."""
    return GcpProvider(settings(setup))
