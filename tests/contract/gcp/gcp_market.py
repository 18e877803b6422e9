"""What can be rented of the small Compute Engine, and the rules of Google's that its document does not hold. Ours."""

import re
from collections.abc import Mapping
from typing import Any

from gcp_discovery import Call, Refused

Thing = dict[str, Any]

PROJECT = "test-project"
DEEP_LEARNING = "deeplearning-platform-release"
ZONES = tuple(f"{region}-{letter}" for region in ("us-central1", "europe-west4") for letter in "abc")
MACHINES = {
    "g2-standard-8": ZONES,
    "g2-standard-48": ZONES[:3],
    "a2-highgpu-1g": ZONES[:2],
    "a3-highgpu-8g": ZONES[1:2],
    "n1-standard-8": ZONES,
    "n1-standard-16": ZONES,
}
ACCELERATORS = {"nvidia-tesla-t4": (ZONES[:2], 4), "nvidia-tesla-v100": (ZONES[2:4], 8)}
IMAGES = (
    ("common-cu124-debian-11-py310", "common-cu124-debian-11-v20250101"),
    ("common-cu128-ubuntu-2204-nvidia-570", "common-cu128-ubuntu-2204-nvidia-570-v20260801"),
    ("common-cu129-ubuntu-2204-nvidia-580", "common-cu129-ubuntu-2204-nvidia-580-v20260701"),
    ("common-cu129-ubuntu-2204-nvidia-580", "common-cu129-ubuntu-2204-nvidia-580-v20260818"),
    ("common-cu132-ubuntu-2404-nvidia-595", "common-cu132-ubuntu-2404-nvidia-595-v20260901"),
)
QUOTAS = {"NVIDIA_L4_GPUS": (16.0, 2.0), "NVIDIA_T4_GPUS": (4.0, 0.0), "PREEMPTIBLE_NVIDIA_L4_GPUS": (8.0, 0.0)}
"""Limit and use, in each region."""


def machine_types() -> list[tuple[tuple[str, str], Thing]]:
    return [
        ((f"zones/{zone}", name), {"kind": "compute#machineType", "name": name, "zone": zone, "guestCpus": 8})
        for name, zones in MACHINES.items()
        for zone in zones
    ]


def accelerator_types() -> list[tuple[tuple[str, str], Thing]]:
    return [
        (
            (f"zones/{zone}", name),
            {"kind": "compute#acceleratorType", "name": name, "zone": zone, "maximumCardsPerInstance": most},
        )
        for name, (zones, most) in ACCELERATORS.items()
        for zone in zones
    ]


def images(project: str) -> list[Thing]:
    if project != DEEP_LEARNING:
        return []
    found: list[Thing] = [
        {"kind": "compute#image", "family": family, "name": name, "status": "READY", "architecture": "X86_64"}
        for family, name in IMAGES
    ]
    return [*found, {**found[-1], "name": f"{IMAGES[-1][1]}-old", "deprecated": {"state": "DEPRECATED"}}]


def region(call: Call) -> Thing:
    name = call.given["region"]
    if name not in {zone[:-2] for zone in ZONES}:
        raise Refused(f"The resource 'regions/{name}' was not found", status=404, reason="notFound")
    quotas = [{"metric": metric, "limit": limit, "usage": used} for metric, (limit, used) in QUOTAS.items()]
    return {"kind": "compute#region", "name": name, "status": "UP", "quotas": quotas}


def own_project(call: Call) -> Thing:
    quotas = [{"metric": "GPUS_ALL_REGIONS", "limit": 64.0, "usage": 2.0}]
    return {"kind": "compute#project", "name": call.given["project"], "quotas": quotas}


def launchable(zone: str, body: Mapping[str, Any]) -> None:
    """Rules of Google's that the document does not hold. Raises `Refused`."""
    if zone not in ZONES:
        raise Refused(f"The resource 'zones/{zone}' was not found", status=404, reason="notFound")
    machine = body["machineType"].rpartition("/")[2]
    if zone not in MACHINES.get(machine, ()):
        raise Refused(f"Machine type with name '{machine}' does not exist in zone '{zone}'.", reason="invalid")
    for accelerator in body.get("guestAccelerators", ()):
        zones, most = ACCELERATORS.get(accelerator["acceleratorType"].rpartition("/")[2], ((), 0))
        if zone not in zones or accelerator["acceleratorCount"] > most or not machine.startswith("n1-"):
            raise Refused("The accelerator is not available here", status=404, reason="notFound")
    scheduling = body.get("scheduling", {})
    if scheduling.get("onHostMaintenance") != "TERMINATE":
        raise Refused("Instances with guest accelerators do not support live migration.", reason="badRequest")
    if scheduling.get("provisioningModel") == "SPOT" and scheduling.get("automaticRestart", True):
        raise Refused("Scheduling must have preemptible be false when AutomaticRestart is true.", reason="invalid")
    for labels in (body.get("labels", {}), body["disks"][0]["initializeParams"].get("labels", {})):
        for key, value in labels.items():
            if re.fullmatch(r"[a-z0-9_-]{0,63}", value) is None:
                raise Refused(f"Invalid value for field 'resource.labels': '{key}={value}'.")
    image = body["disks"][0]["initializeParams"]["sourceImage"]
    if DEEP_LEARNING in image and image.rpartition("/")[2] not in {name for _, name in IMAGES}:
        raise Refused(f"The resource '{image}' was not found", status=404, reason="notFound")
