"""What the fleet's file may say under `providers.sky`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetctl.model.names import ProviderName
from fleetctl.providers._shared.options import Options

SKY = ProviderName("sky")

KEYS = ("address", "clouds", "disk_gb", "image", "python", "regions", "server", "ssh_user")

OWN_CLOUDS = frozenset({"aws", "azure", "gcp"})
"""fleetctl has Providers of its own for these; SkyPilot is asked for them only where `clouds` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`providers.sky`, checked."""

    clouds: tuple[str, ...] = ()
    """SkyPilot's names, as in `lambda`; empty: all that it has credentials for and fleetctl does not know itself."""
    regions: tuple[str, ...] = ()
    """As in `us-east-1` or `lambda/us-east-1`; empty: all."""
    image: str = ""
    """Empty: SkyPilot's own for the machine."""
    disk_gb: int = 0
    """0: what the launch says."""
    ssh_user: str = ""
    """Empty: whom SkyPilot logs in as."""
    address: str = "ssh://{user}@{ip}:{port}"
    server: str = ""
    """Of SkyPilot's API server; empty: the one on this machine, which SkyPilot starts when it is needed."""
    python: Path | None = None
    """None: that of the environment which `fleetctl provider setup sky` makes."""


def read_settings(given: Mapping[str, object]) -> Settings:
    """The settings. Raises `UsageError` that names the one that is wrong."""
    options = Options(SKY, given, KEYS)
    address = options.text("address", Settings().address)
    try:
        address.format(id="i", ip="192.0.2.1", user="u", port=22)
    except (KeyError, IndexError, ValueError, AttributeError):
        raise options.wrong("address", "a template of {id}, {ip}, {user} and {port}", address) from None
    python = options.text("python")
    return Settings(
        clouds=tuple(cloud.lower() for cloud in options.texts("clouds")),
        regions=options.texts("regions"),
        image=options.text("image"),
        disk_gb=options.whole("disk_gb", 0),
        ssh_user=options.text("ssh_user"),
        address=address,
        server=options.endpoint("server").rstrip("/"),
        python=Path(python).expanduser() if python else None,
    )
