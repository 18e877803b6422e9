"""An Instance's name at SkyPilot, and the labels that carry all that a listing must know of it.

Labels go to the cloud with the machine and stay in SkyPilot's memory. What a cloud takes as a label differs; lower-case
letters, digits and `-` in at most 60 characters go everywhere. So three labels are for people, and the numbered ones
hold the same and the Offer in base32.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from fleetctl.model.instances import LaunchSpec, Offer
from fleetctl.model.names import InstanceId, PoolName

FLEET = "fleetctl-fleet"
_POOL = "fleetctl-pool"
_ID = "fleetctl-id"
_PART = "fleetctl-{}"
_PART_CHARACTERS = 60
_PARTS_MAX = 30
"""AWS allows 50 tags; SkyPilot sets some of its own. This is room for 1,100 bytes; an Offer takes some 250."""

_SHORT = 28
"""Of the id, in a cluster's name: clouds that allow less get it from SkyPilot shortened and with a digest."""
_DIGEST = 10
"""Hexadecimal digits, 40 bits: a million ids at once share a name by chance once in two runs, and SkyPilot's memory
holds some thousand; a cluster's labels are looked at besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What the labels of a cluster say."""

    fleet: str
    pool: PoolName
    id: InstanceId
    offer: Offer
    created_at: float
    """Unix seconds of the first request for it; SkyPilot's own date moves with every start."""


def cluster_name(fleet: str, instance: InstanceId) -> str:
    """The one name that an Instance has at SkyPilot: its idempotency token there."""
    digest = hashlib.sha256(f"{fleet}\0{instance}".encode()).hexdigest()[:_DIGEST]
    short = _plain(instance)[:_SHORT].strip("-")
    return f"{short}-{digest}" if short[:1].isalpha() else f"f{short}-{digest}"


def labels(spec: LaunchSpec, *, at: float) -> dict[str, str]:
    """The labels of a new cluster."""
    meta = Meta(fleet=spec.fleet, pool=spec.pool, id=spec.id, offer=spec.offer, created_at=at)
    text = base64.b32encode(msgspec.json.encode(meta)).decode().rstrip("=").lower()
    parts = [text[start : start + _PART_CHARACTERS] for start in range(0, len(text), _PART_CHARACTERS)]
    if len(parts) > _PARTS_MAX:
        raise ValueError(f"{spec.id}: its offer needs {len(parts)} labels, more than {_PARTS_MAX}")
    people = {FLEET: _label(spec.fleet), _POOL: _label(spec.pool), _ID: _label(spec.id)}
    return people | {_PART.format(number): part for number, part in enumerate(parts)}


def meta_of(found: Mapping[str, str]) -> Meta | None:
    """What the labels say. None: whoever set them, it is none that we made."""
    parts: list[str] = []
    while (part := found.get(_PART.format(len(parts)))) is not None and len(parts) < _PARTS_MAX:
        parts.append(part)
    text = "".join(parts).upper()
    try:
        return msgspec.json.decode(base64.b32decode(text + "=" * (-len(text) % 8)), type=Meta)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None


def _label(text: str) -> str:
    return _plain(text)[:_PART_CHARACTERS].strip("-") or "x"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
