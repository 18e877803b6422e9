"""What is written on everything the fleet owns, and an EC2 machine's line of the listing made from it alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from fleetctl.model.instances import InstanceSeen, LaunchSpec, Offer, Sighting
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Market
from fleetctl.providers.aws.settings import AWS, Settings

FLEET = "fleetctl-fleet"
POOL = "fleetctl-pool"
ID = "fleetctl-id"
_GPU = "fleetctl-gpu"
_MARKET = "fleetctl-market"
_PRICE = "fleetctl-price"
_PRICE_SOURCE = "fleetctl-price-source"
_PRICE_AS_OF = "fleetctl-price-as-of"

_VALUE_CHARACTERS_MAX = 256  # EC2's own bound

_SIGHTINGS = {
    "pending": Sighting.BOOTING,
    "running": Sighting.RUNNING,
    "stopping": Sighting.STOPPING,
    "stopped": Sighting.STOPPED,
    "shutting-down": Sighting.TERMINATING,
    "terminated": Sighting.TERMINATED,
}


def fleet_tags(fleet: str) -> dict[str, str]:
    """Of what a fleet's machines share."""
    return {FLEET: fleet}


def machine_tags(spec: LaunchSpec) -> dict[str, str]:
    """Of one machine and all that is its own. Nothing of the moment is here: a repeated launch must be the same
    request, or EC2 refuses its token."""
    offer = spec.offer
    tags = {
        "Name": spec.id,
        FLEET: spec.fleet,
        POOL: spec.pool,
        ID: spec.id,
        _GPU: str(offer.gpu),
        _MARKET: offer.market,
    }
    if offer.price_per_hour is not None:
        tags[_PRICE] = repr(offer.price_per_hour)
        tags[_PRICE_SOURCE] = offer.price_source[:_VALUE_CHARACTERS_MAX]
        tags[_PRICE_AS_OF] = repr(offer.price_as_of)
    return tags


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """As EC2 spells tags."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tagged(kind: str, tags: Mapping[str, str]) -> list[dict[str, object]]:
    """The TagSpecifications of a creating request."""
    return [{"ResourceType": kind, "Tags": tag_list(tags)}]


def tags_of(resource: Mapping[str, Any]) -> dict[str, str]:
    found: Iterable[Mapping[str, str]] = resource.get("Tags") or resource.get("TagSet") or ()  # an interface's
    return {tag["Key"]: tag["Value"] for tag in found}


def of_fleet(fleet: str) -> list[dict[str, object]]:
    """The Filters of a listing."""
    return [{"Name": f"tag:{FLEET}", "Values": [fleet]}]


def seen(machine: Mapping[str, Any], region: str, settings: Settings) -> InstanceSeen | None:
    """The line of an EC2 machine with the fleet's tags. None: whoever tagged it, it is none that we made."""
    tags = tags_of(machine)
    if not tags.keys() >= {FLEET, POOL, ID}:
        return None
    key, ip = InstanceId(tags[ID]), machine.get("PublicIpAddress") or machine.get("PrivateIpAddress")
    return InstanceSeen(
        id=key,
        pool=PoolName(tags[POOL]),
        state=state(machine),
        offer=_offer(machine, tags, region),
        created_at=_created_at(machine),
        address=settings.address.format(id=key, ip=ip, user=settings.ssh_user) if ip else None,
        detail=(machine.get("StateReason") or {}).get("Message", ""),
    )


def state(machine: Mapping[str, Any]) -> Sighting:
    return _SIGHTINGS[machine["State"]["Name"]]


def _offer(machine: Mapping[str, Any], tags: Mapping[str, str], region: str) -> Offer:
    name, _, count = tags.get(_GPU, "").partition(":")
    return Offer(
        provider=AWS,
        instance_type=machine["InstanceType"],
        gpu=Gpu(name=name or "ANY", count=int(count) if count.isdigit() else 1),
        zone=machine["Placement"]["AvailabilityZone"],
        market=_market(machine, tags),
        price_per_hour=_number(tags.get(_PRICE)),
        price_source=tags.get(_PRICE_SOURCE, ""),
        price_as_of=_number(tags.get(_PRICE_AS_OF)) or 0.0,
        region=region,
    )


def _market(machine: Mapping[str, Any], tags: Mapping[str, str]) -> Market:
    if tags.get(_MARKET) in tuple(Market):
        return Market(tags[_MARKET])
    return Market.SPOT if machine.get("InstanceLifecycle") == "spot" else Market.ON_DEMAND


def _created_at(machine: Mapping[str, Any]) -> float:
    """When it was made. Its LaunchTime moves with every start; its first disk and interface came with it."""
    moments = [machine["LaunchTime"]]
    moments += [disk["Ebs"]["AttachTime"] for disk in machine.get("BlockDeviceMappings", ()) if "Ebs" in disk]
    moments += [
        card["Attachment"]["AttachTime"] for card in machine.get("NetworkInterfaces", ()) if "Attachment" in card
    ]
    return min(float(moment.timestamp()) for moment in moments)


def _number(text: str | None) -> float | None:
    """A tag's number; None where a person has edited it into something else."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
