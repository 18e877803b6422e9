"""The documents a user writes, field by field: what each means and what it may be.

Only what is written is set; every default is the model's own. The descriptions here are the ones that the JSON Schema,
and with it the user's editor, shows.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fleetctl.engines.gpu_gauges import EXPORTER_PORT
from fleetctl.spec.daemon_documents import DaemonDoc
from fleetctl.spec.document import Document as Document
from fleetctl.spec.entry_documents import GatewayDoc as GatewayDoc
from fleetctl.spec.entry_documents import ServiceQueueDoc, TenantFileDoc
from fleetctl.spec.fields import (
    CONCURRENCY_MAX,
    ENV_MAX,
    LIST_MAX,
    MARKET_NAMES,
    PERCENT_MAX,
    REPLICAS_MAX,
    STEPS_MAX,
    THRESHOLD_MAX,
    Also,
    Count,
    Cron,
    Duration,
    Engine,
    EnvName,
    Gpus,
    MarketName,
    Metric,
    Mirrors,
    Name,
    Path,
    Policy,
    PositiveCount,
    PositiveDuration,
    PositivePrice,
    Preset,
    Price,
    Setting,
    Share,
    Store,
    Target,
    Text,
    TimeZone,
    Tolerance,
    Utilization,
    Word,
    Words,
    problem,
)
from fleetctl.spec.gateway_documents import Host
from fleetctl.spec.signal_documents import PositiveAmount, SignalDoc
from fleetctl.spec.units import duration_text
from fleetctl.spec.warm_up import WarmUps

Percentile = Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)]


class SloDoc(Document):
    """The promise."""

    ttft: PositiveDuration = Field(description="Time to the first token, queueing included, that the promise allows.")
    percentile: Percentile | None = Field(default=None, description="Per cent of requests that the promise holds for.")


class MetricsDoc(Document):
    """Where a generic engine shows its load, in the Prometheus text that it serves at /metrics."""

    running: Metric = Field(description="Name of the metric that counts the requests being served now.")
    waiting: Metric | None = Field(
        default=None, description="Name of the metric that counts the requests queued inside the engine."
    )


class GpuMetricsDoc(Document):
    """The exporter of GPU metrics on each machine, such as NVIDIA's dcgm-exporter."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description=f"Where it serves /metrics; dcgm-exporter's own is {EXPORTER_PORT}."
    )


