"""SkyPilot as the shared contract wants a cloud: the real bridge in real processes, on a stand-in with levers."""

import json
import math
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from cloud_contract import NEWLY_CODED, PATIENCE_S, Boundary, CloudUnderTest, Fault, Kind, Operation, Truth
from sky_memory import Memory
from sky_wire import Body, served

from fleetctl.model.instances import Offer
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Market, Pool
from fleetctl.paths import Home
from fleetctl.providers import Setup
from fleetctl.providers.sky.labels import meta_of
from fleetctl.providers.sky.process import Limits
from fleetctl.providers.sky.provider import SkyProvider
from fleetctl.providers.sky.settings import SKY

HERE = Path(__file__).parent

LIMITS = Limits(start_s=30.0, read_s=1.5, change_s=1.5)
"""Short, so that a lost answer does not cost a minute; the stand-in answers within milliseconds."""
PATIENT = Limits(start_s=PATIENCE_S, read_s=PATIENCE_S, change_s=PATIENCE_S)
SLOW_S = 2.5
"""Longer than the limits above."""

GPU = Gpu(name="H100")
DATE = 1_790_000_000.0

_UNAVAILABLE = "Failed to acquire resources in all zones in us-east-1."
_ERRORS: dict[Kind, Body] = {
    Kind.CAPACITY: {"type": "ResourcesUnavailableError", "attempts": ["insufficient-capacity: no gpu_1x_h100 left"]},
    Kind.QUOTA: {"type": "ResourcesUnavailableError", "attempts": ["VcpuLimitExceeded: more vCPU than your limit"]},
    Kind.AUTH: {"type": "NoCloudAccessError", "message": "Cloud access is not set up. Run: sky check"},
    Kind.THROTTLED: {"type": "ResourcesUnavailableError", "attempts": ["429 Too Many Requests"]},
    Kind.UNKNOWN_CODE: {"type": "CloudError", "code": NEWLY_CODED},
    Kind.EXPIRED: {"type": "ResourcesUnavailableError", "attempts": ["ExpiredToken: the security token is expired"]},
}
_LISTING_ERRORS: dict[Kind, Body] = {
    Kind.AUTH: {"type": "CloudUserIdentityError"},
    Kind.EXPIRED: {"type": "CloudUserIdentityError"},
    Kind.THROTTLED: {"type": "ConcurrentWorkerExhaustedError"},
    Kind.UNKNOWN_CODE: {"type": "CloudError", "code": NEWLY_CODED},
}
_LEVERS = {
    Kind.REFUSED: "refuse",
    Kind.BROKEN: "broken",
    Kind.CUT: "cut",
    Kind.SLOW: "slow",
    Kind.HIDDEN: "hidden",
}

CANNOT = frozenset(
    {(operation, kind) for operation in (Operation.PREPARE, Operation.REMOVE) for kind in Kind}
    | {(Operation.LIST, Kind.PAGE)}
)
"""SkyPilot makes networks and keys inside of a launch, leaves nothing to remove, and lists in one piece."""

CATALOG = [
    ("Lambda", "gpu_1x_h100", "H100", 1.0, 80.0, 2.49, math.nan, "us-east-1"),
    ("Lambda", "gpu_1x_h100", "H100", 1.0, 80.0, 2.59, math.nan, "us-west-2"),
    ("Lambda", "gpu_8x_h100", "H100", 8.0, 80.0, 23.92, math.nan, "us-east-1"),
    ("Lambda", "gpu_1x_a100", "A100", 1.0, 40.0, 1.29, math.nan, "us-east-1"),
    ("RunPod", "1x_H100_SECURE", "H100", 1.0, 80.0, 3.29, 1.5, "CA"),
    ("RunPod", "1x_A100-80GB", "A100-80GB", 1.0, 80.0, 0.0, 0.9, "US"),
    ("AWS", "p5.48xlarge", "H100", 8.0, 80.0, 55.04, 20.0, "us-east-1"),
]
_COLUMNS = (
    "cloud",
    "instance_type",
    "accelerator_name",
    "accelerator_count",
    "device_memory",
    "price",
    "spot_price",
    "region",
)


def offer(region: str, price: float | None = 2.49) -> Offer:
    return Offer(
        provider=SKY,
        instance_type="gpu_1x_h100",
        gpu=GPU,
        zone=f"lambda/{region}",
        region=f"lambda/{region}",
        market=Market.ON_DEMAND,
        price_per_hour=price,
        price_source="skypilot catalog v8",
        price_as_of=DATE,
    )


OFFERS = (offer("us-east-1"), offer("us-west-2", 2.59))
POOL = Pool(name=PoolName("gpu"), gpu=(GPU,))


