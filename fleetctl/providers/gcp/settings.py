"""What the fleet's file says under `providers.gcp`, read and checked."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fleetctl.errors import UsageError
from fleetctl.model.names import ProviderName
from fleetctl.providers import Setup
from fleetctl.providers._shared.options import Options, on_loopback

GCP = ProviderName("gcp")

_KEYS = (
    "address",
    "disk_gb",
    "endpoint",
    "image",
    "network",
    "project",
    "regions",
    "reservation",
    "ssh_sources",
    "ssh_user",
)

SSH_USER = "fleetctl"
"""Made on the machine by the ssh-keys of its metadata."""

_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,63}:)?[a-z][-a-z0-9]{4,28}[a-z0-9]")
"""A project's id, with the domain before it that old ones have."""

_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_FLEET = re.compile(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?")
"""Forty characters at most, as in the fleet's file: `fleetctl-FLEET-peers-123456` must be a name, of 63 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The provider's settings, complete."""

    fleet: str
    project: str
    regions: tuple[str, ...]
    image: str = ""
    """Empty: the newest deep-learning image with a driver."""
    disk_gb: int = 0
    """Of the boot disk; 0: what each launch asks for."""
    ssh_user: str = SSH_USER
    ssh_sources: tuple[str, ...] = ()
    """Who may reach port 22. Empty: nobody."""
    address: str = "ssh://{user}@{ip}:22/{id}"
    network: str = ""
    """Empty: the project's `default` network, or one of the fleet's own where the project has none."""
    ssh_key: str = ""
    """The fleet's public key, for launches that bring none of their own."""
    reservation: str = ""
    """The reservation that the reserved market draws on; empty: there is no reserved market."""
    endpoint: str = ""
    catalog: Path | None = None
    """The folder of refreshed prices."""

    @property
    def loopback(self) -> bool:
        return bool(self.endpoint) and on_loopback(self.endpoint)


def read_settings(setup: Setup) -> Settings:
    """The settings of a fleet. Raises `UsageError` with the name of the one that is wrong."""
    options = Options(GCP, setup.options, _KEYS)
    project = options.text("project")
    if _PROJECT.fullmatch(project) is None:
        raise options.wrong("project", "the id of a Google Cloud project", project)
    regions = options.texts("regions")
    for region in regions:
        if _NAME.fullmatch(region) is None:
            raise options.wrong("regions", "a list of regions, as in us-central1", list(regions))
    if not regions:
        raise options.wrong("regions", "at least one region, as in [us-central1]", [])
    for key in ("network", "reservation", "ssh_user"):
        name = options.text(key)
        if name and _NAME.fullmatch(name) is None:
            raise options.wrong(key, "a name of lower case letters, digits and hyphens", name)
    endpoint = options.endpoint()
    if endpoint and urlsplit(endpoint).scheme == "http" and not on_loopback(endpoint):
        # The SDK would send a bearer token over it for anyone to read.
        raise options.wrong("endpoint", "https, since credentials travel on it,", endpoint)
    if _FLEET.fullmatch(setup.fleet) is None:
        raise UsageError(
            f"fleet {setup.fleet!r} cannot be a label at Google Cloud",
            hint="name the fleet with at most 40 lower case letters, digits and hyphens, a letter first",
        )
    return Settings(
        fleet=setup.fleet,
        project=project,
        regions=regions,
        image=options.text("image"),
        disk_gb=options.whole("disk_gb", 0),
        ssh_user=options.text("ssh_user") or SSH_USER,
        ssh_sources=options.sources("ssh_sources"),
        address=options.address(),
        network=options.text("network"),
        ssh_key=setup.ssh_key,
        reservation=options.text("reservation"),
        endpoint=endpoint.rstrip("/"),
        catalog=setup.home.root / "catalog",
    )
