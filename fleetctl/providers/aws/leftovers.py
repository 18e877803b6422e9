"""Everything a fleet owns at EC2 besides machines: found by its tag, removed in an order that EC2 allows."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetctl.errors import InvalidRequest, ProviderError
from fleetctl.model.instances import Leftover
from fleetctl.model.names import InstanceId
from fleetctl.providers.aws.sdk import Sdk
from fleetctl.providers.aws.settings import AWS
from fleetctl.providers.aws.tags import FLEET, ID, of_fleet, tags_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How EC2 lists and deletes one kind of thing."""

    name: str
    describe: str
    list_key: str
    id_key: str
    ids: str
    delete: str
    made_key: str = ""
    paged: bool = True
    free: bool = True
    """Whether it costs nothing."""


_KINDS = (
    _Kind(
        name="network-interface",
        describe="describe_network_interfaces",
        list_key="NetworkInterfaces",
        id_key="NetworkInterfaceId",
        ids="NetworkInterfaceIds",
        delete="delete_network_interface",
    ),
    _Kind(
        name="volume",
        describe="describe_volumes",
        list_key="Volumes",
        id_key="VolumeId",
        ids="VolumeIds",
        delete="delete_volume",
        made_key="CreateTime",
        free=False,
    ),
    _Kind(
        name="security-group",
        describe="describe_security_groups",
        list_key="SecurityGroups",
        id_key="GroupId",
        ids="GroupIds",
        delete="delete_security_group",
    ),
    _Kind(
        name="subnet",
        describe="describe_subnets",
        list_key="Subnets",
        id_key="SubnetId",
        ids="SubnetIds",
        delete="delete_subnet",
    ),
    _Kind(
        name="internet-gateway",
        describe="describe_internet_gateways",
        list_key="InternetGateways",
        id_key="InternetGatewayId",
        ids="InternetGatewayIds",
        delete="delete_internet_gateway",
    ),
    _Kind(
        name="vpc",
        describe="describe_vpcs",
        list_key="Vpcs",
        id_key="VpcId",
        ids="VpcIds",
        delete="delete_vpc",
    ),
    _Kind(
        name="key-pair",
        describe="describe_key_pairs",
        list_key="KeyPairs",
        id_key="KeyName",
        ids="KeyNames",
        delete="delete_key_pair",
        made_key="CreateTime",
        paged=False,
    ),
)
"""In the order of removal: what is inside before what it is in."""


async def leftovers(sdk: Sdk, regions: Sequence[str], fleet: str) -> tuple[Leftover, ...]:
    """All regions' leftovers, in the order of removal. One list that fails is no answer."""
    found = await asyncio.gather(*(_of_kind(sdk, region, kind, fleet) for kind in _KINDS for region in regions))
    return tuple(leftover for some in found for leftover in some)


async def remove(sdk: Sdk, leftover: Leftover, fleet: str) -> None:
    """Remove it if it is there. Raises `InvalidRequest` for what lacks the fleet's tag or is in use."""
    kind = next((kind for kind in _KINDS if kind.name == leftover.kind), None)
    if kind is None:
        raise InvalidRequest(f"aws: {leftover.kind} {leftover.id}: not a kind of thing that is ever made here")
    try:
        one: dict[str, object] = {kind.ids: [leftover.id]}
        answer = await sdk.read(leftover.region, kind.describe, **one)
        for thing in answer[kind.list_key]:
            if tags_of(thing).get(FLEET) != fleet:
                raise InvalidRequest(
                    f"aws: {leftover.kind} {leftover.id} in {leftover.region} does not carry the tag {FLEET}={fleet}",
                    hint="it is left alone",
                )
            for link in thing.get("Attachments", ()) if kind.name == "internet-gateway" else ():
                await sdk.change(
                    leftover.region, "detach_internet_gateway", InternetGatewayId=leftover.id, VpcId=link["VpcId"]
                )
            await sdk.change(leftover.region, kind.delete, **{kind.id_key: leftover.id})
    except ProviderError as error:
        if not error.provider_code.endswith(".NotFound"):
            raise


async def _of_kind(sdk: Sdk, region: str, kind: _Kind, fleet: str) -> list[Leftover]:
    if kind.paged:
        things = await sdk.pages(region, kind.describe, kind.list_key, Filters=of_fleet(fleet))
    else:
        things = list((await sdk.read(region, kind.describe, Filters=of_fleet(fleet)))[kind.list_key])
    return [_leftover(thing, kind, region) for thing in things]


def _leftover(thing: Mapping[str, Any], kind: _Kind, region: str) -> Leftover:
    made = thing.get(kind.made_key) if kind.made_key else None
    owner = tags_of(thing).get(ID)
    return Leftover(
        provider=AWS,
        kind=kind.name,
        id=str(thing[kind.id_key]),
        region=region,
        instance=InstanceId(owner) if owner else None,
        created_at=made.timestamp() if made is not None else None,
        price_per_hour=0.0 if kind.free else None,
    )
