"""How our nouns are written at Google Cloud: names, labels, the record in the metadata; and how they are read again.

A label's value has at most 63 lower case letters, digits, hyphens and underscores; a name starts with a letter and has
no underscore. Networks and firewall rules have no labels: their description carries the mark.
"""

import hashlib
import re
import uuid
from collections.abc import Mapping

import msgspec

from fleetctl.errors import InvalidRequest
from fleetctl.model.instances import LaunchSpec, Offer
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Market
from fleetctl.providers.gcp.settings import GCP

FLEET_LABEL = "fleetctl-fleet"
POOL_LABEL = "fleetctl-pool"
ID_LABEL = "fleetctl-id"
GPU_LABEL = "fleetctl-gpu"
MARKET_LABEL = "fleetctl-market"
CREATED_LABEL = "fleetctl-created"
OFFER_KEY = "fleetctl-offer"
"""The metadata item with the whole Offer, which labels cannot hold."""

_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NOT_LABEL = re.compile(r"[^a-z0-9_-]")
_REQUESTS = uuid.UUID("a3a4d7f0-1c5e-5d0b-9c55-6a9b6f1d2c11")
"""The namespace of our request ids; drawn once."""


def instance_name(fleet: str, instance: InstanceId) -> str:
    """The machine's name: one for each fleet and id. Raises `InvalidRequest` for an id that no label can hold.

    The digest keeps two fleets of one project apart, and two ids that differ in an underscore or past the cut.
    """
    if _LABEL.fullmatch(instance) is None:
        raise InvalidRequest(
            f"{instance!r} cannot be an instance's id at gcp",
            hint="an id has 1 to 63 lower case letters, digits, hyphens and underscores",
        )
    digest = hashlib.sha256(f"{fleet}\0{instance}".encode()).hexdigest()[:12]
    return f"fleetctl-{instance[:40].replace('_', '-')}-{digest}"


def request_id(fleet: str, instance: InstanceId, attempt: int) -> str:
    """The token of one attempt at making an Instance. The zone is not in it: a token asked for twice in two zones is
    one request. A failed attempt's token would bring that failure back for ever, so the next has another."""
    return str(uuid.uuid5(_REQUESTS, f"{fleet}/{instance}/{attempt}"))


def labels(spec: LaunchSpec, created_at: float) -> dict[str, str]:
    """What marks the machine, and its disk, as ours."""
    found = {
        FLEET_LABEL: spec.fleet,
        POOL_LABEL: str(spec.pool),
        ID_LABEL: str(spec.id),
        GPU_LABEL: _NOT_LABEL.sub("_", f"{spec.offer.gpu.name.lower()}-{spec.offer.gpu.count}"),
        MARKET_LABEL: str(spec.offer.market),
        CREATED_LABEL: str(int(created_at)),
    }
    for key, value in found.items():
        if _LABEL.fullmatch(value) is None:
            raise InvalidRequest(f"{value!r} cannot be the label {key} at gcp")
    return found


def offer_text(offer: Offer) -> str:
    return msgspec.json.encode(offer).decode()


def offer_of(text: str, marks: Mapping[str, str], instance_type: str, zone: str) -> Offer:
    """The Offer that the machine was made from; without its record, what labels and the machine itself tell of it."""
    try:
        return msgspec.json.decode(text, type=Offer)
    except msgspec.DecodeError:
        pass
    name, _, count = marks.get(GPU_LABEL, "").rpartition("-")
    market = marks.get(MARKET_LABEL, "")
    return Offer(
        provider=GCP,
        instance_type=instance_type,
        gpu=Gpu(name=name.upper() or "ANY", count=int(count) if count.isdigit() else 1),
        zone=zone,
        region=region_of(zone),
        market=Market(market) if market in set(Market) else Market.ON_DEMAND,
        price_per_hour=None,
        price_source="",
        price_as_of=0.0,
    )


def pool_of(marks: Mapping[str, str]) -> PoolName:
    return PoolName(marks.get(POOL_LABEL, ""))


def region_of(zone: str) -> str:
    """`us-central1` of `us-central1-a`."""
    return zone.rpartition("-")[0]


def last(url: str) -> str:
    """The name at the end of a resource's URL."""
    return url.rpartition("/")[2]


def mark(fleet: str) -> str:
    """The description of what has no labels."""
    return f"fleetctl-fleet={fleet}"


def network_name(fleet: str) -> str:
    return f"fleetctl-{fleet}-net"


def tag(fleet: str) -> str:
    """The network tag of the fleet's machines, which its firewall rules are for."""
    return f"fleetctl-{fleet}"


def rule_name(fleet: str, kind: str, network: str) -> str:
    """A firewall rule of the fleet on that network, since a rule cannot move to another one."""
    return f"fleetctl-{fleet}-{kind}-{hashlib.sha256(network.encode()).hexdigest()[:6]}"
