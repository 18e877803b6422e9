"""What the machines of a region share: a subnet for each zone, a security group, a key. Made once, tagged, found again.

The account's default VPC serves where it has a subnet in the zone; else the fleet gets a VPC of its own. Two processes
that begin at the same moment may make two VPCs: the one that is not chosen is removed at once or, if its maker died,
with the rest of the fleet's leftovers. Everything else has a name or a place that EC2 itself keeps unique.
"""

import asyncio
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetctl.errors import Gone, InvalidRequest, ProviderError
from fleetctl.model.nodes import PEER_PORT
from fleetctl.providers.aws.sdk import Sdk
from fleetctl.providers.aws.settings import Settings
from fleetctl.providers.aws.tags import FLEET, fleet_tags, of_fleet, tagged, tags_of

_VPC_BLOCK = "10.213.0.0/16"
"""Of a VPC of ours. It is joined to no other network, so no other network's addresses can be in its way."""

_SUBNET_PREFIX = 20
"""4,091 machines in a zone, and 16 zones in a region; the largest region has six."""

_EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where a machine of one zone is put."""

    subnet: str
    security_group: str
    key: str
    """The key pair's name; empty: nobody may log in by key."""


class Networks:
    """The networks of one fleet, made when they are first needed and remembered until something removes them."""

    def __init__(self, sdk: Sdk, settings: Settings, fleet: str) -> None:
        self._sdk = sdk
        self._settings = settings
        self._fleet = fleet
        self._turns: dict[str, asyncio.Lock] = {}
        self._known: dict[tuple[str, str, str], Network] = {}

    async def of(self, region: str, zone: str, ssh_key: str) -> Network:
        """The zone's network; `ssh_key` is one line of `authorized_keys`, or empty."""
        wanted = (region, zone, ssh_key)
        if wanted not in self._known:
            async with self._turns.setdefault(region, asyncio.Lock()):
                if wanted not in self._known:
                    self._known[wanted] = await self._ensure(region, zone, ssh_key)
        return self._known[wanted]

    def forget(self, region: str) -> None:
        """Look at the region anew the next time."""
        self._known = {key: network for key, network in self._known.items() if key[0] != region}

    async def _ensure(self, region: str, zone: str, ssh_key: str) -> Network:
        subnet = await self._default_subnet(region, zone) or await self._own_subnet(region, zone)
        return Network(
            subnet=subnet["SubnetId"],
            security_group=await self._security_group(region, subnet["VpcId"]),
            key=await self._key(region, ssh_key) if ssh_key else "",
        )

    async def _default_subnet(self, region: str, zone: str) -> Mapping[str, Any] | None:
        filters = [{"Name": "default-for-az", "Values": ["true"]}, {"Name": "availability-zone", "Values": [zone]}]
        found = await self._sdk.pages(region, "describe_subnets", "Subnets", Filters=filters)
        return min(found, key=lambda subnet: str(subnet["SubnetId"]), default=None)

    async def _own_subnet(self, region: str, zone: str) -> Mapping[str, Any]:
        vpc = await self._own_vpc(region)
        await self._way_out(region, vpc)
        there = await self._sdk.pages(
            region, "describe_subnets", "Subnets", Filters=[{"Name": "vpc-id", "Values": [vpc]}, *of_fleet(self._fleet)]
        )
        for subnet in there:
            if subnet["AvailabilityZone"] == zone:
                return dict(subnet)
        taken = {subnet["CidrBlock"] for subnet in there}
        for block in ipaddress.ip_network(_VPC_BLOCK).subnets(new_prefix=_SUBNET_PREFIX):
            if str(block) not in taken:
                made = await self._sdk.change(
                    region,
                    "create_subnet",
                    VpcId=vpc,
                    AvailabilityZone=zone,
                    CidrBlock=str(block),
                    TagSpecifications=tagged("subnet", fleet_tags(self._fleet)),
                )
                return dict(made["Subnet"])
        raise ProviderError(f"aws: {vpc} in {region}: no room for a subnet in {zone}", hint="fleetctl teardown")

    async def _own_vpc(self, region: str) -> str:
        found = await self._own_vpcs(region)
        if found:
            return found[0]
        answer = await self._sdk.change(
            region,
            "create_vpc",
            CidrBlock=_VPC_BLOCK,
            TagSpecifications=tagged("vpc", fleet_tags(self._fleet)),
        )
        made = str(answer["Vpc"]["VpcId"])
        chosen = min([made, *await self._own_vpcs(region)])
        if chosen != made:  # another process was as quick
            await self._sdk.change(region, "delete_vpc", VpcId=made)
        return chosen

    async def _own_vpcs(self, region: str) -> list[str]:
        found = await self._sdk.pages(region, "describe_vpcs", "Vpcs", Filters=of_fleet(self._fleet))
        return sorted(str(vpc["VpcId"]) for vpc in found)

    async def _way_out(self, region: str, vpc: str) -> None:
        """The VPC's internet gateway, and the route to it."""
        tables = await self._sdk.pages(
            region, "describe_route_tables", "RouteTables", Filters=[{"Name": "vpc-id", "Values": [vpc]}]
        )
        main = next(table for table in tables if any(link.get("Main") for link in table["Associations"]))
        if any(route.get("DestinationCidrBlock") == _EVERYWHERE for route in main["Routes"]):
            return
        gateways = await self._sdk.pages(
            region, "describe_internet_gateways", "InternetGateways", Filters=of_fleet(self._fleet)
        )
        joined = [one for one in gateways if any(link["VpcId"] == vpc for link in one.get("Attachments", ()))]
        free = [one for one in gateways if not one.get("Attachments")]
        if joined:
            gateway = str(joined[0]["InternetGatewayId"])
        else:
            gateway = str(free[0]["InternetGatewayId"]) if free else await self._make_gateway(region)
            await self._sdk.change(region, "attach_internet_gateway", InternetGatewayId=gateway, VpcId=vpc)
        try:
            await self._sdk.change(
                region,
                "create_route",
                RouteTableId=main["RouteTableId"],
                DestinationCidrBlock=_EVERYWHERE,
                GatewayId=gateway,
            )
        except ProviderError as error:
            if error.provider_code != "RouteAlreadyExists":
                raise

    async def _make_gateway(self, region: str) -> str:
        answer = await self._sdk.change(
            region,
            "create_internet_gateway",
            TagSpecifications=tagged("internet-gateway", fleet_tags(self._fleet)),
        )
        return str(answer["InternetGateway"]["InternetGatewayId"])

    async def _security_group(self, region: str, vpc: str) -> str:
        group = await self._find_group(region, vpc)
        if group is None:
            try:
                answer = await self._sdk.change(
                    region,
                    "create_security_group",
                    GroupName=self._group_name,
                    Description="Machines of the fleet: port 22 from the configured sources, one port from each other",
                    VpcId=vpc,
                    TagSpecifications=tagged("security-group", fleet_tags(self._fleet)),
                )
                group = {"GroupId": answer["GroupId"], "IpPermissions": []}
            except InvalidRequest as error:
                group = await self._find_group(region, vpc) if error.provider_code == "InvalidGroup.Duplicate" else None
                if group is None:
                    raise
        await self._open_ports(region, group)
        return str(group["GroupId"])

    async def _find_group(self, region: str, vpc: str) -> Mapping[str, Any] | None:
        found = await self._sdk.pages(
            region,
            "describe_security_groups",
            "SecurityGroups",
            Filters=[{"Name": "group-name", "Values": [self._group_name]}, {"Name": "vpc-id", "Values": [vpc]}],
        )
        if found and tags_of(found[0]).get(FLEET) != self._fleet:
            raise InvalidRequest(
                f"aws: the security group {self._group_name} in {region} does not carry this fleet's tag",
                hint="rename it, or give the fleet another name",
            )
        return found[0] if found else None

    @property
    def _group_name(self) -> str:
        return f"fleetctl-{self._fleet}"

    async def _open_ports(self, region: str, group: Mapping[str, Any]) -> None:
        """Let the configured sources in at port 22 and the group's machines in at the peers' port, and shut out whoever
        else was let in before."""
        wanted = [_among(group["GroupId"]), *(_rule(source) for source in self._settings.ssh_sources)]
        there = [rule for permission in group["IpPermissions"] for rule in _apart(permission)]
        more, less = [rule for rule in wanted if rule not in there], [rule for rule in there if rule not in wanted]
        if less:
            await self._sdk.change(
                region, "revoke_security_group_ingress", GroupId=group["GroupId"], IpPermissions=less
            )
        if more and not await self._allow(region, group, more):
            for rule in more:  # one that is there already keeps all of its request out
                await self._allow(region, group, [rule])

    async def _allow(self, region: str, group: Mapping[str, Any], rules: Sequence[Mapping[str, object]]) -> bool:
        """Whether they were all new; if not, another process was as quick, and none of them was added."""
        try:
            await self._sdk.change(
                region, "authorize_security_group_ingress", GroupId=group["GroupId"], IpPermissions=rules
            )
        except InvalidRequest as error:
            if error.provider_code != "InvalidPermission.Duplicate":
                raise
            return False
        return True

    async def _key(self, region: str, ssh_key: str) -> str:
        """The key pair's name, which says which key it holds."""
        name = f"fleetctl-{self._fleet}-{hashlib.sha256(ssh_key.encode()).hexdigest()[:12]}"
        try:
            await self._sdk.read(region, "describe_key_pairs", KeyNames=[name])
        except (InvalidRequest, Gone) as error:
            if error.provider_code != "InvalidKeyPair.NotFound":
                raise
        else:
            return name
        try:
            await self._sdk.change(
                region,
                "import_key_pair",
                KeyName=name,
                PublicKeyMaterial=ssh_key.encode(),
                TagSpecifications=tagged("key-pair", fleet_tags(self._fleet)),
            )
        except InvalidRequest as error:
            if error.provider_code != "InvalidKeyPair.Duplicate":
                raise
        return name


