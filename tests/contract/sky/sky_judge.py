"""A program: the real SkyPilot, its API server and our Provider against moto's EC2, in a namespace with no way out.

Run by `test_sky_judge.py` as `unshare -n … python sky_judge.py PYTHON_OF_SKYPILOT FOLDER`. Prints what it found as one
JSON document. The tables that SkyPilot would fetch are three lines of ours; `rsync`, which SkyPilot looks for and
has no use for here, is a program that fails.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from fleetctl.errors import FleetError
from fleetctl.model.instances import LaunchSpec
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Pool
from fleetctl.paths import Home
from fleetctl.providers import Setup
from fleetctl.providers.sky.process import Limits
from fleetctl.providers.sky.provider import SkyProvider

IMAGE = "ami-1e749f67"
"""An Ubuntu image that moto knows."""
REGIONS = {"us-east-1": ("use1-az1", 0.8048), "us-west-2": ("usw2-az1", 0.8)}
POOL = Pool(name=PoolName("gpu"), gpu=(Gpu(name="L4"),))
BOUND_S = 90.0
LIMITS = Limits(start_s=120.0, read_s=120.0, change_s=120.0)
"""SkyPilot is slow on a busy machine; nothing here is about speed."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def seed_catalog(home: Path) -> None:
    """The tables as SkyPilot 0.14.1 has them (v8), for one GPU machine and one without."""
    folder = home / ".sky" / "catalogs" / "v8"
    for cloud in ("common", "aws"):
        (folder / cloud).mkdir(parents=True)
    gpu = "{'Gpus': [{'Name': 'L4', 'Count': 1.0, 'MemoryInfo': {'SizeInMiB': 24576}}], 'TotalGpuMemoryInMiB': 24576}"
    machines = ["InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,"]
    machines[0] += "AvailabilityZone,Arch"
    images = ["Tag,Region,OS,OSVersion,ImageId,CreationDate"]
    for region, (zone, price) in REGIONS.items():
        machines.append(f'g6.xlarge,L4,1,4,16,"{gpu}",{price},0.3,{region},{zone},x86_64')
        machines.append(f"m6i.large,,,2,8,,0.1,0.04,{region},{zone},x86_64")
        tags = ("custom-gpu-ubuntu-cuda13", "custom-gpu-ubuntu", "custom-cpu-ubuntu")
        images += [f"skypilot:{tag},{region},ubuntu,22.04,{IMAGE},20250101" for tag in tags]
    quotas = "InstanceType,OnDemandInstanceCode,SpotInstanceCode\ng6.xlarge,L-DB2E81BA,L-3819A6DF\n"
    (folder / "common/accelerators.csv").write_text("AcceleratorName,Clouds,Aliases\nL4,\"['AWS']\",[]\n")
    (folder / "common/metadata.csv").write_text("Cloud,LastUpdated\n")
    (folder / "aws/vms.csv").write_text("\n".join(machines) + "\n")
    (folder / "aws/images.csv").write_text("\n".join(images) + "\n")
    (folder / "aws/instance_quota_mapping.csv").write_text(quotas)


