"""The one request that makes a machine, as EC2 wants it. Pure: the same launch is the same request, word for word."""

import hashlib

from fleetctl.model.instances import LaunchSpec
from fleetctl.model.services import Market
from fleetctl.providers.aws.images import Image
from fleetctl.providers.aws.networks import Network
from fleetctl.providers.aws.settings import Settings
from fleetctl.providers.aws.tags import machine_tags, tagged

_HOPS = 2
"""From a container to the machine's metadata service and no further."""

_TOKEN_CHARACTERS_MAX = 64  # EC2's own bound


def token(spec: LaunchSpec) -> str:
    """The ClientToken: the Instance's id, told apart from the same id of another fleet in the account."""
    plain = f"{spec.fleet}/{spec.id}"
    if len(plain) <= _TOKEN_CHARACTERS_MAX and plain.isascii():
        return plain
    return hashlib.sha256(plain.encode()).hexdigest()


def run_request(spec: LaunchSpec, settings: Settings, network: Network, image: Image) -> dict[str, object]:
    """The parameters of RunInstances. By its token EC2 answers a repetition with the machine it made."""
    tags = machine_tags(spec)
    request: dict[str, object] = {
        "ClientToken": token(spec),
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": image.id,
        "InstanceType": spec.offer.instance_type,
        "Placement": {"AvailabilityZone": spec.offer.zone},
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": network.subnet,
                "Groups": [network.security_group],
                "AssociatePublicIpAddress": True,
                "DeleteOnTermination": True,
            }
        ],
        "BlockDeviceMappings": [
            {
                "DeviceName": image.root_device,
                "Ebs": {
                    "VolumeSize": max(settings.disk_gb or spec.disk_gb, image.least_disk_gb),
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": _HOPS,
        },
        "TagSpecifications": [
            *tagged("instance", tags),
            *tagged("volume", tags),
            *tagged("network-interface", tags),
        ],
    }
    if network.key:
        request["KeyName"] = network.key
    if spec.user_data:
        request["UserData"] = spec.user_data
    match spec.offer.market:
        case Market.SPOT:
            # One-time: a persistent request would make a new machine, which nobody asked for, after an interruption.
            request["InstanceMarketOptions"] = {
                "MarketType": "spot",
                "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
            }
        case Market.RESERVED:
            # Without this, EC2 falls back to on-demand and its price.
            request["CapacityReservationSpecification"] = {
                "CapacityReservationPreference": "capacity-reservations-only"
            }
        case Market.ON_DEMAND:
            pass
    return request
