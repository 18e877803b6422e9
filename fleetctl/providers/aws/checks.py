"""Whether the account can do what a fleet needs: asked by dry run, so that nothing is made."""

import asyncio
from collections.abc import Awaitable, Sequence

from fleetctl.catalog import Catalog
from fleetctl.errors import AuthFailure, FleetError
from fleetctl.model.checks import Check
from fleetctl.model.instances import Sighting
from fleetctl.model.services import Pool
from fleetctl.providers.aws.images import Images
from fleetctl.providers.aws.quotas import quotas
from fleetctl.providers.aws.sdk import Sdk
from fleetctl.providers.aws.settings import AWS, Settings
from fleetctl.providers.aws.tags import fleet_tags, of_fleet, state, tagged

_PERMISSIONS_FIX = "compare with: fleetctl provider permissions aws"


async def checks(
    sdk: Sdk, images: Images, catalog: Catalog, settings: Settings, fleet: str, pools: Sequence[Pool]
) -> tuple[Check, ...]:
    """Credentials first; with none, nothing else is worth asking."""
    try:
        who = await sdk.read_of("sts", settings.regions[0], "get_caller_identity")
    except FleetError as error:
        return (_failed("aws credentials", error),)
    found = [Check(check="aws credentials", status="ok", detail=str(who["Arn"]))]
    by_region = await asyncio.gather(*(_region(sdk, images, settings, region, fleet) for region in settings.regions))
    found += [check for some in by_region for check in some]
    for pool in pools:
        found += await _quotas(sdk, catalog, settings, pool)
    found.append(_ssh(settings))
    return tuple(found)


async def _region(sdk: Sdk, images: Images, settings: Settings, region: str, fleet: str) -> list[Check]:
    try:
        there = await sdk.pages(region, "describe_instances", "Reservations", Filters=of_fleet(fleet))
        image = await images.find(region, settings.image)
    except FleetError as error:
        return [_failed(f"aws {region}", error)]
    tags = fleet_tags(fleet)
    asked: list[tuple[str, Awaitable[None]]] = [
        (
            "run_instances",
            sdk.allowed(
                region,
                "run_instances",
                ImageId=image.id,
                InstanceType="g5.xlarge",
                MinCount=1,
                MaxCount=1,
                TagSpecifications=[*tagged("instance", tags), *tagged("volume", tags)],
            ),
        ),
        (
            "create_security_group",
            sdk.allowed(
                region,
                "create_security_group",
                GroupName=f"fleetctl-{fleet}",
                Description="asked by fleetctl doctor",
                TagSpecifications=tagged("security-group", tags),
            ),
        ),
        (
            "import_key_pair",
            sdk.allowed(
                region,
                "import_key_pair",
                KeyName=f"fleetctl-{fleet}",
                PublicKeyMaterial=b"asked by fleetctl doctor",
                TagSpecifications=tagged("key-pair", tags),
            ),
        ),
    ]
    machines = [
        machine["InstanceId"]
        for reservation in there
        for machine in reservation["Instances"]
        if state(machine) is not Sighting.TERMINATED
    ]
    # What may be done to a tagged machine can be asked of a tagged machine only.
    asked += [
        (action, sdk.allowed(region, action, InstanceIds=machines[:1]))
        for action in ("start_instances", "stop_instances", "terminate_instances")
        if machines
    ]
    answers = await asyncio.gather(*(ask for _, ask in asked), return_exceptions=True)
    found = []
    for (action, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, FleetError):
            found.append(_failed(f"aws {region} {action}", answer))
        elif isinstance(answer, BaseException):
            raise answer
    names = ", ".join(action for action, _ in asked)
    return found or [Check(check=f"aws {region}", status="ok", detail=f"allowed: {names}; image {image.id}")]


async def _quotas(sdk: Sdk, catalog: Catalog, settings: Settings, pool: Pool) -> list[Check]:
    market = pool.placement.market
    machines = [machine for machine in catalog.machine_types(AWS, pool.gpu) if machine.sold(market)]
    regions = [one for one in settings.regions if not pool.placement.regions or one in pool.placement.regions]
    left = await quotas(sdk, regions, machines, market)
    found = []
    for region in regions:
        known = [count for machine in machines if (count := left.machines(region, machine, market)) is not None]
        name = f"aws {region} quota of pool {pool.name}"
        if not machines:
            continue
        if not known:
            found.append(Check(check=name, status="warn", detail="not known", fix=_PERMISSIONS_FIX))
        elif max(known) == 0:
            found.append(
                Check(
                    check=name,
                    status="fail",
                    detail=f"no more {market} machines with {' or '.join(map(str, pool.gpu))}",
                    fix="ask for more: aws service-quotas list-service-quotas --service-code ec2",
                )
            )
        else:
            found.append(Check(check=name, status="ok", detail=f"{max(known)} more machines"))
    return found


def _ssh(settings: Settings) -> Check:
    if settings.ssh_sources:
        return Check(check="aws ssh", status="ok", detail=f"port 22 from {', '.join(settings.ssh_sources)}")
    return Check(
        check="aws ssh",
        status="warn",
        detail="port 22 is open to nobody, so no node can be reached from outside its network",
        fix="providers: {aws: {ssh_sources: [YOUR.NETWORK/32]}}",
    )


def _failed(name: str, error: FleetError) -> Check:
    fix = error.hint or (_PERMISSIONS_FIX if isinstance(error, AuthFailure) else "fleetctl doctor, in a while")
    return Check(check=name, status="fail", detail=error.message, fix=fix)
