"""What the fleet's file may say under `providers.azure`, and the names that follow from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fleetctl.errors import InvalidRequest
from fleetctl.providers._shared.options import Options
from fleetctl.providers._shared.options import on_loopback as _on_loopback

KEYS = (
    "subscription",
    "regions",
    "image",
    "disk_gb",
    "ssh_user",
    "ssh_sources",
    "endpoint",
    "address",
    "reservations",
)

USER = "fleet"
"""Not one of the names that Azure refuses for the first user, as it does `admin` and `root`."""

_SUBSCRIPTION = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REGION = re.compile(r"[a-z0-9]+")
_GROUP_ID = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Compute/.+", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?")
"""Azure compares names without case, and allows 64 characters for a Linux machine and 80 for its disk, whose name is
the machine's and some more."""
_FLEET = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,48}[A-Za-z0-9_-])?")
"""A resource group's name may have 90 characters; the longest region takes some 20 of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`providers.azure`, checked."""

    subscription: str
    regions: tuple[str, ...]
    image: str
    """Empty: the one for the machine's GPU."""
    disk_gb: int
    """0: what the launch says."""
    ssh_user: str
    ssh_sources: tuple[str, ...]
    endpoint: str
    """Empty: Azure's public cloud."""
    address: str
    reservations: Mapping[str, str]
    """By region: the resource id of a capacity reservation group."""

    @property
    def on_loopback(self) -> bool:
        return bool(self.endpoint) and _on_loopback(self.endpoint)


def read(given: Mapping[str, object]) -> Settings:
    """The settings. Raises `UsageError` that names the one that is wrong."""
    options = Options("azure", given, KEYS)
    endpoint = options.endpoint()
    subscription = options.text("subscription")
    if _SUBSCRIPTION.fullmatch(subscription) is None:
        raise options.wrong("subscription", "the id of a subscription (az account show --query id)", subscription)
    regions = tuple(dict.fromkeys(region.lower().replace(" ", "") for region in options.texts("regions")))
    if not regions or not all(_REGION.fullmatch(region) for region in regions):
        raise options.wrong("regions", "a list of regions, as in [eastus, westeurope]", list(regions))
    return Settings(
        subscription=subscription.lower(),
        regions=regions,
        image=options.text("image"),
        disk_gb=options.whole("disk_gb", 0),
        ssh_user=options.text("ssh_user", USER),
        ssh_sources=options.sources("ssh_sources"),
        endpoint=endpoint.rstrip("/"),
        address=options.address(),
        reservations=_reservations(options, given.get("reservations", {})),
    )


def _reservations(options: Options, given: object) -> Mapping[str, str]:
    if not isinstance(given, Mapping) or not all(
        isinstance(region, str) and isinstance(group, str) and _GROUP_ID.fullmatch(group)
        for region, group in given.items()
    ):
        raise options.wrong("reservations", "{REGION: resource id of a capacity reservation group}", given)
    return {region.lower().replace(" ", ""): group for region, group in given.items()}


def group_name(fleet: str, region: str) -> str:
    """The resource group of a fleet in a region. Raises `InvalidRequest` for a fleet that cannot name one."""
    if _FLEET.fullmatch(fleet) is None:
        raise InvalidRequest(f"fleet {fleet!r} cannot name a resource group of Azure: at most 50 of A-Z a-z 0-9 . _ -")
    return f"fleetctl-{fleet}-{region}"


def machine_name(instance: str) -> str:
    """The machine's resource name, which is its id. Raises `InvalidRequest` for an id that Azure would change."""
    if _NAME.fullmatch(instance) is None:
        raise InvalidRequest(
            f"{instance!r} cannot name a machine of Azure: at most 60 of a-z 0-9 -, none of - at either end"
        )
    return instance
