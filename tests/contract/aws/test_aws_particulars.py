"""What is true of AWS alone. Judge: boto3 over real HTTP against moto; quotas and refusals are ours (`aws_server`)."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_server import GPU_IMAGE, IMAGE, AwsServer, backend, put_parameter
from aws_world import (  # noqa: F401  # fixtures
    BARE_REGION,
    LIMITS,
    REGIONS,
    cloud_of,
    offer,
    running_server,
    server,
    settings,
    truth,
)
from cloud_contract import (
    FLEET,
    ONE,
    THREE,
    TWO,
    Fault,
    Kind,
    Operation,
    Truth,
    give_back,
    launch_spec,
    listed,
    nothing,
)

from fleetctl.errors import (
    Gone,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
)
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Market, Placement, Pool
from fleetctl.paths import Home
from fleetctl.providers import Setup, load
from fleetctl.providers.aws import AwsProvider, permissions
from fleetctl.providers.aws.settings import read_settings

POOL = Pool(name=PoolName("gpu"), gpu=(Gpu(name="A10G", count=4),))


def provider_of(server: AwsServer, **more: object) -> AwsProvider:  # noqa: F811
    return AwsProvider(settings(server, **more), fleet=FLEET, limits=LIMITS)


def asked(server: AwsServer, action: str) -> dict[str, str]:  # noqa: F811
    """The parameters of the one request of that action."""
    (found,) = [parameters for name, parameters in server.requests if name == action]
    return found


def without_default_subnets(region: str) -> Any:
    """The region's memory, as in an account whose default network somebody has taken away."""
    memory = backend("ec2", region)
    for subnet in (subnet for subnets in memory.subnets.values() for subnet in subnets.values()):
        subnet.default_for_az = False
    return memory


def tags_asked(parameters: dict[str, str], kind: str) -> dict[str, str]:
    """The tags that a creating request sends along for one kind of thing."""
    starts = [
        key.removesuffix("ResourceType")
        for key, value in parameters.items()
        if key.startswith("TagSpecification.") and value == kind
    ]
    keys = {key: value for start in starts for key, value in parameters.items() if key.startswith(start + "Tag.")}
    return {value: keys[key.removesuffix("Key") + "Value"] for key, value in keys.items() if key.endswith(".Key")}


async def test_launch_asks_for_a_machine_that_takes_everything_with_it(server: AwsServer) -> None:  # noqa: F811
    provider = provider_of(server)
    spec = replace(launch_spec(cloud_of(server)), disk_gb=300)

    await provider.launch(spec)

    request = asked(server, "RunInstances")
    assert (request["MinCount"], request["MaxCount"]) == ("1", "1")
    assert request["ClientToken"] == f"{FLEET}/{ONE}"
    assert (request["ImageId"], request["InstanceType"]) == (IMAGE, "g5.12xlarge")
    assert base64.b64decode(request["UserData"]).decode() == spec.user_data
    assert request["MetadataOptions.HttpTokens"] == "required"
    assert {key: value for key, value in request.items() if key.startswith("BlockDeviceMapping.1.Ebs")} == {
        "BlockDeviceMapping.1.Ebs.VolumeSize": "300",
        "BlockDeviceMapping.1.Ebs.VolumeType": "gp3",
        "BlockDeviceMapping.1.Ebs.Encrypted": "true",
        "BlockDeviceMapping.1.Ebs.DeleteOnTermination": "true",
    }
    assert request["NetworkInterface.1.DeleteOnTermination"] == "true"
    assert not any(key.startswith("InstanceMarketOptions") for key in request)
    for kind in ("instance", "volume", "network-interface"):
        tags = tags_asked(request, kind)
        assert (tags["fleetctl-fleet"], tags["fleetctl-pool"], tags["fleetctl-id"]) == (FLEET, "gpu", ONE)
    await give_back(provider)
    await provider.close()


