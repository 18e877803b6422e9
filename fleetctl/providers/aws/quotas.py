"""How many machines the account's quotas still allow.

EC2 counts vCPUs, for each family of types and each Market apart. Codes: Service Quotas, "Amazon EC2 quotas".
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetctl.catalog import MachineType
from fleetctl.errors import ProviderError
from fleetctl.model.services import Market
from fleetctl.providers.aws.sdk import Sdk

_ON_DEMAND = {"G and VT": "L-DB2E81BA", "P": "L-417A185B"}
_SPOT = {"G and VT": "L-3819A6DF", "P5": "L-C4BD4855", "P": "L-7212CCBC"}

_FAMILY_STARTS = {"G and VT": ("g", "vt"), "P": ("p",)}
"""How the names of a family's types begin."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """vCPUs left by region and quota; what is not known is absent."""

    left: Mapping[tuple[str, str], int]

    def machines(self, region: str, machine: MachineType, market: Market) -> int | None:
        """How many more of that type may run; None: not known."""
        code = quota_code(machine, market)
        vcpus = self.left.get((region, code)) if code else None
        return None if vcpus is None else max(0, vcpus // machine.vcpus)


def quota_code(machine: MachineType, market: Market) -> str:
    """The quota's code; empty: none is known, or none counts, as for capacity that is reserved already."""
    family = machine.quota_family
    match market:
        case Market.ON_DEMAND:
            return _ON_DEMAND.get(family, "")
        case Market.SPOT:
            return _SPOT["P5"] if machine.name.startswith("p5") else _SPOT.get(family, "")
        case Market.RESERVED:
            return ""


async def quotas(sdk: Sdk, regions: Sequence[str], machines: Sequence[MachineType], market: Market) -> Quotas:
    """The quotas that these types count against. One that cannot be read is unknown and stops nothing."""
    families = {(machine.quota_family, code) for machine in machines if (code := quota_code(machine, market))}
    asked = [(region, family, code) for region in regions for family, code in sorted(families)]
    found = await asyncio.gather(*(_left(sdk, region, family, code, market) for region, family, code in asked))
    return Quotas(
        {(region, code): vcpus for (region, _, code), vcpus in zip(asked, found, strict=True) if vcpus is not None}
    )


async def _left(sdk: Sdk, region: str, family: str, code: str, market: Market) -> int | None:
    try:
        answer = await sdk.read_of("service-quotas", region, "get_service_quota", ServiceCode="ec2", QuotaCode=code)
        running = await sdk.pages(
            region,
            "describe_instances",
            "Reservations",
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}],
        )
    except ProviderError:
        return None  # a quota is a hint; the launch itself tells
    used = 0
    for reservation in running:
        for machine in reservation["Instances"]:
            counted = _code_of(machine["InstanceType"], spot=machine.get("InstanceLifecycle") == "spot")
            if counted == code and machine["InstanceType"].startswith(_FAMILY_STARTS[family]):
                cores = machine.get("CpuOptions", {})
                used += int(cores.get("CoreCount", 0)) * int(cores.get("ThreadsPerCore", 0))
    return int(answer["Quota"]["Value"]) - used


def _code_of(type_name: str, *, spot: bool) -> str:
    """The quota that a running machine counts against."""
    if spot and type_name.startswith("p5"):
        return _SPOT["P5"]
    codes = _SPOT if spot else _ON_DEMAND
    return next((codes[name] for name, starts in _FAMILY_STARTS.items() if type_name.startswith(starts)), "")
