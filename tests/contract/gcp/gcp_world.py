"""The GCP provider and its server, as the contract of all clouds wants them."""

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloud_contract import (
    FLEET,
    NEWLY_CODED,
    ONE,
    PATIENCE_S,
    Boundary,
    CloudUnderTest,
    Fault,
    Kind,
    Operation,
    Truth,
)
from gcp_compute import Compute
from gcp_discovery import Judge
from gcp_market import DEEP_LEARNING, IMAGES, PROJECT
from gcp_server import DOCUMENTS, GcpServer, Strike

from fleetctl.model.instances import LaunchSpec, Offer
from fleetctl.model.names import InstanceId, PoolName, ProviderName
from fleetctl.model.services import Gpu, Market, Pool
from fleetctl.paths import Home
from fleetctl.ports import Provider
from fleetctl.providers import Setup
from fleetctl.providers.gcp.api import Limits
from fleetctl.providers.gcp.compute import GcpProvider
from fleetctl.providers.gcp.settings import read_settings

SHORT = Limits(read_s=1.5, change_s=1.5, operation_s=3.0, glance_s=1.0, pause_s=0.01)
PATIENT = replace(SHORT, read_s=PATIENCE_S, change_s=PATIENCE_S)
LATE_S = 2.0
ZONE = "us-central1-a"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbd8vTQ0fXlWfyYbKIuyVq3s7ZT8Vh7Ff1p0p0p0p0p fleet"
Make = Callable[..., GcpProvider]

_METHODS: dict[Operation, tuple[str, ...]] = {
    Operation.PREPARE: ("compute.networks.insert", "compute.firewalls.insert", "compute.firewalls.update"),
    Operation.LAUNCH: ("compute.instances.insert",),
    Operation.LIST: ("compute.instances.aggregatedList",),
    Operation.START: ("compute.instances.start",),
    Operation.STOP: ("compute.instances.stop",),
    Operation.TERMINATE: ("compute.instances.delete",),
    Operation.REMOVE: ("compute.disks.delete", "compute.firewalls.delete", "compute.networks.delete"),
}


def offer(
    zone: str, *, machine: str = "g2-standard-8", gpu: Gpu | None = None, market: Market = Market.ON_DEMAND
) -> Offer:
    return Offer(
        provider=ProviderName("gcp"),
        instance_type=machine,
        gpu=gpu or Gpu(name="L4", count=1),
        zone=zone,
        region=zone[:-2],
        market=market,
        price_per_hour=0.85,
        price_source="cloud.google.com/compute/gpus-pricing",
        price_as_of=1_790_000_000.0,
    )


def setup(endpoint: str, home: Path, fleet: str = FLEET, /, **changed: object) -> Setup:
    options = {
        "project": PROJECT,
        "regions": ["us-central1", "europe-west4"],
        "ssh_sources": ["203.0.113.0/24"],
        "endpoint": endpoint,
    }
    return Setup(fleet=fleet, home=Home(home), options={**options, **changed})


def spec(instance: InstanceId = ONE, at: Offer | None = None, **more: Any) -> LaunchSpec:
    given = {"user_data": "#cloud-config\n", "ssh_key": KEY, "fleet": FLEET, **more}
    return LaunchSpec(id=instance, pool=PoolName("gpu"), offer=at or offer(ZONE), **given)


def only(server: GcpServer, kind: str = "instances") -> dict[str, Any]:
    (found,) = server.compute.things[kind].values()
    return found


def metadata(machine: dict[str, Any]) -> dict[str, str]:
    return {item["key"]: item["value"] for item in machine["metadata"]["items"]}


@contextmanager
def served(compute: Compute | None = None) -> Iterator[tuple[GcpServer, str]]:
    """A server and its address. At the end, nothing that passed may have been against the documents."""
    importlib.import_module("google.cloud.compute_v1")  # takes seconds, which the limits of a test do not allow for
    server = GcpServer(compute=compute or Compute())
    endpoint = server.start()
    try:
        yield server, endpoint
    finally:
        server.stop()
    assert not server.refused, "\n".join(server.refused)


