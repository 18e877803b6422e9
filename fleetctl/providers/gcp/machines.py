"""What a machine is asked for with, and what a machine that is there means to us."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from fleetctl.errors import InvalidRequest
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Sighting
from fleetctl.model.names import InstanceId
from fleetctl.model.services import Market
from fleetctl.providers.gcp import names
from fleetctl.providers.gcp.images import product
from fleetctl.providers.gcp.settings import Settings

if TYPE_CHECKING:
    from google.cloud import compute_v1

_METADATA_MAX = 262_144
"""Bytes of one value of the metadata. Source: cloud.google.com/compute/docs/metadata/setting-custom-metadata"""

_HYPERDISK_ONLY = ("a3-ultragpu-", "a4-", "a4x-", "g4-")
"""Machines that boot from no other disk. Source: cloud.google.com/compute/docs/disks/hyperdisks"""

_GVNIC_ONLY = ("a3-", "a4-", "a4x-", "g4-")
"""Machines whose network card is always Google's own; images for deep learning have its driver."""

_ATTACHED = {"T4": "nvidia-tesla-t4", "P100": "nvidia-tesla-p100", "V100": "nvidia-tesla-v100", "P4": "nvidia-tesla-p4"}
"""GPUs that are attached to N1 machines, by the first part of our name for them."""

_SIGHTINGS = {
    "PENDING": Sighting.BOOTING,
    "PROVISIONING": Sighting.BOOTING,
    "STAGING": Sighting.BOOTING,
    "REPAIRING": Sighting.BOOTING,
    "RUNNING": Sighting.RUNNING,
    "PENDING_STOP": Sighting.STOPPING,
    "STOPPING": Sighting.STOPPING,
    "SUSPENDING": Sighting.STOPPING,
    "SUSPENDED": Sighting.STOPPED,
    "STOPPED": Sighting.STOPPED,
    "TERMINATED": Sighting.STOPPED,  # Google's word for a machine that is stopped and keeps its disk
    "DEPROVISIONING": Sighting.TERMINATING,
}

_ORDINARY = ("PROVISIONING", "STAGING", "RUNNING", "STOPPING", "TERMINATED", "STOPPED")


def launch_body(spec: LaunchSpec, settings: Settings, *, image: str, network: str, at: float) -> dict[str, object]:
    """The whole machine, as `instances.insert` takes it in the SDK's spelling: it and its disk and address die as one.

    It has no service account: nothing on it can call Google Cloud. `at`: Unix seconds. Raises `InvalidRequest`.
    """
    zone, machine = spec.offer.zone, spec.offer.instance_type.partition("+")[0]
    marks = names.labels(spec, at)
    name = names.instance_name(spec.fleet, spec.id)
    disk_type = "hyperdisk-balanced" if machine.startswith(_HYPERDISK_ONLY) else "pd-balanced"
    interface: dict[str, object] = {
        "network": network,
        "access_configs": [{"name": "External NAT", "type_": "ONE_TO_ONE_NAT"}],  # ephemeral: dies with the machine
    }
    if machine.startswith(_GVNIC_ONLY):
        interface["nic_type"] = "GVNIC"
    body: dict[str, object] = {
        "name": name,
        "description": names.mark(spec.fleet),
        "machine_type": f"zones/{zone}/machineTypes/{machine}",
        "labels": marks,
        "tags": {"items": [names.tag(spec.fleet)]},
        "metadata": {"items": [{"key": key, "value": value} for key, value in _metadata(spec, settings).items()]},
        "scheduling": _scheduling(spec.offer.market),
        "network_interfaces": [interface],
        "disks": [
            {
                "boot": True,
                "auto_delete": True,
                "initialize_params": {
                    "disk_name": name,
                    "source_image": image,
                    "disk_size_gb": settings.disk_gb or spec.disk_gb,
                    "disk_type": f"zones/{zone}/diskTypes/{disk_type}",
                    "labels": marks,
                },
            }
        ],
    }
    if accelerator := _accelerator(spec):
        body["guest_accelerators"] = [
            {
                "accelerator_type": f"zones/{zone}/acceleratorTypes/{accelerator}",
                "accelerator_count": spec.offer.gpu.count,
            }
        ]
    if spec.offer.market is Market.RESERVED:
        if not settings.reservation:
            raise InvalidRequest(
                "gcp: no reservation is named for the reserved market", hint="set providers.gcp.reservation"
            )
        body["reservation_affinity"] = {
            "consume_reservation_type": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [settings.reservation],
        }
    return body