async def test_spot_is_asked_for_once_and_never_comes_back_by_itself(server: AwsServer) -> None:  # noqa: F811
    provider = provider_of(server)
    spot = replace(launch_spec(cloud_of(server)), offer=offer(market=Market.SPOT))

    await provider.launch(spot)
    (line,) = (await provider.list(FLEET)).instances

    request = asked(server, "RunInstances")
    assert request["InstanceMarketOptions.MarketType"] == "spot"
    assert request["InstanceMarketOptions.SpotOptions.SpotInstanceType"] == "one-time"
    assert request["InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior"] == "terminate"
    assert line.offer == spot.offer
    await give_back(provider)
    await provider.close()


async def test_reserved_capacity_never_falls_back_to_on_demand(server: AwsServer) -> None:  # noqa: F811
    provider = provider_of(server)

    await provider.launch(replace(launch_spec(cloud_of(server)), offer=offer(market=Market.RESERVED)))
    (line,) = (await provider.list(FLEET)).instances

    request = asked(server, "RunInstances")
    assert request["CapacityReservationSpecification.CapacityReservationPreference"] == "capacity-reservations-only"
    assert line.offer.market is Market.RESERVED
    await give_back(provider)
    await provider.close()


async def test_region_without_a_default_network_gets_one_of_the_fleets_own(server: AwsServer) -> None:  # noqa: F811
    memory = without_default_subnets(BARE_REGION)
    provider = provider_of(server, regions=(BARE_REGION,))
    cloud = cloud_of(server, regions=(BARE_REGION,))

    for one, zone in ((ONE, 0), (TWO, 0), (THREE, 1)):
        await provider.launch(launch_spec(cloud, one, zone=zone))
    rival = provider_of(server, regions=(BARE_REGION,))
    await rival.launch(launch_spec(cloud, ONE))
    left = await provider.leftovers(FLEET)
    (own,) = [vpc for vpc in memory.vpcs.values() if not vpc.is_default]
    routes = [
        route.gateway for table in memory.route_tables.values() if table.vpc_id == own.id for route in table.routes
    ]

    assert [leftover.kind for leftover in left if leftover.kind != "volume"] == [
        *["network-interface"] * sum(leftover.kind == "network-interface" for leftover in left),
        "security-group",
        "subnet",
        "subnet",
        "internet-gateway",
        "vpc",
        "key-pair",
    ]
    assert sum(gateway is not None for gateway in routes) == 1, "there is a way out"
    await give_back(provider)
    assert truth(FLEET, (BARE_REGION,)) == Truth(machines=(), others=())
    assert own.id not in memory.vpcs
    await provider.close()
    await rival.close()


async def test_own_network_killed_while_it_is_made_is_made_further(server: AwsServer) -> None:  # noqa: F811
    memory = without_default_subnets(BARE_REGION)
    cloud = cloud_of(server, regions=(BARE_REGION,))

    for failing in range(8):
        provider = provider_of(server, regions=(BARE_REGION,))
        for _ in range(failing):
            server.inject(Fault(operation=Operation.PREPARE, kind=Kind.CUT))
        for _ in range(failing):
            with pytest.raises(ProviderError):
                await provider.launch(launch_spec(cloud))
        await provider.launch(launch_spec(cloud))

        own = [vpc for vpc in memory.vpcs.values() if not vpc.is_default]
        assert len(own) == 1, f"{failing} answers were lost, and each thing was done"
        await give_back(provider)
        assert truth(FLEET, (BARE_REGION,)) == Truth(machines=(), others=())
        server.forget_terminated((BARE_REGION,))
        await provider.close()