@dataclass
class World:
    """One folder that stands for SkyPilot and its clouds, and every Provider made for it, closed at the end."""

    folder: Path
    limits: Limits = LIMITS
    made: list[SkyProvider] = field(default_factory=list)
    _served: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.sky = self.folder / "sky"
        for cloud in ("lambda", "runpod"):
            (self.sky / "catalogs" / cloud).mkdir(parents=True)
            self.date(cloud, DATE)
        rows = [dict(zip(_COLUMNS, row, strict=True)) | {"cpu_count": 26.0, "memory": 200.0} for row in CATALOG]
        (self.sky / "catalog.json").write_text(json.dumps(rows))
        # Not a file: each look at it would be a new one on the disk, a thousand in a second.
        self.memory = Memory()
        self.port = self._served.enter_context(served(self.memory))
        self.python = self.folder / "sky-python"
        self.python.write_text(self.script(f'exec {sys.executable} "$@"'))
        self.python.chmod(0o700)

    def script(self, *lines: str) -> str:
        """A program that stands for SkyPilot's Python."""
        values = {
            "PYTHONPATH": f"{HERE / 'stand_in'}:{HERE}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "STAND_IN_SKY": self.sky,
            "STAND_IN_SKY_PORT": self.port,
            "STAND_IN_SKY_SLOW_S": SLOW_S,
        }
        return "\n".join(["#!/bin/sh", *(f"export {name}='{value}'" for name, value in values.items()), *lines, ""])

    def date(self, cloud: str, at: float) -> None:
        """Make that cloud's table be of that date."""
        path = self.sky / "catalogs" / cloud / "vms.csv"
        path.touch()
        os.utime(path, (at, at))

    def make(
        self, fleet: str, boundary: Boundary = lambda _: None, limits: Limits | None = None, **options: object
    ) -> SkyProvider:
        given = {"python": str(self.python), "server": "http://127.0.0.1:9"} | options
        setup = Setup(fleet=fleet, home=Home(self.folder), options={name: one for name, one in given.items() if one})
        provider = SkyProvider(setup, limits=limits or self.limits, boundary=boundary)
        self.made.append(provider)
        return provider

    async def close(self) -> None:
        with self._served:
            for provider in self.made:
                await provider.close()

    def inject(self, fault: Fault) -> None:
        if (fault.operation, fault.kind) in CANNOT:
            return
        lever: Body = {"operation": str(fault.operation), "times": fault.times, "zone": fault.zone}
        if fault.kind in _LEVERS:
            lever["kind"] = _LEVERS[fault.kind]
        else:
            listing = fault.operation is Operation.LIST
            error = (_LISTING_ERRORS if listing else _ERRORS)[fault.kind]
            lever |= {
                "kind": "refusal",
                "half": fault.kind in (Kind.CAPACITY, Kind.QUOTA),
                "error": {"message": _UNAVAILABLE, "attempts": [], "code": ""} | error,
            }
        with self.memory.held() as now:
            now["faults"].append(lever)

    def clear(self) -> None:
        with self.memory.held() as now:
            now["faults"] = []
            now["hold"] = ""

    def hold(self, where: str) -> None:
        """Launches stay `pending` or `running` from now on; empty: they go on."""
        with self.memory.held() as now:
            now["hold"] = where

    def faults(self) -> list[Body]:
        """Those that have not struck as often as they are to."""
        with self.memory.held() as now:
            return [fault for fault in now["faults"] if fault["times"] > 0]

    def calls(self) -> list[str]:
        """What was asked of SkyPilot that changes something, in order."""
        with self.memory.held() as now:
            return list(now["calls"])

    def truth(self, fleet: str) -> Truth:
        with self.memory.held() as now:
            self.memory.advance(now)
            machines = list(now["machines"])
        known = [(meta_of(one["labels"]), one) for one in machines]
        ours = [(meta, one) for meta, one in known if meta is not None and meta.fleet == fleet]
        return Truth(
            machines=tuple(InstanceId(meta.id) for meta, _ in ours),
            others=tuple(one["disk"] for _, one in ours),
            strangers=sum(1 for meta, _ in known if meta is None),
        )

    def stranger(self) -> None:
        with self.memory.held() as now:
            now["clusters"]["web"] = {"status": "UP", "labels": {"team": "web"}, "ip": "127.0.0.8"}
            now["machines"].append({"cluster": "web", "labels": {"team": "web"}, "disk": "disk-web"})

    def under_test(self) -> CloudUnderTest:
        return CloudUnderTest(
            make=self.make,
            offers=OFFERS,
            pool=POOL,
            inject=self.inject,
            clear=self.clear,
            truth=self.truth,
            stranger=self.stranger,
            cannot=CANNOT,
        )