def _rule(source: str) -> dict[str, object]:
    ranges = {"Ipv6Ranges": [{"CidrIpv6": source}]} if ":" in source else {"IpRanges": [{"CidrIp": source}]}
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}


def _among(group: str) -> dict[str, object]:
    """The group as its own source: EC2 lets in the private addresses of the machines that have it, and nobody else."""
    sources = {"UserIdGroupPairs": [{"GroupId": group}]}
    return {"IpProtocol": "tcp", "FromPort": PEER_PORT, "ToPort": PEER_PORT, **sources}


def _apart(permission: Mapping[str, Any]) -> Sequence[dict[str, object]]:
    """A permission as one rule for each of its sources, in the shape of `_rule` and `_among`."""
    ports = {key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in permission}
    sources: list[dict[str, object]] = [
        {"IpRanges": [{"CidrIp": one["CidrIp"]}]} for one in permission.get("IpRanges", ())
    ]
    sources += [{"Ipv6Ranges": [{"CidrIpv6": one["CidrIpv6"]}]} for one in permission.get("Ipv6Ranges", ())]
    sources += [
        {"PrefixListIds": [{"PrefixListId": one["PrefixListId"]}]} for one in permission.get("PrefixListIds", ())
    ]
    sources += [{"UserIdGroupPairs": [{"GroupId": one["GroupId"]}]} for one in permission.get("UserIdGroupPairs", ())]
    return [{**ports, **source} for source in sources]
