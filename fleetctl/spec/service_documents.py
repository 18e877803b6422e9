"""`kind: service`, field by field."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fleetctl.engines.gpu_gauges import EXPORTER_PORT
from fleetctl.spec.document import Document
from fleetctl.spec.entry_documents import ServiceQueueDoc
from fleetctl.spec.fields import (
    CONCURRENCY_MAX,
    ENV_MAX,
    LIST_MAX,
    REPLICAS_MAX,
    Duration,
    Engine,
    EnvName,
    Gpus,
    Labels,
    Metric,
    Name,
    Path,
    PositiveDuration,
    Text,
    Word,
    Words,
    problem,
)
from fleetctl.spec.gateway_documents import Host
from fleetctl.spec.pool_documents import PlacementDoc, Standby
from fleetctl.spec.scaling_documents import Percentile, ScalingDoc, ScheduleDoc
from fleetctl.spec.signal_documents import SignalDoc
from fleetctl.spec.units import duration_text
from fleetctl.spec.warm_up import WarmUps


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
    labels: Labels | None = Field(
        default=None, description="Your own names and values, to choose by: fleetctl ps -l team=search."
    )
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
