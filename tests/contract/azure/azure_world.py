"""Azure as the shared contract wants a cloud: the ARM server with levers, and Providers aimed at it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from arm_server import SUBSCRIPTION, ArmServer, Rule
from arm_state import DISK, IP, NIC, NSG, OTHER_REGION, REGION, VM, VNET, ArmError, Body
from cloud_contract import NEWLY_CODED, PATIENCE_S, Boundary, CloudUnderTest, Fault, Kind, Operation, Truth

from fleetctl.model.instances import Offer
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Market, Pool
from fleetctl.paths import Home
from fleetctl.providers import Setup
from fleetctl.providers.azure.connections import Limits
from fleetctl.providers.azure.machines import AZURE, FLEET_TAG, ID_TAG
from fleetctl.providers.azure.provider import AzureProvider

LIMITS = Limits(read_s=1.0, change_s=1.0, verdict_s=5.0, pause_s=0.0)
"""Short, so that a lost answer does not cost a minute; the server answers within milliseconds."""
PATIENT = replace(LIMITS, read_s=PATIENCE_S, change_s=PATIENCE_S)

SLOW_S = 1.5
"""Longer than the limits above."""

SIZE = "Standard_NC40ads_H100_v5"
GPU = Gpu(name="H100-NVL")

_ERRORS: dict[Kind, ArmError] = {
    Kind.QUOTA: ArmError(
        409,
        "OperationNotAllowed",
        "Operation could not be completed as it results in exceeding approved StandardNCadsH100v5Family Cores quota.",
    ),
    Kind.AUTH: ArmError(403, "AuthorizationFailed", "The client does not have authorization to perform action."),
    Kind.THROTTLED: ArmError(429, "TooManyRequests"),
    Kind.UNKNOWN_CODE: ArmError(400, NEWLY_CODED),
    Kind.REFUSED: ArmError(503, "ServiceUnavailable"),
    Kind.EXPIRED: ArmError(401, "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than now."),
}
AT_ONCE = ArmError(409, "SkuNotAvailable", f"The requested VM size {SIZE} is currently not available.")
INSIDE = ArmError(409, "AllocationFailed", "Allocation failed. We do not have sufficient capacity.")
_AFTER = {Kind.BROKEN: "broken", Kind.CUT: "cut", Kind.SLOW: "slow"}


def offer(zone: str, market: Market = Market.ON_DEMAND, **changed: object) -> Offer:
    said = {
        "provider": AZURE,
        "instance_type": SIZE,
        "gpu": GPU,
        "zone": zone,
        "region": zone.partition("-")[0],
        "market": market,
        "price_per_hour": 6.98,
        "price_source": "test",
        "price_as_of": 1_790_000_000.5,
    }
    return Offer(**(said | changed))  # type: ignore[arg-type]


OFFERS = (offer(f"{REGION}-1"), offer(f"{REGION}-2"))
POOL = Pool(name=PoolName("gpu"), gpu=(GPU,))


@dataclass
class World:
    """The server, and every Provider made for it, closed at the end."""

    server: ArmServer
    home: Path
    limits: Limits = LIMITS
    made: list[AzureProvider] = field(default_factory=list)
    capacities: int = 0

    def make(self, fleet: str, boundary: Boundary, **options: object) -> AzureProvider:
        setup = Setup(fleet=fleet, home=Home(self.home), options=self.options() | options)
        provider = AzureProvider(setup, limits=self.limits, boundary=boundary)
        self.made.append(provider)
        return provider

    def options(self) -> dict[str, object]:
        return {
            "subscription": SUBSCRIPTION,
            "regions": [REGION, OTHER_REGION],
            "endpoint": self.server.url,
            "ssh_sources": ["198.51.100.0/24"],
        }

    async def close(self) -> None:
        for provider in self.made:
            await provider.close()

    def inject(self, fault: Fault) -> None:
        rule = Rule(matches=_matcher(fault), times=fault.times)
        match fault.kind:
            case Kind.CAPACITY:
                # Azure says it either at once or inside the operation; here by turns. A start is always accepted.
                self.capacities += 1
                if fault.operation is Operation.START or self.capacities % 2 == 0:
                    rule.inside = INSIDE
                else:
                    rule.before = AT_ONCE
            case Kind.HIDDEN:
                rule.hides = True
            case Kind.PAGE:
                rule.page = True
            case Kind.BROKEN | Kind.CUT | Kind.SLOW:
                rule.after = _AFTER[fault.kind]
            case _:
                rule.before = _ERRORS[fault.kind]
        self.server.rules.append(rule)

    def clear(self) -> None:
        self.server.rules.clear()
        self.server.cloud.fail_inside.clear()

    def truth(self, fleet: str) -> Truth:
        cloud = self.server.cloud
        machines = cloud.of(VM)
        ours = [one for one in machines if one["tags"].get(FLEET_TAG) == fleet]
        groups = {key: one for key, one in cloud.groups.items() if one["tags"].get(FLEET_TAG) == fleet}
        others = [one["id"] for kind in (DISK, NIC, IP, NSG, VNET) for group in groups for one in cloud.of(kind, group)]
        return Truth(
            machines=tuple(InstanceId(one["tags"][ID_TAG]) for one in ours),
            others=(*others, *(one["id"] for one in groups.values())),
            strangers=len(machines) - len(ours),
        )

    def stranger(self) -> None:
        cloud = self.server.cloud
        cloud.put_group("somebody", {"location": REGION})
        path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/somebody/providers/{VM}/web"
        cloud.resources[path.lower()] = {
            "id": path,
            "name": "web",
            "type": VM,
            "location": REGION,
            "tags": {"team": "web"},
            "power": "running",
            "properties": {"hardwareProfile": {"vmSize": "Standard_NC4as_T4_v3"}, "provisioningState": "Succeeded"},
        }

    def under_test(self) -> CloudUnderTest:
        return CloudUnderTest(
            make=self.make,
            offers=OFFERS,
            pool=POOL,
            inject=self.inject,
            clear=self.clear,
            truth=self.truth,
            stranger=self.stranger,
        )


@contextmanager
def world(home: Path, limits: Limits = LIMITS) -> Iterator[World]:
    server = ArmServer()
    server.slow_s = SLOW_S
    server.start()
    try:
        yield World(server, home, limits)
    finally:
        server.stop()


_GROUPS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/"
_MACHINES = f"/subscriptions/{SUBSCRIPTION}/providers/{VM}"


def _matcher(fault: Fault) -> Callable[[str, str, Body], bool]:
    def matches(method: str, path: str, body: Body) -> bool:
        machine = f"/providers/{VM}/" in path
        match fault.operation:
            case Operation.PREPARE:
                return method == "PUT" and not machine
            case Operation.LAUNCH:
                zones = [f"{body.get('location')}-{zone}" for zone in body.get("zones", ())]
                return method == "PUT" and machine and (fault.zone is None or fault.zone in zones)
            case Operation.LIST:
                return method == "GET" and path == _MACHINES
            case Operation.START:
                return method == "POST" and path.endswith("/start")
            case Operation.STOP:
                return method == "POST" and path.endswith("/deallocate")
            case Operation.TERMINATE:
                return method == "DELETE" and machine
            case Operation.REMOVE:
                return method == "DELETE" and not machine

    return matches
