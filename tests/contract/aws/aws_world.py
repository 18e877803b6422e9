"""The AWS side of the cloud contract: the server, the Provider made for it, and the server's memory as truth."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from aws_server import AwsServer, backend
from cloud_contract import PATIENCE_S, Boundary, CloudUnderTest, Truth
from no_route import loopback_only

from fleetctl.model.instances import Offer
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Market, Pool
from fleetctl.providers.aws import AwsProvider
from fleetctl.providers.aws.settings import AWS, Limits, Settings

REGIONS = ("us-east-1", "us-west-2")
BARE_REGION = "eu-central-1"
"""Where tests take the default VPC away."""

LIMITS = Limits(connect_s=2.0, read_s=1.5, attempts=1)
"""Long for a server on this machine, short for a test; one attempt, since a repetition would only wait."""
PATIENT = Limits(connect_s=PATIENCE_S, read_s=PATIENCE_S, attempts=1)


def offer(zone: str = "us-east-1a", *, market: Market = Market.ON_DEMAND, region: str = "us-east-1") -> Offer:
    return Offer(
        provider=AWS,
        instance_type="g5.12xlarge",
        gpu=Gpu(name="A10G", count=4),
        zone=zone,
        market=market,
        price_per_hour=5.672,
        price_source="declared",
        price_as_of=1_790_000_000.0,
        region=region,
    )


def settings(server: AwsServer, *, regions: tuple[str, ...] = REGIONS, **more: Any) -> Settings:
    return Settings(regions=regions, ssh_sources=("203.0.113.0/24",), endpoint=server.endpoint, **more)


def cloud_of(server: AwsServer, *, regions: tuple[str, ...] = REGIONS, limits: Limits = LIMITS) -> CloudUnderTest:
    def make(fleet: str, boundary: Boundary) -> AwsProvider:
        return AwsProvider(settings(server, regions=regions), fleet=fleet, limits=limits, boundary=boundary)

    home = regions[0]
    return CloudUnderTest(
        make=make,
        offers=(offer(f"{home}a", region=home), offer(f"{home}b", region=home)),
        pool=Pool(name=PoolName("gpu"), gpu=(Gpu(name="A10G", count=4),)),
        inject=server.inject,
        clear=server.clear,
        truth=lambda fleet: truth(fleet, regions),
        stranger=lambda: stranger(home),
    )


def truth(fleet: str, regions: Iterable[str] = REGIONS) -> Truth:
    machines: list[InstanceId] = []
    others: list[str] = []
    strangers = 0
    for region in regions:
        memory = backend("ec2", region)
        for machine in memory.all_instances():
            tags = memory.tags.get(machine.id, {})
            if machine.state == "terminated":
                continue
            if tags.get("fleetctl-fleet") == fleet:
                machines.append(InstanceId(tags["fleetctl-id"]))
            elif "fleetctl-fleet" not in tags:
                strangers += 1
        others += [
            f"{region} {type(thing).__name__} {thing.id}"
            for thing in _things(memory)
            if memory.tags.get(thing.id, {}).get("fleetctl-fleet") == fleet
        ]
    return Truth(machines=tuple(machines), others=tuple(sorted(others)), strangers=strangers)


def stranger(region: str) -> None:
    """A machine, and a key for it, made by hand in the same account."""
    backend("ec2", region).run_instances(
        "ami-1e749f67", 1, None, [], instance_type="t3.micro", is_instance_type_default=True, key_name=_key(region)
    )


def _key(region: str) -> str:
    backend("ec2", region).create_key_pair("by-hand", "ed25519", {})
    return "by-hand"


def _things(memory: Any) -> list[Any]:
    return [
        *memory.volumes.values(),
        *memory.enis.values(),
        *(group for groups in memory.groups.values() for group in groups.values()),
        *(subnet for subnets in memory.subnets.values() for subnet in subnets.values()),
        *memory.internet_gateways.values(),
        *memory.vpcs.values(),
        *memory.key_pairs.values(),
        *memory.addresses,
    ]


@pytest.fixture(scope="session")
def running_server() -> Iterator[AwsServer]:
    made = AwsServer()
    yield made
    made.close()


@pytest.fixture
def server(running_server: AwsServer) -> Iterator[AwsServer]:
    with loopback_only():
        running_server.reset((*REGIONS, BARE_REGION))
        yield running_server
        running_server.clear()
