"""The brain as a filter: one line of observations in, one line of decisions out, for anyone's own actuator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from fleetctl.decide.scaling import decide
from fleetctl.model.decisions import Decision, Inputs, Memory
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Service, Standby
from fleetctl.model.signals import Flow, Load, OutsideReading, Utilization
from fleetctl.model.snapshots import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """One Replica on its way."""

    age_s: float
    """Since it was ordered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What was measured since the line before. None: unknown."""

    concurrency: float | None = None
    """Requests queued + running, mean over the interval."""
    queue: float | None = None
    """Those of them that waited, mean over the interval."""
    arrivals: float | None = None
    """Requests that came in the interval."""
    input_tokens: float | None = None
    output_tokens: float | None = None
    completed: float | None = None
    ttft_s: float | None = None
    """The percentile of times to the first token that the policy `latency_slo` keeps, over the interval, in seconds."""
    end_to_end_s: float | None = None
    """Likewise, of times to the last token."""
    oldest_wait_s: float | None = None
    """How long the request that waits longest has waited, now."""
    gpu_utilization: float | None = None
    """Share of the interval that the GPUs of the ready Replicas were busy, their mean, in [0, 1]."""
    fullest: float | None = None
    """Most requests that one engine ran at once while others waited inside it; None: none waited inside any."""
    outside: Mapping[str, float | None] = field(default_factory=dict)
    """By the names that the file gives its `signals`, measured now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLine:
    """One Service as its actuator sees it."""

    name: ServiceName
    ready: int
    starting: tuple[Starting, ...] = ()
    draining: int = 0
    standby: int = 0
    """Slots that stand by, ready to be taken."""
    signals: Signals = Signals()

    @property
    def ordered(self) -> int:
        """Ready and starting: what `desired` is compared with."""
        return self.ready + len(self.starting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One tick, in."""

    t: float
    """Seconds, from any beginning."""
    services: tuple[ServiceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAnswer:
    name: ServiceName
    desired: int
    """Replicas wanted: ready + starting."""
    standby: int
    """Slots wanted beyond them, standing by."""
    reason: str
    binding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One tick, out."""

    t: float
    decisions: tuple[ServiceAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """All that has to be kept between two lines; with it, a restart changes nothing."""

    t: float | None = None
    """Of the newest line."""
    began: float | None = None
    """Of the first line."""
    memories: Mapping[ServiceName, Memory] = field(default_factory=dict)


def answer(line: Line, services: Sequence[Service], before: Recollection) -> tuple[Answer, Recollection]:
    """What the brain wants at this line, and what it has to remember for the next; `decisions` in few words."""
    declared = {service.name: service for service in services}
    made, after = decisions(line, services, before)
    answers = [
        ServiceAnswer(
            name=decision.service,
            desired=decision.desired,
            standby=standby_wanted(declared[decision.service], decision),
            reason=decision.reason,
            binding=decision.binding,
        )
        for decision in made
    ]
    return Answer(t=line.t, decisions=tuple(answers)), after


def decisions(
    line: Line, services: Sequence[Service], before: Recollection
) -> tuple[tuple[Decision, ...], Recollection]:
    """Every Decision at this line, stage by stage, and what has to be remembered for the next line.

    Time that stands still or runs backwards holds every count and is not remembered. A signal that is missing,
    negative or not finite is unknown: the count is held, never lowered.
    """
    declared = {service.name: service for service in services}
    if before.t is not None and line.t <= before.t:
        why = f"hold: time went from {before.t:g} to {line.t:g}"
        return tuple(_held(declared[seen.name], seen, line.t, before, why) for seen in line.services), before
    memories = dict(before.memories)
    made = []
    for seen in line.services:
        decision, memories[seen.name] = _decide(declared[seen.name], seen, memories.get(seen.name), line.t, before)
        made.append(decision)
    began = line.t if before.began is None else before.began
    return tuple(made), Recollection(t=line.t, began=began, memories=memories)


def _held(service: Service, seen: ServiceLine, now: float, before: Recollection, why: str) -> Decision:
    """The count as it is, of a line that nothing can be made of."""
    known = before.memories.get(seen.name)
    return Decision(
        service=seen.name,
        at=now,
        current=seen.ordered,
        ready=seen.ready,
        desired=seen.ordered,
        binding="signal",
        reason=why,
        stages=(),
        concurrency=None,
        concurrency_most=None,
        unknown=seen.ready,
        queued=None,
        target=service.target_concurrency,
        standby=None if known is None else known.standby,
    )


def _decide(
    service: Service, seen: ServiceLine, memory: Memory | None, now: float, before: Recollection
) -> tuple[Decision, Memory]:
    span_s = 0.0 if before.t is None else now - before.t
    signals = seen.signals
    load = load_of(signals, span_s)
    inputs = Inputs(
        at=now,
        load=load if isinstance(load, Load) else None,
        why_unknown=load if isinstance(load, str) else "",
        current=seen.ordered,
        ready=seen.ready,
        coming=len(seen.starting),
        ages_s=tuple(starting.age_s for starting in seen.starting),
        draining=seen.draining,
        standby=seen.standby,
        flow=Flow(
            span_s=span_s,
            arrivals=_count(signals.arrivals),
            input_tokens=_count(signals.input_tokens),
            output_tokens=_count(signals.output_tokens),
            completed=_count(signals.completed),
            ttft_s=_count(signals.ttft_s),
            end_to_end_s=_count(signals.end_to_end_s),
        )
        if span_s > 0
        else Flow(),
        utilization=_utilization(signals.gpu_utilization),
        fullest=_count(signals.fullest),
        outside=_outside(service, signals, now),
    )
    began = now if before.began is None else before.began
    return decide(Intent(service=service, revision="", changed_at=began), inputs, memory or Memory())


def load_of(signals: Signals, span_s: float) -> Load | str:
    """The load that the signals tell, as a mean over `span_s` seconds; or why it is unknown."""
    concurrency = signals.concurrency
    if concurrency is None:
        return "no concurrency in the line"
    if not isfinite(concurrency) or concurrency < 0:
        return f"concurrency {concurrency:g} is no load"
    return Load(
        low=concurrency,
        high=concurrency,
        queued=min(concurrency, _count(signals.queue) or 0.0),
        oldest_wait_s=_count(signals.oldest_wait_s) or 0.0,
        unknown=0,
        queued_known=_count(signals.queue) is not None,
        mean_over_s=span_s,
    )


def _utilization(share: float | None) -> Utilization | None:
    known = _count(share)
    return None if known is None or known > 1 else Utilization(low=known, high=known)


def _outside(service: Service, signals: Signals, now: float) -> tuple[OutsideReading, ...]:
    """What the line tells of the signals that the file declares; what it does not tell is unknown."""
    return tuple(
        OutsideReading(
            name=signal.name,
            value=_count(signals.outside.get(signal.name)),
            why_unknown="the line tells no amount of it"
            if signals.outside.get(signal.name) is not None
            else "the line does not tell it",
            at=now,
        )
        for signal in service.signals
        if signal.policy is None
    )


def _count(value: float | None) -> float | None:
    """What is negative or not finite is unknown."""
    return value if value is not None and isfinite(value) and value >= 0 else None


def standby_wanted(service: Service, decision: Decision) -> int:
    """Slots that shall stand by: what the policy wants, where the file leaves it to it; else what the file says."""
    standby = service.standby or Standby()
    slots = standby.slots if standby.slots is not None else standby.steps * service.scaling.step
    if standby.auto and decision.standby is not None:
        slots = decision.standby
    return max(0, min(slots, service.scaling.max - decision.desired))
