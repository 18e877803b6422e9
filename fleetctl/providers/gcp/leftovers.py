"""What a fleet leaves besides Instances, and its removal. Blocking. Disks and addresses carry the fleet's label;
networks and firewall rules have no labels, and carry the mark as their description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetctl.errors import Gone, InvalidRequest
from fleetctl.model.instances import Leftover
from fleetctl.model.names import InstanceId
from fleetctl.providers.gcp import names
from fleetctl.providers.gcp.api import Api
from fleetctl.providers.gcp.machines import moment
from fleetctl.providers.gcp.settings import GCP

if TYPE_CHECKING:
    from google.cloud import compute_v1

DISK = "disk"
RULE = "firewall-rule"
NETWORK = "network"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of leftover is looked at and removed; both take a leftover."""

    get: Callable[[Api, Leftover], object]
    delete: Callable[[Api, Leftover], "compute_v1.Operation"]


_KINDS: Mapping[str, _Kind] = {
    DISK: _Kind(lambda api, one: api.disk(one.region, one.id), lambda api, one: api.delete_disk(one.region, one.id)),
    RULE: _Kind(lambda api, one: api.firewall(one.id), lambda api, one: api.delete_firewall(one.id)),
    NETWORK: _Kind(lambda api, one: api.network(one.id), lambda api, one: api.delete_network(one.id)),
}


def found(api: Api, fleet: str) -> tuple[Leftover, ...]:
    """Everything of the fleet besides Instances, in the order in which it can be removed."""
    return (
        *(
            _disk(zone, disk)
            for zone, disk in api.disks(f'labels.{names.FLEET_LABEL} = "{fleet}"')
            if _ours(disk, fleet)
        ),
        *(
            _shared(RULE, rule.name, rule.creation_timestamp)
            for rule in api.firewalls()
            if rule.description == names.mark(fleet)
        ),
        *(
            _shared(NETWORK, network.name, network.creation_timestamp)
            for network in api.networks()
            if network.description == names.mark(fleet)
        ),
    )


def deletion(api: Api, fleet: str, leftover: Leftover) -> Callable[[], "compute_v1.Operation"] | None:
    """The call that removes it, once it is seen to be the fleet's and unused; None when it is gone already."""
    kind = _KINDS.get(leftover.kind)
    if kind is None or leftover.provider != GCP:
        raise InvalidRequest(f"gcp: {leftover.kind} {leftover.id} is nothing that this provider removes")
    try:
        there = kind.get(api, leftover)
    except Gone:
        return None
    if not _ours(there, fleet):
        raise InvalidRequest(f"gcp: {leftover.kind} {leftover.id} is not of fleet {fleet}: left alone")
    if users := list(getattr(there, "users", ())):
        raise InvalidRequest(
            f"gcp: {leftover.kind} {leftover.id} is still used by {', '.join(names.last(user) for user in users)}",
            hint="terminate that first: fleetctl teardown",
        )
    return lambda: kind.delete(api, leftover)


def _ours(there: object, fleet: str) -> bool:
    marks = getattr(there, "labels", None)
    if marks is not None:
        return bool(marks.get(names.FLEET_LABEL) == fleet)
    return getattr(there, "description", "") == names.mark(fleet)


def _disk(zone: str, disk: "compute_v1.Disk") -> Leftover:
    owner = disk.labels.get(names.ID_LABEL, "")
    return Leftover(
        provider=GCP,
        kind=DISK,
        id=disk.name,
        region=zone,
        instance=InstanceId(owner) if owner else None,
        created_at=moment(disk.creation_timestamp),
    )


def _shared(kind: str, name: str, created: str) -> Leftover:
    return Leftover(
        provider=GCP, kind=kind, id=name, created_at=moment(created) if created else None, price_per_hour=0.0
    )
