"""What the fleet's file says of AWS, and how long a request may take."""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetctl.errors import UsageError
from fleetctl.model.names import ProviderName
from fleetctl.providers._shared.options import Options

AWS = ProviderName("aws")

KEYS = ("regions", "image", "disk_gb", "ssh_user", "ssh_sources", "endpoint", "address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    regions: tuple[str, ...]
    image: str = ""
    """`ami-…`, or the path of an SSM parameter that holds one; empty: AWS's deep-learning image."""
    disk_gb: int = 0
    """Of the boot disk; 0: what the launch asks for."""
    ssh_user: str = "ubuntu"
    ssh_sources: tuple[str, ...] = ()
    """Who may reach port 22, in CIDR form. Empty: nobody."""
    endpoint: str = ""
    address: str = "ssh://{user}@{ip}:22/{id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long EC2 may take, in seconds, and how often a request for reading is tried."""

    connect_s: float = 10.0
    """A region on the other side of the world answers within half a second; the rest is a bad network."""
    read_s: float = 60.0
    """For one answer. Listing a thousand machines takes EC2 some seconds."""
    attempts: int = 3
    """Of requests that change nothing; the SDK waits between them. A change is never repeated by the SDK."""

    @property
    def reading_s(self) -> float:
        """For all attempts at one request, with up to 20 s of the SDK's own pauses for each repetition."""
        return self.changing_s * self.attempts + 20.0 * (self.attempts - 1)

    @property
    def changing_s(self) -> float:
        return self.connect_s + self.read_s + 5.0


def read_settings(options: Mapping[str, object]) -> Settings:
    """The settings under `providers.aws`. Raises `UsageError` for one that is unknown, missing or wrong."""
    given = Options(AWS, options, KEYS)
    regions = given.texts("regions")
    if not regions:
        raise UsageError(
            "providers.aws.regions: at least one region is wanted",
            hint="as in providers: {aws: {regions: [us-east-1, us-west-2]}}",
        )
    return Settings(
        regions=regions,
        image=given.text("image"),
        disk_gb=given.whole("disk_gb", 0),
        ssh_user=given.text("ssh_user", "ubuntu"),
        ssh_sources=given.sources("ssh_sources"),
        endpoint=given.endpoint(),
        address=given.address(),
    )
