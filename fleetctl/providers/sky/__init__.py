"""SkyPilot: the clouds that it knows besides those which fleetctl knows itself, through one bridge to its Python SDK.

SkyPilot lives in an environment of its own, which `fleetctl provider setup sky` makes; nothing of it is imported here.
"""

from collections.abc import Mapping

from fleetctl.model.abilities import Abilities
from fleetctl.ports import Provider
from fleetctl.providers import Setup
from fleetctl.providers.sky.environment import environment
from fleetctl.providers.sky.provider import SkyProvider
from fleetctl.providers.sky.settings import read_settings

__all__ = ["abilities", "environment", "provider"]


def provider(setup: Setup) -> Provider:
    """The SkyPilot Provider of a fleet. Cheap: nothing is started yet. Raises `UsageError`."""
    return SkyProvider(setup)


NO_STOP = frozenset(
    (
        *("cudo", "fluidstack", "hyperbolic", "kubernetes", "lambda", "primeintellect"),
        *("runpod", "shadeform", "slurm", "verda", "yotta"),
    )
)
"""Clouds whose machines SkyPilot does not stop, as `sky/clouds/` has it in 0.14.1 (of Slurm, without Pyxis)."""


def abilities(options: Mapping[str, object]) -> Abilities:
    """What its machines can do. Raises `UsageError` for settings that are wrong."""
    cannot = sorted(NO_STOP.intersection(read_settings(options).clouds))
    return Abilities(
        no_stop=f"SkyPilot stops no machine of {', '.join(cannot)}" if cannot else "",
        no_spot_stop="SkyPilot stops no spot machine",
        start_may_fail="a stopped machine holds no capacity, and several of SkyPilot's clouds stop none at all",
    )
