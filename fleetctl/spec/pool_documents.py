"""Machines, field by field: `kind: pool`, where they are rented, and what stands by."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fleetctl.spec.document import Document
from fleetctl.spec.fields import (
    LIST_MAX,
    MARKET_NAMES,
    REPLICAS_MAX,
    STEPS_MAX,
    Also,
    Count,
    Duration,
    Gpus,
    Labels,
    MarketName,
    Mirrors,
    Name,
    PositiveCount,
    PositivePrice,
    Price,
    Share,
    Word,
    problem,
)

HIBERNATION = ("hibernate", "hibernated", "hibernating", "hibernation", "suspend", "suspended", "paused", "pause")
"""AWS lists no P, G or Trn family as able to; Azure only NVv4, NVadsA10v5 and NVadsV710v5, and never spot; Google does
not suspend machines with GPUs."""


def _no_hibernation(value: object) -> object:
    """What people bring from elsewhere and no machine with GPUs does."""
    if isinstance(value, str) and value.lower() in HIBERNATION:
        raise problem(
            f"there is no tier {value}: no cloud keeps a GPU's memory through it, so it would start like a stopped one",
            "write tier: asleep (an engine off the GPU) or tier: stopped (a machine off, its disk kept)",
        )
    return value


class StandbyDoc(Document):
    """Free capacity kept ready, so that the next replica need not wait for a machine."""

    steps: Annotated[int, Field(ge=0, le=STEPS_MAX)] | None = Field(
        default=None, description="How much, in scale steps (`scaling.step` replicas each)."
    )
    slots: Annotated[int, Field(ge=0, le=REPLICAS_MAX)] | None = Field(
        default=None, description="How much, as a number of replicas that can start at once; instead of `steps`."
    )
    tier: Annotated[Literal["hot", "asleep", "warm", "stopped"], BeforeValidator(_no_hibernation)] | None = Field(
        default=None,
        description="How ready: hot (engine loaded), asleep (engine running, weights off the GPU), warm (machine "
        "running, image and weights on disk), stopped (machine stopped, disk kept).",
    )
    auto: bool | None = Field(
        default=None,
        description="Sized by fleetctl, from what a slot costs and what a slow start costs; `steps` holds until it "
        "has learned.",
    )
    sleep_level: Annotated[int, Field(ge=1, le=2)] | None = Field(
        default=None,
        description="Of the tier asleep: 1 keeps the weights in the host's memory, 2 drops them and loads them again "
        "to wake. Not written: 1 where that memory holds the weights of all that sleep there.",
    )
    share: bool | None = Field(
        default=None,
        description="Of a pool's tier asleep: engines of several services sleep on the same GPUs, and one at a time is "
        "awake there.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.steps is not None and self.slots is not None:
            raise problem("steps and slots cannot both be given", "keep one of the two")
        if self.auto and self.slots is not None:
            raise problem("a number of slots and auto cannot both be given", "keep one of the two")
        return self


def _spelt_out(value: object) -> object:
    """`none`, `auto` and a plain number of slots as the mapping they stand for."""
    if value == "auto":
        return {"auto": True}
    if value == "none" or (value == 0 and not isinstance(value, bool)):
        return {"steps": 0}
    return {"slots": value} if isinstance(value, int) and not isinstance(value, bool) else value


Standby = Annotated[
    StandbyDoc,
    BeforeValidator(_spelt_out),
    Also({"anyOf": [{"enum": ["none", "auto"]}, {"type": "integer", "minimum": 0, "maximum": REPLICAS_MAX}]}),
]


class MixDoc(Document):
    """Spot and on-demand machines side by side."""

    spot: Share = Field(description="Share of the machines, beyond the base, that are spot.")
    on_demand_base: Count | None = Field(default=None, description="So many machines are on demand before any is spot.")
    fallback: bool | None = Field(default=None, description="Rent on demand while spot is short. Default: true.")
    reserved: bool | None = Field(
        default=None, description="All of it from capacity that was reserved at the cloud; as market: reserved."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.reserved and self.spot:
            raise problem("reserved capacity has no share of spot", "write market: reserved, or shares without it")
        return self


Market = Annotated[MixDoc, MarketName, Also(MARKET_NAMES)]


class PlacementDoc(Document):
    """Where machines may be rented."""

    providers: Annotated[list[Name], Field(min_length=1, max_length=LIST_MAX)] | None = Field(
        default=None, description="Providers to rent from; not written: every one that is set up."
    )
    regions: Annotated[list[Word], Field(min_length=1, max_length=LIST_MAX)] | None = Field(
        default=None, description="Regions to rent in; not written: every one."
    )
    market: Market | None = Field(
        default=None,
        description="on_demand, or spot: cheaper, and taken away at short notice; or shares of both, such as "
        "{spot: 70%, on_demand_base: 1, fallback: true}.",
    )
    max_price_per_hour: PositivePrice | None = Field(
        default=None, description="US dollars per hour of one machine; dearer offers are not taken."
    )
    same: Literal["zone", "region"] | None = Field(
        default=None, description="All machines together in one zone, or in one region: wherever the first is."
    )
    beside: Annotated[list[Name], Field(min_length=1, max_length=LIST_MAX)] | None = Field(
        default=None, description="With `same`: together with the machines of these services, which it talks to."
    )

    @model_validator(mode="after")
    def _beside(self) -> Self:
        if self.beside is not None and self.same is None:
            raise problem("beside needs to know how near", "add same: zone, or same: region")
        return self


class LocalDoc(Document):
    """What a machine of the provider `local` pretends to be."""

    boot: Duration | None = Field(default=None, description="Time from launch to an answering machine.")
    image: Duration | None = Field(default=None, description="Time to pull the container image.")
    weights: Duration | None = Field(default=None, description="Time to download the weights.")


class PoolDoc(Document):
    """Interchangeable machines for one or many services."""

    kind: Literal["pool"] = Field(description="What this document declares.")
    name: Name = Field(description="The pool's name; that of a service makes it this service's own.")
    labels: Labels | None = Field(
        default=None, description="Your own names and values, to choose by: fleetctl ps -i -l team=search."
    )
    gpu: Gpus = Field(description="GPUs of one machine as name:count; a list is a set of alternatives, best first.")
    provider: Name | None = Field(
        default=None, description="The one provider to rent from; short for placement.providers."
    )
    placement: PlacementDoc | None = Field(default=None, description="Where machines may be rented.")
    min: Count | None = Field(default=None, description="Machines never fewer than this.")
    max: PositiveCount | None = Field(default=None, description="Machines never more than this.")
    standby: Standby | None = Field(
        default=None,
        description="Free capacity kept ready for all services of the pool: auto, a number of slots, or more "
        "precisely; 0 or none: nothing.",
    )
    price_per_hour: Price | None = Field(
        default=None,
        description="US dollars per hour of one machine, for machines that no price list knows; 0 if it is owned.",
    )
    registry_mirrors: Mirrors | None = Field(
        default=None,
        description="Mirrors of docker.io that the Docker of rented machines asks first, such as one in their region; "
        "before the fleet's.",
    )
    lazy: Literal["soci", "stargz", "nydus"] | None = Field(
        default=None,
        description="Begin engines before their image is here: for machines whose Docker has that snapshotter, and "
        "images that are made for it.",
    )
    local: LocalDoc | None = Field(
        default=None,
        description="How long each stage of a cold start takes with the provider `local`; others ignore it.",
    )