def settle_environment(folder: Path, python: Path, endpoint: str) -> None:
    """This process's own, which the bridge and SkyPilot's server take over."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "rsync").write_text('#!/bin/sh\n[ "$1" = --version ]\n')
    (programs / "rsync").chmod(0o700)
    for name in [name for name in os.environ if name.startswith(("AWS_", "SKYPILOT_", "KUBE"))]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(folder / "home"),
        "PATH": f"{programs}:{python.parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SKYPILOT_API_SERVER_LOCAL_PORT": str(free_port()),
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        # For the wheel of itself that SkyPilot builds for the machine: with what is installed, not from an index.
        "PIP_NO_BUILD_ISOLATION": "false",
        "PIP_NO_INDEX": "1",
    }


def machines() -> list[dict[str, Any]]:
    """What moto holds, in all regions."""
    return [
        machine
        for region in REGIONS
        for page in boto3.client("ec2", region_name=region).describe_instances()["Reservations"]
        for machine in page["Instances"]
        if machine["State"]["Name"] != "terminated"
    ]


def prepare_account() -> None:
    """SkyPilot looks for a way out of the default network, and moto's has none; and moto refuses the role that
    SkyPilot would make, whose policy names no version."""
    iam = boto3.client("iam")
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.create_role(RoleName="skypilot-v1", AssumeRolePolicyDocument=json.dumps(policy))
    iam.create_instance_profile(InstanceProfileName="skypilot-v1")
    iam.add_role_to_instance_profile(InstanceProfileName="skypilot-v1", RoleName="skypilot-v1")
    for region in REGIONS:
        ec2 = boto3.client("ec2", region_name=region)
        (network,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=network["VpcId"])
        (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [network["VpcId"]]}])["RouteTables"]
        ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)


async def end_of(call: Any) -> dict[str, str]:
    try:
        await call
    except FleetError as error:
        return {"error": error.code, "message": error.message}
    return {"error": ""}


async def act(folder: Path, python: Path) -> dict[str, object]:
    setup = Setup(
        fleet="judged",
        home=Home(folder / "fleetctl"),
        options={"python": str(python), "clouds": ["aws"]},
        ssh_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f fleet",
    )
    dry, real = SkyProvider(setup, limits=LIMITS, dryrun=True), SkyProvider(setup, limits=LIMITS)
    found: dict[str, object] = {}
    one = InstanceId("gpu-e1-1")
    try:
        found["checks"] = {check.check: [check.status, check.detail] for check in await dry.checks((POOL,))}
        offers = await dry.offers(POOL)
        found["offers"] = [[row.zone, row.instance_type, row.price_per_hour, row.price_source] for row in offers]
        spec = LaunchSpec(id=one, fleet="judged", pool=POOL.name, offer=offers[0])
        found["dry launch"] = await end_of(dry.launch(spec))
        elsewhere = replace(offers[0], zone="aws/eu-west-3", region="aws/eu-west-3")
        found["launch where there is none"] = await end_of(dry.launch(replace(spec, offer=elsewhere)))
        found["listed after dry launches"] = [line.id for line in (await dry.list("judged")).instances]
        found["stop of what is not there"] = await end_of(dry.stop(one))
        found["start of what is not there"] = await end_of(dry.start(one))
        found["terminate of what is not there"] = await end_of(dry.terminate(one))
        found["machines after dry launches"] = len(machines())
        found["real"] = await real_launch(real, spec)
    finally:
        await dry.close()
        await real.close()
    return found


async def real_launch(provider: SkyProvider, spec: LaunchSpec) -> dict[str, object]:
    """As far as it goes without a machine behind the address: made at EC2, and never reached."""
    prepare_account()
    found: dict[str, object] = {}
    launching = asyncio.create_task(end_of(provider.launch(spec)))
    deadline = time.monotonic() + BOUND_S
    first: list[str] = []
    while time.monotonic() < deadline and not machines() and not launching.done():
        first = first or [line.state for line in (await provider.list("judged")).instances]
        await asyncio.sleep(0.5)
    there = machines()
    lines = (await provider.list("judged")).instances
    found["listed first"] = first
    found["listed"] = [[line.id, line.state, line.offer == spec.offer, line.pool] for line in lines]
    found["machines"] = len(there)
    tags = {tag["Key"]: tag["Value"] for machine in there for tag in machine.get("Tags", ())}
    found["tags"] = {key: value for key, value in tags.items() if key in ("fleetctl-fleet", "fleetctl-id")}
    found["terminate"] = await end_of(provider.terminate(spec.id))
    found["launch"] = await launching
    found["listed after"] = [line.id for line in (await provider.list("judged")).instances]
    found["machines after"] = len(machines())
    return found


def main() -> None:
    python, folder = Path(sys.argv[1]), Path(sys.argv[2])
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settle_environment(folder, python, f"http://{host}:{port}")
    seed_catalog(folder / "home")
    try:
        found = asyncio.run(act(folder, python))
    finally:
        subprocess.run([str(python), "-c", "import sky; sky.api_stop()"], capture_output=True, timeout=60, check=False)
        server.stop()
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