class RateDoc(Document):
    """One limit on the rate of change: at most so many replicas, or per cent of them, in any such period."""

    replicas: PositiveCount | None = Field(
        default=None, description="Replicas that may be added or removed in any `period`."
    )
    percent: Annotated[int, Field(ge=1, le=PERCENT_MAX)] | None = Field(
        default=None,
        description="Per cent of the replicas that may be added or removed in any `period`; a plain number.",
    )
    period: PositiveDuration = Field(description="The length of time that the limit counts over.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.replicas is None) == (self.percent is None):
            raise problem("needs one of replicas and percent", "write {replicas: 4, period: 15s} or percent instead")
        return self


class DirectionDoc(Document):
    """How fast replicas may change in one direction, as in a HorizontalPodAutoscaler's behavior."""

    stabilization: Duration | None = Field(
        default=None, description="Move only as far as was wanted throughout this long: the most careful wish wins."
    )
    policies: Annotated[list[RateDoc], Field(max_length=LIST_MAX)] | None = Field(
        default=None, description="Limits on the rate of change; none: no limit."
    )
    select: Literal["max", "min", "disabled"] | None = Field(
        default=None,
        description="Which of the limits counts: the one that allows most (max), least (min), or never move this way.",
    )


class BehaviorDoc(Document):
    """Rates of change, up and down."""

    up: DirectionDoc | None = Field(default=None, description="Adding replicas.")
    down: DirectionDoc | None = Field(default=None, description="Removing replicas.")


class TuningDoc(Document):
    """What a preset may set and a service may set over it."""

    step: PositiveCount | None = Field(
        default=None, description="Replicas are added and removed in multiples of this; standby is counted in it."
    )
    replicas: Count | None = Field(default=None, description="The count of the policy `fixed`; only with it.")
    queued: PositiveAmount | None = Field(
        default=None, description="Requests that may wait for each replica; of the policy `queue_depth`."
    )
    requests_per_second: PositiveAmount | None = Field(
        default=None, description="Arrivals a second that each replica is kept at; of the policy of that name."
    )
    tokens_per_second: PositiveAmount | None = Field(
        default=None,
        description="Tokens a second, of prompts and answers together, that each replica is kept at; of the policy of "
        "that name.",
    )
    latency: PositiveDuration | None = Field(
        default=None,
        description="What the policy `latency_slo` keeps requests within. Not written: slo.ttft, for the first token.",
    )
    latency_of: Literal["ttft", "end_to_end"] | None = Field(
        default=None, description="What `latency` is of: the first token (ttft), or the whole answer (end_to_end)."
    )
    percentile: Percentile | None = Field(
        default=None, description="Per cent of requests that `latency_slo` looks at. Not written: slo.percentile."
    )
    utilization: Utilization | None = Field(
        default=None, description="Share of time that GPUs are kept busy; of the policy `gpu_utilization`."
    )
    target: Target | None = Field(
        default=None, description="Share of `concurrency` that a replica is kept at; the rest is room for bursts."
    )
    window: PositiveDuration | None = Field(
        default=None, description="Load is averaged over this; the policy acts on the average."
    )
    panic_window: Duration | None = Field(
        default=None, description="The short window that finds bursts; shorter than `window`."
    )
    panic_threshold: Annotated[float, Field(ge=1, le=THRESHOLD_MAX, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Panic when the short window wants this many times what is ready: act on it, never scale down. "
        f"{THRESHOLD_MAX:g}: never panic.",
    )
    tolerance: Tolerance | None = Field(
        default=None, description="No change while load differs by less than this share from what the replicas carry."
    )
    scale_down_delay: Duration | None = Field(
        default=None, description="Scale down only to the largest count that was wanted in this long."
    )
    idle: Duration | None = Field(
        default=None,
        description="Go to zero only after this long without any request; needs `min: 0`. Not written: the policy "
        "`auto` learns it from how long lulls last.",
    )
    behavior: BehaviorDoc | None = Field(
        default=None, description="Rates of change, up and down, as in a HorizontalPodAutoscaler."
    )


class ScalingDoc(TuningDoc):
    """How many replicas, and how their number moves. The preset's values first, then those written here."""

    min: Count | None = Field(
        default=None, description="Replicas never fewer than this; 0 lets the service go to zero."
    )
    max: PositiveCount | None = Field(
        default=None,
        description="Replicas never more than this. With the policy `fixed` it need not be written.",
    )
    policy: Preset | None = Field(
        default=None,
        description="A preset: the name of one that comes with fleetctl, or the path of a YAML file of your own.",
    )


class ColdStartDoc(Document):
    """A first guess of how long starts take; what is measured soon counts for more."""

    cold: PositiveDuration | None = Field(
        default=None, description="From ordering a machine to the first token. Not written: from the model's size."
    )
    standby: Duration | None = Field(default=None, description="The same from a slot that stands by.")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.cold is not None and self.standby is not None and self.standby > self.cold:
            raise problem(
                f"standby {duration_text(self.standby)} is longer than cold {duration_text(self.cold)}",
                "exchange the two, or remove standby",
            )
        return self


def _no_hibernation(value: object) -> object:
    """What people bring from elsewhere and no machine with GPUs does."""
    if isinstance(value, str) and value.lower() in HIBERNATION:
        raise problem(
            f"there is no tier {value}: no cloud keeps a GPU's memory through it, so it would start like a stopped one",
            "write tier: asleep (an engine off the GPU) or tier: stopped (a machine off, its disk kept)",
        )
    return value


HIBERNATION = ("hibernate", "hibernated", "hibernating", "hibernation", "suspend", "suspended", "paused", "pause")
"""AWS lists no P, G or Trn family as able to; Azure only NVv4, NVadsA10v5 and NVadsV710v5, and never spot; Google does
not suspend machines with GPUs."""


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


class ScheduleDoc(Document):
    """A floor, a ceiling or an exact count that holds at certain times. Where several hold at once: the latest exact
    count to begin replaces what began before it; of the rest the highest floor and the lowest ceiling hold, and a floor
    above a ceiling wins."""

    cron: Cron = Field(description="When it begins: minute, hour, day of month, month, weekday.")
    tz: TimeZone | None = Field(default=None, description="The time zone that `cron` is in, such as Europe/Berlin.")
    duration: PositiveDuration = Field(
        alias="for",
        description="How long it holds from each beginning by the clock of `tz`: 24h is a day also when clocks change.",
    )
    min: Count | None = Field(
        default=None,
        description="Never fewer replicas than this meanwhile; they are started early, to be there in time.",
    )
    max: Count | None = Field(default=None, description="Never more replicas than this meanwhile.")
    replicas: Count | None = Field(
        default=None, description="Exactly as many replicas meanwhile, whatever the load; instead of min and max."
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min is None and self.max is None and self.replicas is None:
            raise problem(
                "sets neither min nor max nor replicas",
                "add min (a floor), max (a ceiling) or replicas (an exact count)",
            )
        if self.replicas is not None and (self.min is not None or self.max is not None):
            raise problem("replicas is an exact count, so min and max mean nothing beside it", "keep replicas alone")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise problem(f"min {self.min} is more than max {self.max}", "write a min that is at most max")
        return self


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


class RolloutDoc(Document):
    """How another revision comes in."""

    surge: Annotated[int, Field(ge=1, le=REPLICAS_MAX)] | None = Field(
        default=None, description="Replicas that may be there beyond the wanted count. Default: scaling.step."
    )
    settle: Duration | None = Field(
        default=None, description="A new replica counts once it was ready for so long without dying."
    )
    failures: Annotated[int, Field(ge=1, le=REPLICAS_MAX)] | None = Field(
        default=None, description="So many new replicas that fail or die in a row bring the old revision back."
    )
    deadline: PositiveDuration | None = Field(
        default=None,
        description="The same when, with a machine, none was ready for so long. Default: startup_timeout.",
    )


class ServiceDoc(Document):
    """A model served at a promise."""

    kind: Literal["service"] = Field(description="What this document declares.")
    name: Name = Field(description="The service's name.")
    engine: Engine = Field(
        description="The inference server; `rehearsal` plays one on any machine, `generic` is any other."
    )
    model: Word = Field(
        description="The weights: hf://organisation/name@commit, s3://, gs:// or az://bucket/folder, "
        "https://host/file, file:///path, or the engine's own name."
    )
    gpu: Gpus = Field(
        description="GPUs of one replica as name:count; a list is a set of alternatives, best first; any:1 takes any."
    )
    concurrency: Annotated[int, Field(ge=1, le=CONCURRENCY_MAX)] | None = Field(
        default=None,
        description="Requests that one replica serves at once: the engine's batch limit. Default: the engine's.",
    )
    image: Word | None = Field(
        default=None,
        description="Container image, by tag or by digest. A tag is resolved once: what it means when the first "
        "machine pulls it is what the fleet runs, until another image is written. Not written: the engine runs as a "
        "plain process.",
    )
    command: Annotated[Words, Field(min_length=1)] | None = Field(
        default=None,
        description="Replaces the engine's command line; a text or a list of words. {port}, {model}, "
        "{concurrency} and {weights}, the folder in which the machine holds the weights, are filled in.",
    )
    args: Words | None = Field(default=None, description="Words put behind the command line; a text or a list.")
    env: Annotated[dict[EnvName, Text], Field(max_length=ENV_MAX)] | None = Field(
        default=None,
        description="Environment variables of the engine. Secrets do not belong here: the file and the fleet's store "
        "keep what is written.",
    )
    metrics: MetricsDoc | None = Field(
        default=None, description="Names of the load metrics; of the engine `generic` only, and needed there."
    )
    readiness_path: Path | None = Field(
        default=None, description="Path that answers 200 once requests can be served. Default: the engine's."
    )
    warm_up: WarmUps | None = Field(
        default=None,
        description="Requests that each replica answers before it counts as ready, in order: prompts to complete, or "
        "paths with bodies. One that fails fails the start.",
    )
    loading: Literal["auto", "prefetch", "eager", "fast", "stream", "sharded"] | None = Field(
        default=None,
        description="How the engine loads its weights: auto (from the machine's disk, read ahead), prefetch or eager "
        "(by the engine's own options), fast (fastsafetensors, if the image has it), stream (straight from s3, gs or "
        "az, past the disk), sharded (files saved by rank).",
    )
    slo: SloDoc | None = Field(default=None, description="The promise that reports are measured against.")
    cold_start: ColdStartDoc | None = Field(
        default=None, description="A first guess of how long starts take. Not written: estimated from the model's size."
    )
    scaling: ScalingDoc | None = Field(default=None, description="How many replicas, and how their number moves.")
    signals: Annotated[list[SignalDoc], Field(max_length=LIST_MAX)] | None = Field(
        default=None,
        description="Further signals beside the policy: up on any, down only when all agree; unknown ones hold.",
    )
    gpu_metrics: GpuMetricsDoc | None = Field(
        default=None, description="Where machines show how busy their GPUs are; for the policy `gpu_utilization`."
    )
    standby: Standby | None = Field(
        default=None,
        description="Free capacity kept ready: auto, a number of slots, or more precisely; 0 or none: nothing. Not "
        "written: the pool's own setting.",
    )
    schedule: Annotated[list[ScheduleDoc], Field(max_length=LIST_MAX)] | None = Field(
        default=None, description="Floors, ceilings and exact counts that hold at certain times."
    )
    placement: PlacementDoc | None = Field(
        default=None, description="Where machines may be rented. A service that names a pool has the pool's."
    )
    rollout: RolloutDoc | None = Field(default=None, description="How another revision comes in, and is given up.")
    pool: Name | None = Field(
        default=None,
        description="A declared pool to run in. Not written: the service has one of its own, of the same name.",
    )
    startup_timeout: PositiveDuration | None = Field(
        default=None, description="A replica that is not ready this long after its engine was asked for has failed."
    )
    drain_timeout: Duration | None = Field(
        default=None, description="A draining replica is stopped after this long, with or without running requests."
    )
    queue_timeout: PositiveDuration | None = Field(default=None, description="Short for queue.timeout.")
    queue: ServiceQueueDoc | None = Field(
        default=None, description="How requests wait while every slot is taken, or while there is no replica."
    )
    hosts: Annotated[list[Host], Field(max_length=LIST_MAX)] | None = Field(
        default=None, description="Values of the Host header that mean this service; *.example.org for all below it."
    )
    adapters: Annotated[list[Word], Field(max_length=LIST_MAX)] | None = Field(
        default=None,
        description="LoRA adapters that its engine has: values of `model` that mean this service and are asked of it "
        "as they are.",
    )

    @model_validator(mode="after")
    def _one_timeout(self) -> Self:
        if self.queue_timeout is not None and self.queue is not None and self.queue.timeout is not None:
            raise problem("queue_timeout and queue.timeout are the same", "keep queue: {timeout: …} alone")
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


class FleetDoc(Document):
    """What holds for the whole fleet; at most one document."""

    kind: Literal["fleet"] = Field(description="What this document declares.")
    name: Name | None = Field(default=None, description="The fleet's name; machines are tagged with it.")
    gateway: GatewayDoc | None = Field(default=None, description="Where requests come in, and whose.")
    daemon: DaemonDoc | None = Field(default=None, description="The controller's own process.")
    period: PositiveDuration | None = Field(default=None, description="How often the controller looks and decides.")
    store: Store | None = Field(
        default=None,
        description="Where the fleet's memory is kept: a file beside this one, or postgresql://user@host/database "
        "without a password. Not written: fleet.db in fleetctl's home.",
    )
    max_cost_per_hour: PositivePrice | None = Field(
        default=None, description="US dollars per hour that the whole fleet may cost; nothing is launched above it."
    )
    registry_mirrors: Mirrors | None = Field(
        default=None,
        description="Mirrors of docker.io that the Docker of rented machines asks first, as http(s)://host:port.",
    )
    providers: Annotated[dict[Name, dict[Setting, Any]], Field(max_length=LIST_MAX)] | None = Field(
        default=None,
        description="Clouds to rent from, each with its own settings, such as aws: {regions: [us-east-1]}. "
        "Credentials never belong here: each cloud's own tools find them. `local` needs no mention.",
    )


class PresetDoc(TuningDoc):
    """A policy with parameters, for `scaling.policy` to name; min and max belong to the service."""

    policy: Policy = Field(description="The rule that turns load into a wanted count.")
    why: Annotated[Text, Field(min_length=1)] = Field(description="One line: for whom it is, and where it comes from.")


DOCUMENTS: dict[str, type[Document]] = {
    "service": ServiceDoc,
    "pool": PoolDoc,
    "fleet": FleetDoc,
    "tenant": TenantFileDoc,
}
"""By `kind`."""
