"""What SkyPilot says of the fleet's clusters, and what is asked of it for a new one."""

import base64
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetctl.errors import InvalidRequest
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Sighting
from fleetctl.model.services import Market
from fleetctl.providers.sky.labels import Meta, labels, meta_of
from fleetctl.providers.sky.offers import split_type
from fleetctl.providers.sky.settings import Settings

INIT, UP, STOPPED, AUTOSTOPPING = "INIT", "UP", "STOPPED", "AUTOSTOPPING"

_SIGHTINGS: Mapping[str, Sighting] = {
    INIT: Sighting.BOOTING,
    UP: Sighting.RUNNING,
    STOPPED: Sighting.STOPPED,
    AUTOSTOPPING: Sighting.STOPPING,
}
"""INIT is a launch under way, one that failed half way, or a machine that SkyPilot cannot make sense of: each of them
may cost money, and none is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One line of SkyPilot's status."""

    name: str
    status: str
    labels: dict[str, str] = field(default_factory=dict)
    ip: str | None = None
    port: int = 22
    user: str | None = None
    reason: str = ""

    @property
    def meta(self) -> Meta | None:
        return meta_of(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """A launch that SkyPilot's API server has not ended."""

    request: str
    cluster: str
    labels: dict[str, str] = field(default_factory=dict)


def seen(cluster: Cluster, meta: Meta, settings: Settings) -> InstanceSeen:
    """The listing's line."""
    user = settings.ssh_user or cluster.user
    address = None
    if cluster.ip and user:
        address = settings.address.format(id=meta.id, ip=cluster.ip, user=user, port=cluster.port)
    return InstanceSeen(
        id=meta.id,
        pool=meta.pool,
        # One that it says of what we do not know may cost money all the same.
        state=_SIGHTINGS.get(cluster.status, Sighting.BOOTING),
        offer=meta.offer,
        created_at=meta.created_at,
        address=address,
        detail=cluster.reason if cluster.status == INIT else "",
    )


def seen_launching(meta: Meta) -> InstanceSeen:
    """The line of a launch that has not come to SkyPilot's status yet: asked for, and waiting for its turn."""
    return InstanceSeen(
        id=meta.id,
        pool=meta.pool,
        state=Sighting.BOOTING,
        offer=meta.offer,
        created_at=meta.created_at,
        detail="SkyPilot has it queued",
    )


def resources(spec: LaunchSpec, settings: Settings, *, at: float) -> dict[str, object]:
    """The arguments of `sky.Resources` for exactly the Offer: SkyPilot is to choose no more than the zone."""
    machine, accelerators = split_type(spec.offer.instance_type)
    if "/" not in spec.offer.zone or not (machine or accelerators):
        raise InvalidRequest(f"{spec.id}: {spec.offer.instance_type} in {spec.offer.zone} is no offer of SkyPilot's")
    if spec.offer.market is Market.RESERVED:
        raise InvalidRequest(f"{spec.id}: SkyPilot rents no reserved capacity by offer", hint="use the cloud's own")
    return {
        "infra": spec.offer.zone,
        "instance_type": machine,
        "accelerators": accelerators,
        "use_spot": spec.offer.market is Market.SPOT,
        "image_id": spec.image or settings.image,
        "disk_size": settings.disk_gb or spec.disk_gb,
        "labels": labels(spec, at=at),
    }


def setup_script(spec: LaunchSpec, ssh_key: str) -> str:
    """What runs on the new machine once SkyPilot can log in: it has no other way for a key or for user data."""
    lines = ["set -e"]
    if ssh_key:
        key = shlex.quote(ssh_key.strip())
        lines += [
            "umask 077; mkdir -p ~/.ssh; touch ~/.ssh/authorized_keys",
            f"grep -qxF {key} ~/.ssh/authorized_keys || echo {key} >> ~/.ssh/authorized_keys",
        ]
    if spec.user_data:
        packed = base64.b64encode(spec.user_data.encode()).decode()
        run = "cloud-init --file $data modules --mode {mode}"
        steps = (
            ["$data"] if spec.user_data.startswith("#!") else [run.format(mode=mode) for mode in ("config", "final")]
        )
        lines += [
            'data=$HOME/.fleetctl-user-data; root=; [ "$(id -u)" = 0 ] || root="sudo -n"',
            f"echo {packed} | base64 -d > $data; chmod 700 $data",
            *(f"$root {step}" for step in steps),
        ]
    return "\n".join(lines) if len(lines) > 1 else ""