def _accelerator(spec: LaunchSpec) -> str:
    """What has to be attached; empty for types that have their GPUs built in."""
    machine, _, attached = spec.offer.instance_type.partition("+")
    if attached:
        return attached.partition(":")[0]
    if not machine.startswith("n1-"):
        return ""
    if product(spec.offer.gpu) not in _ATTACHED:
        raise InvalidRequest(f"gcp: {spec.offer.gpu} cannot be attached to {machine}")
    return _ATTACHED[product(spec.offer.gpu)]


def _scheduling(market: Market) -> dict[str, object]:
    """A machine with GPUs cannot move to another host, so it ends where its host is maintained.

    A spot machine that is taken away is deleted, not stopped: its disk would cost on, and it could start again only
    in the one zone that has just run out; its replacement comes from the best Offer instead.
    """
    if market is Market.SPOT:
        return {
            "provisioning_model": "SPOT",
            "instance_termination_action": "DELETE",
            "on_host_maintenance": "TERMINATE",
            "automatic_restart": False,
        }
    return {"provisioning_model": "STANDARD", "on_host_maintenance": "TERMINATE", "automatic_restart": True}


def _metadata(spec: LaunchSpec, settings: Settings) -> dict[str, str]:
    found = {
        "enable-oslogin": "FALSE",
        "block-project-ssh-keys": "TRUE",
        "install-nvidia-driver": "True",  # for deep-learning images that come without one
        names.OFFER_KEY: names.offer_text(spec.offer),
    }
    if spec.user_data:
        found["user-data"] = spec.user_data
    if ssh_key := spec.ssh_key or settings.ssh_key:
        found["ssh-keys"] = f"{settings.ssh_user}:{ssh_key.strip()}"
    for key, value in found.items():
        if len(value.encode()) > _METADATA_MAX:
            raise InvalidRequest(f"gcp: {key} has more than {_METADATA_MAX} bytes, the most that metadata can hold")
    return found


def instance_id(machine: "compute_v1.Instance") -> InstanceId | None:
    """The id of the Instance that it is; None for a machine that does not say, which is then none of ours."""
    marked = machine.labels.get(names.ID_LABEL, "")
    return InstanceId(marked) if marked else None


def seen(
    machine: "compute_v1.Instance", instance: InstanceId, zone: str, settings: Settings, *, deleting: bool
) -> InstanceSeen:
    """The line of the listing. `deleting`: Google says STOPPING of it, and a deletion of it is under way."""
    state = _SIGHTINGS.get(machine.status, Sighting.BOOTING)
    marks: Mapping[str, str] = machine.labels
    text = next((item.value for item in machine.metadata.items if item.key == names.OFFER_KEY), "")
    detail = machine.status_message or (machine.status if machine.status not in _ORDINARY else "")
    return InstanceSeen(
        id=instance,
        pool=names.pool_of(marks),
        state=Sighting.TERMINATING if deleting and state is Sighting.STOPPING else state,
        offer=names.offer_of(text, marks, names.last(machine.machine_type), zone),
        created_at=moment(machine.creation_timestamp),
        address=_address(machine, instance, settings),
        detail=detail,
    )


def has_local_disks(machine: "compute_v1.Instance") -> bool:
    return any(disk.type_ == "SCRATCH" for disk in machine.disks)


def moment(timestamp: str) -> float:
    """Unix seconds of Google's `2026-11-21T05:00:00.000-08:00`; 0 for none."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def _address(machine: "compute_v1.Instance", instance: InstanceId, settings: Settings) -> str | None:
    for interface in machine.network_interfaces:
        outside = [access.nat_i_p for access in interface.access_configs if access.nat_i_p]
        if address := next(iter(outside), interface.network_i_p):
            return settings.address.format(id=instance, ip=address, user=settings.ssh_user)
    return None
