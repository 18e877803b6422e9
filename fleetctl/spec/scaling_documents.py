"""How many replicas, field by field: `scaling`, the presets that it names, and `schedule`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fleetctl.spec.document import Document
from fleetctl.spec.fields import (
    LIST_MAX,
    PERCENT_MAX,
    THRESHOLD_MAX,
    Count,
    Cron,
    Duration,
    Policy,
    PositiveCount,
    PositiveDuration,
    Preset,
    Target,
    Text,
    TimeZone,
    Tolerance,
    Utilization,
    problem,
)
from fleetctl.spec.signal_documents import PositiveAmount

Percentile = Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)]


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


class PresetDoc(TuningDoc):
    """A policy with parameters, for `scaling.policy` to name; min and max belong to the service."""

    policy: Policy = Field(description="The rule that turns load into a wanted count.")
    why: Annotated[Text, Field(min_length=1)] = Field(description="One line: for whom it is, and where it comes from.")


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
