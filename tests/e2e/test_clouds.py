"""The clouds as their user meets them: from `up` to nothing left, judged by what each cloud's server holds.

Who judges: for AWS moto, for GCP Google's discovery document, for Azure Microsoft's schemas; the state machines of the
latter two are ours. The machines are played by node agents of this computer, in place of the way over SSH.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cloud_contract import Fault, Kind, Operation, Truth
from cloud_machines import Machines, environment_of
from fleet_home import FleetHome, fleet_home
from no_route import loopback_only

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FLEET = "clouds"

FILE = """\
kind: fleet
name: clouds
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
period: 300ms
providers: {providers}
---
kind: service
name: chat
engine: rehearsal
model: rehearsal-tiny
args: --load-s 0.1 --token-s 0.01
gpu: {gpu}
concurrency: 4
standby: none
scaling: {{policy: fixed, replicas: 2, max: 3}}
placement: {{providers: [{cloud}]}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One cloud's server as this test needs it."""

    name: str
    gpu: str
    options: dict[str, object]
    truth: Callable[[], Truth]
    inject: Callable[[Fault], None]
    zones: Callable[[], list[str]]
    """Of the machines that are there."""


@contextmanager
def aws() -> Iterator[Cloud]:
    from aws_server import AwsServer, backend
    from aws_world import REGIONS, truth

    server = AwsServer()
    server.reset(REGIONS)
    try:
        yield Cloud(
            name="aws",
            gpu="A10G:1",
            options={"regions": list(REGIONS), "endpoint": server.endpoint, "ssh_sources": ["203.0.113.0/24"]},
            truth=lambda: truth(FLEET),
            inject=server.inject,
            zones=lambda: [
                machine.placement
                for region in REGIONS
                for machine in backend("ec2", region).all_instances()
                if machine.state != "terminated"
            ],
        )
    finally:
        server.close()


@contextmanager
def gcp() -> Iterator[Cloud]:
    from gcp_compute import PROJECT
    from gcp_world import inject, served, truth

    with served() as (server, endpoint):
        yield Cloud(
            name="gcp",
            gpu="L4:1",
            options={
                "project": PROJECT,
                "regions": ["us-central1", "europe-west4"],
                "endpoint": endpoint,
                "ssh_sources": ["203.0.113.0/24"],
            },
            truth=lambda: truth(server.compute, FLEET),
            inject=lambda fault: inject(server, fault),
            zones=lambda: [machine["zone"] for machine in server.compute.things["instances"].values()],
        )


@contextmanager
def azure() -> Iterator[Cloud]:
    import tempfile

    from arm_state import VM
    from azure_world import GPU, world

    with tempfile.TemporaryDirectory() as home, world(Path(home)) as made:
        yield Cloud(
            name="azure",
            gpu=str(GPU),
            options=made.options(),
            truth=lambda: made.truth(FLEET),
            inject=made.inject,
            zones=lambda: [f"{one['location']}-{one['zones'][0]}" for one in made.server.cloud.of(VM)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rented:
    """A fleet's home, the cloud that it rents from, and the machines there."""

    home: FleetHome
    cloud: Cloud
    machines: Machines


@pytest.fixture(params=[aws, gcp, azure], ids=lambda made: made.__name__)
def rented(request: pytest.FixtureRequest) -> Iterator[Rented]:
    with loopback_only(), request.param() as cloud, fleet_home() as home:
        home.environment = environment_of(home.environment)
        machines = Machines(
            lambda: {str(machine) for machine in cloud.truth().machines},
            gpus=cloud.gpu,
            environment=home.environment,
        )
        options = {cloud.name: {**cloud.options, "address": machines.address}}
        home.write(
            "fleet.yaml",
            FILE.format(port=home.port, gpu=cloud.gpu, cloud=cloud.name, providers=json.dumps(options)),
        )
        with machines.played():
            yield Rented(home=home, cloud=cloud, machines=machines)


def test_from_up_to_nothing_left(rented: Rented) -> None:
    home, cloud = rented.home, rented.cloud

    refused = home.run("up", "-f", "fleet.yaml", code=3)
    assert cloud.truth().machines == (), "nobody said yes"
    assert "--yes" in refused.err

    up = home.run("up", "-f", "fleet.yaml", "--yes")

    assert up.out == f"{home.url}/chat/v1\n"
    assert len(cloud.truth().machines) == len(set(cloud.truth().machines)) == 2
    rows = home.run("ps", "-i", "-o", "json").json()["items"]
    assert [row["provider"] for row in rows] == [cloud.name] * 2
    assert home.run("gc", "-o", "json").json()["items"] == []
    assert home.run("teardown", "--yes", code=7).err.startswith("error: the fleet still has 2 instances")

    home.run("down", "--all")

    assert cloud.truth().machines == ()
    home.run("teardown", "--yes")
    assert cloud.truth() == Truth(machines=(), others=(), strangers=0)


def test_a_zone_without_capacity_sends_the_launch_to_the_next(rented: Rented) -> None:
    home, cloud = rented.home, rented.cloud
    cloud.inject(Fault(operation=Operation.LAUNCH, kind=Kind.CAPACITY, times=1))

    home.run("up", "-f", "fleet.yaml", "--yes")

    assert len(cloud.truth().machines) == 2
    assert len(set(cloud.zones())) >= 1
    said = home.run("events").out
    assert "the provider refuses it" in said
    home.run("down", "--all")
    home.run("teardown", "--yes")
    assert cloud.truth() == Truth(machines=(), others=(), strangers=0)


def test_a_lost_store_is_rebuilt_from_the_cloud_and_orphans_are_given_back(rented: Rented) -> None:
    home, cloud = rented.home, rented.cloud
    home.run("up", "-f", "fleet.yaml", "--yes")
    before = set(cloud.truth().machines)
    for file in home.root.glob("fleet.db*"):
        file.unlink()

    rebuilt = home.run("rebuild", "-f", "fleet.yaml", "-o", "json").json()["items"]

    assert {row["name"] for row in rebuilt} == before
    assert set(cloud.truth().machines) == before
    orphans = home.run("gc", "-o", "json").json()["items"]
    assert {row["name"] for row in orphans} == before, "no pool claims them yet"
    assert {row["state"] for row in orphans} == {"quarantined"}

    home.run("up", "-f", "fleet.yaml", "--yes")
    assert set(cloud.truth().machines) == before
    assert home.run("gc", "-o", "json").json()["items"] == []

    for file in home.root.glob("fleet.db*"):
        file.unlink()
    home.run("rebuild", "-f", "fleet.yaml")
    home.run("gc", "--delete", "--now", code=3)
    assert set(cloud.truth().machines) == before
    home.run("gc", "--delete", "--now", "--yes")
    assert cloud.truth().machines == ()
    home.run("teardown", "--yes")
    assert cloud.truth() == Truth(machines=(), others=(), strangers=0)
