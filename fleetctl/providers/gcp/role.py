"""The least that the provider's credentials must be allowed: one table of the calls that it makes."""

from collections.abc import Mapping

CALLS: Mapping[str, tuple[str, ...]] = {
    "compute.acceleratorTypes.aggregatedList": ("compute.acceleratorTypes.list",),
    "compute.disks.aggregatedList": ("compute.disks.list",),
    "compute.disks.delete": ("compute.disks.delete",),
    "compute.disks.get": ("compute.disks.get",),
    "compute.firewalls.delete": ("compute.firewalls.delete", "compute.networks.updatePolicy"),
    "compute.firewalls.get": ("compute.firewalls.get",),
    "compute.firewalls.insert": ("compute.firewalls.create", "compute.networks.updatePolicy"),
    "compute.firewalls.list": ("compute.firewalls.list",),
    "compute.firewalls.update": (
        "compute.firewalls.get",
        "compute.firewalls.update",
        "compute.networks.updatePolicy",
    ),
    "compute.globalOperations.aggregatedList": ("compute.globalOperations.list", "compute.zoneOperations.list"),
    "compute.globalOperations.wait": ("compute.globalOperations.get",),
    "compute.images.list": (),  # of a project that is open to everybody
    "compute.instances.aggregatedList": ("compute.instances.list",),
    "compute.instances.delete": ("compute.instances.delete", "compute.disks.delete"),
    "compute.instances.get": ("compute.instances.get",),
    "compute.instances.getSerialPortOutput": ("compute.instances.getSerialPortOutput",),
    "compute.instances.insert": (
        "compute.disks.create",
        "compute.disks.setLabels",
        "compute.instances.create",
        "compute.instances.setLabels",
        "compute.instances.setMetadata",
        "compute.instances.setTags",
        "compute.networks.use",
        "compute.networks.useExternalIp",
        "compute.subnetworks.use",
        "compute.subnetworks.useExternalIp",
    ),
    "compute.instances.start": ("compute.instances.start",),
    "compute.instances.stop": ("compute.instances.stop",),
    "compute.machineTypes.aggregatedList": ("compute.machineTypes.list",),
    "compute.networks.delete": ("compute.networks.delete",),
    "compute.networks.get": ("compute.networks.get",),
    "compute.networks.insert": ("compute.networks.create",),
    "compute.networks.list": ("compute.networks.list",),
    "compute.projects.get": ("compute.projects.get",),
    "compute.regions.get": ("compute.regions.get",),
    "compute.zoneOperations.wait": ("compute.zoneOperations.get",),
    "cloudresourcemanager.projects.testIamPermissions": (),  # anyone may ask what is allowed to them
}
"""Each call's id in Google's discovery documents, and the IAM permissions that it needs.
Source: cloud.google.com/compute/docs/reference/rest/v1 and /iam/docs/roles-permissions/compute."""

_RESERVED = ("compute.reservations.get",)
"""Needed besides where launches draw on a reservation of the project's own."""


def needed(options: Mapping[str, object]) -> tuple[str, ...]:
    """Every permission, sorted."""
    found = {permission for permissions in CALLS.values() for permission in permissions}
    if options.get("reservation"):
        found.update(_RESERVED)
    return tuple(sorted(found))


def permissions(options: Mapping[str, object]) -> Mapping[str, object]:
    """A custom role with what the provider needs and no more, for
    `gcloud iam roles create fleetctl --project PROJECT --file ROLE.json`."""
    return {
        "title": "fleetctl",
        "description": "What fleetctl needs to rent, find again and give back GPU machines",
        "stage": "GA",
        "includedPermissions": list(needed(options)),
    }