def under_test(server: GcpServer, endpoint: str, home: Path, *, limits: Limits = SHORT) -> CloudUnderTest:
    def make(fleet: str, boundary: Boundary) -> Provider:
        return GcpProvider(read_settings(setup(endpoint, home, fleet)), limits=limits, boundary=boundary)

    def clear() -> None:
        server.strikes.clear()
        server.compute.fail_next.clear()

    return CloudUnderTest(
        make=make,
        offers=(offer("us-central1-a"), offer("us-central1-b")),
        pool=Pool(name=PoolName("gpu"), gpu=(Gpu(name="L4", count=1),)),
        inject=lambda fault: inject(server, fault),
        clear=clear,
        truth=lambda fleet: truth(server.compute, fleet),
        stranger=lambda: stranger(server),
    )


def inject(server: GcpServer, fault: Fault) -> None:
    """Google's way of failing so. Capacity and quota come in the operation, when it ends; the rest in the reply."""
    methods, times = _METHODS[fault.operation], fault.times

    def strike(**more: object) -> None:
        server.strikes.append(Strike(methods=methods, times=times, zone=fault.zone, **more))  # type: ignore[arg-type]

    match fault.kind:
        case Kind.CAPACITY:
            server.compute.fail_next += [("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", fault.zone or "")] * times
        case Kind.QUOTA:
            server.compute.fail_next += [("QUOTA_EXCEEDED", fault.zone or "")] * times
        case Kind.AUTH:
            strike(status=403, reason="forbidden")
        case Kind.EXPIRED:
            strike(status=401, reason="authError")
        case Kind.THROTTLED:
            strike(status=403, reason="rateLimitExceeded")
        case Kind.UNKNOWN_CODE:
            strike(status=400, reason=NEWLY_CODED)
        case Kind.REFUSED:
            strike(status=503, reason="backendError")
        case Kind.BROKEN:
            strike(status=502, reason="backendError", done=True)
        case Kind.CUT:
            strike(cut=True, done=True)
        case Kind.SLOW:
            strike(late_s=LATE_S, done=True)
        case Kind.HIDDEN:
            strike(before=_setting("hidden", True), after=_setting("hidden", False))
        case Kind.PAGE:
            strike(status=500, reason="internalError", page=True)
            strike(before=_setting("page", 1), after=_setting("page", 0))


def truth(compute: Compute, fleet: str) -> Truth:
    with compute.lock:
        compute.advance()
        machines, strangers = [], 0
        for machine in compute.things["instances"].values():
            marks = machine.get("labels", {})
            if marks.get("fleetctl-fleet") == fleet:
                machines.append(InstanceId(marks["fleetctl-id"]))
            elif "fleetctl-fleet" not in marks:
                strangers += 1
        others = [
            f"{kind}/{thing['name']}"
            for kind in ("disks", "firewalls", "networks")
            for thing in compute.things[kind].values()
            if thing.get("labels", {}).get("fleetctl-fleet") == fleet
            or thing.get("description") == f"fleetctl-fleet={fleet}"
        ]
        return Truth(machines=tuple(machines), others=tuple(others), strangers=strangers)


def stranger(server: GcpServer) -> None:
    """A machine that somebody made by hand."""
    made = server.compute.things["networks"].setdefault(
        ("global", "by-hand"), {"name": "by-hand", "selfLink": "global/networks/by-hand", "id": "1"}
    )
    call = Judge(*DOCUMENTS).call(
        "POST", f"/compute/v1/projects/{PROJECT}/zones/us-central1-a/instances", {}, _by_hand(made["name"])
    )
    server.compute.answer(call)


def _by_hand(network: str) -> bytes:
    machine = {
        "name": "by-hand",
        "machineType": "zones/us-central1-a/machineTypes/g2-standard-8",
        "networkInterfaces": [{"network": f"global/networks/{network}", "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}],
        "scheduling": {"onHostMaintenance": "TERMINATE"},
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "diskName": "by-hand",
                    "diskSizeGb": "50",
                    "sourceImage": f"projects/{DEEP_LEARNING}/global/images/{IMAGES[-1][1]}",
                },
            }
        ],
    }
    return json.dumps(machine).encode()


def _setting(name: str, value: object) -> Callable[[Compute], None]:
    return lambda compute: setattr(compute, name, value)
