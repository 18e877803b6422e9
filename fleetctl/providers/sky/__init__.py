"""SkyPilot: the clouds that it knows besides those which fleetctl knows itself, through one bridge to its Python SDK.

SkyPilot lives in an environment of its own, which `fleetctl provider setup sky` makes; nothing of it is imported here.
"""

from fleetctl.ports import Provider
from fleetctl.providers import Setup
from fleetctl.providers.sky.environment import environment
from fleetctl.providers.sky.provider import SkyProvider

__all__ = ["environment", "provider"]


def provider(setup: Setup) -> Provider:
    """The SkyPilot Provider of a fleet. Cheap: nothing is started yet. Raises `UsageError`."""
    return SkyProvider(setup)