async def test_port_22_is_open_to_the_configured_sources_only(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    for place, sources in enumerate((("203.0.113.0/24", "2001:db8::/32"), ("198.51.100.7/32",), ())):
        provider = AwsProvider(replace(settings(server), ssh_sources=sources), fleet=FLEET, limits=LIMITS)
        await provider.launch(launch_spec(cloud, (ONE, TWO, THREE)[place]))
        (group,) = [
            group
            for groups in backend("ec2", "us-east-1").groups.values()
            for group in groups.values()
            if group.name == f"fleetctl-{FLEET}"
        ]

        rules = [
            (rule.ip_protocol, rule.from_port, rule.to_port, rule.ip_range.get("CidrIp") or rule.ip_range["CidrIpv6"])
            for rule in group.ingress_rules
            if rule.from_port <= 22 <= rule.to_port
        ]
        assert sorted(rules) == sorted(("tcp", 22, 22, source) for source in sources)
        await provider.close()
    await give_back(cloud.make(FLEET, nothing))


async def test_instances_of_every_region_are_listed_and_found(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    west = replace(launch_spec(cloud, TWO), offer=offer("us-west-2a", region="us-west-2"))
    provider, other = cloud.make(FLEET, nothing), cloud.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    await provider.launch(west)

    seen = {line.id: line.offer for line in (await other.list(FLEET)).instances}
    await other.terminate(TWO)

    assert seen == {ONE: cloud.offers[0], TWO: west.offer}
    assert truth(FLEET).machines == (ONE,)
    with pytest.raises(InvalidRequest, match="is not configured"):
        await provider.launch(replace(west, id=THREE, offer=offer("eu-west-1a", region="eu-west-1")))
    await give_back(provider)
    assert truth(FLEET) == Truth(machines=(), others=())
    for made in (provider, other):
        await made.close()


async def test_newer_image_between_two_attempts_makes_no_second_machine(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    server.inject(Fault(operation=Operation.LAUNCH, kind=Kind.CUT))
    with pytest.raises(OutcomeUnknown):
        await cloud.make(FLEET, nothing).launch(launch_spec(cloud))
    put_parameter("us-east-1", GPU_IMAGE, "ami-785db401")
    later = cloud.make(FLEET, nothing)
    server.inject(Fault(operation=Operation.LIST, kind=Kind.HIDDEN, times=2))

    with pytest.raises(OutcomeUnknown) as unsettled:
        await later.launch(launch_spec(cloud))
    await later.launch(launch_spec(cloud))

    assert unsettled.value.provider_code == "IdempotentParameterMismatch"
    assert truth(FLEET).machines == (ONE,)
    await give_back(later)
    await later.close()


async def test_terminated_id_is_never_made_again(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    provider = cloud.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    await provider.terminate(ONE)

    with pytest.raises(Gone):
        await provider.launch(launch_spec(cloud))
    server.inject(Fault(operation=Operation.LIST, kind=Kind.HIDDEN))
    with pytest.raises(Gone):
        await provider.launch(launch_spec(cloud))

    assert truth(FLEET).machines == ()
    await give_back(provider)
    await provider.close()


async def test_machine_not_listed_yet_is_terminated_by_who_made_it(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    provider = cloud.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    server.inject(Fault(operation=Operation.LIST, kind=Kind.HIDDEN, times=2))

    await provider.terminate(ONE)

    assert truth(FLEET).machines == ()
    server.clear()
    await give_back(provider)
    await provider.close()


async def test_type_that_the_zone_lacks_is_no_capacity_there(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    provider = cloud.make(FLEET, nothing)
    wrong = replace(offer("us-east-1e"), instance_type="p4d.24xlarge", gpu=Gpu(name="A100", count=8))

    with pytest.raises(NoCapacity) as refused:
        await provider.launch(replace(launch_spec(cloud), offer=wrong))

    assert refused.value.provider_code == "Unsupported"
    assert "us-east-1e" not in {one.zone for one in await provider.offers(POOL) if one.instance_type == "p4d.24xlarge"}
    await give_back(provider)
    await provider.close()


async def test_offers_say_how_many_the_quota_still_allows(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    provider = cloud.make(FLEET, nothing)
    unknown = await provider.offers(POOL)
    server.vcpu_quota["L-DB2E81BA"] = 4 * 48 + 20

    fresh = await provider.offers(POOL)
    spot = await provider.offers(replace(POOL, placement=Placement(market=Market.SPOT)))
    checks = await provider.checks((POOL,))
    server.vcpu_quota["L-DB2E81BA"] = 20
    short = await provider.checks((POOL,))

    assert {one.quota_left for one in unknown} == {None}
    assert {one.quota_left for one in fresh if one.instance_type == "g5.12xlarge"} == {4}
    assert {one.quota_left for one in spot} == {None}, "another quota, which is not known"
    assert {one.region for one in fresh} == set(REGIONS)
    by_name = {check.check: check for check in checks}
    assert by_name["aws us-east-1 quota of pool gpu"].status == "ok"
    assert {check.status for check in short if "quota" in check.check} == {"fail"}
    await provider.close()


async def test_image_that_is_not_there_is_told_with_its_path(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    for image, wanted in (("/mine/image", "/mine/image"), ("ami-00000000000000000", "InvalidAMIID.NotFound")):
        provider = AwsProvider(replace(settings(server), image=image), fleet=FLEET, limits=LIMITS)
        with pytest.raises(InvalidRequest, match=wanted):
            await provider.launch(launch_spec(cloud))
        assert [check for check in await provider.checks((POOL,)) if check.status == "fail"]
        await provider.close()

    assert truth(FLEET) == Truth(machines=(), others=()), "the image is looked up before anything is made"


async def test_policy_allows_what_is_sent_and_nothing_else(server: AwsServer) -> None:  # noqa: F811
    memory = without_default_subnets(BARE_REGION)
    options = {"regions": [BARE_REGION], "endpoint": server.endpoint, "ssh_sources": ["203.0.113.0/24"]}
    provider = AwsProvider(read_settings(options), fleet=FLEET, limits=LIMITS)
    cloud = cloud_of(server, regions=(BARE_REGION,))
    server.vcpu_quota["L-DB2E81BA"] = 1000
    server.recorded.clear()

    await provider.offers(POOL)
    await provider.launch(launch_spec(cloud))
    await AwsProvider(replace(settings(server), regions=(BARE_REGION,), ssh_sources=()), fleet=FLEET).launch(
        launch_spec(cloud, TWO)
    )
    await provider.checks((POOL,))
    await provider.console(ONE)
    await provider.stop(ONE)
    await provider.start(ONE)
    volume = memory.create_volume(size=1, zone_name=f"{BARE_REGION}a")
    volume.add_tags({"fleetctl-fleet": FLEET})
    card = memory.create_network_interface(memory.describe_subnets()[0], "10.213.0.99", tags={"fleetctl-fleet": FLEET})
    await give_back(provider)

    sent = set(server.recorded)
    policy = permissions(options)
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert (volume.id in memory.volumes, card.id in memory.enis) == (False, False)
    assert allowed - sent == {"ec2:CreateTags"}, "CreateTags is asked for by requests that send tags along"
    assert sent - allowed == set()
    assert json.loads(json.dumps(policy)) == policy
    assert all(BARE_REGION in json.dumps(one) for one in policy["Statement"] if "Make" in one["Sid"])
    await provider.close()


async def test_maker_takes_the_settings_of_the_fleets_file(server: AwsServer, tmp_path: Path) -> None:  # noqa: F811
    options = {"regions": list(REGIONS), "endpoint": server.endpoint, "address": "unix:/run/{id}.sock", "disk_gb": 500}
    key = launch_spec(cloud_of(server)).ssh_key
    made = load("aws")(Setup(fleet=FLEET, home=Home(tmp_path), options=options, ssh_key=key))

    await made.launch(replace(launch_spec(cloud_of(server)), ssh_key=""))
    (line,) = (await made.list(FLEET)).instances

    assert line.address == f"unix:/run/{ONE}.sock"
    assert asked(server, "RunInstances")["BlockDeviceMapping.1.Ebs.VolumeSize"] == "500"
    assert asked(server, "RunInstances")["KeyName"].startswith(f"fleetctl-{FLEET}-")
    assert asked(server, "RunInstances")["NetworkInterface.1.SubnetId"]
    assert set(await listed(made)) == {ONE}
    await give_back(made)
    await made.close()
