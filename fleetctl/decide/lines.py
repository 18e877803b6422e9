"""The brain as a filter: one line of observations in, one line of decisions out, for anyone's own actuator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from fleetctl.decide.load import Load
from fleetctl.decide.scaling import Counts, decide
from fleetctl.model.decisions import Decision, Memory
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Service, Standby
from fleetctl.model.signals import Unknown
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
    """What the brain wants at this line, and what it has to remember for the next.

    Time that stands still or runs backwards holds every count and is not remembered. A signal that is missing,
    negative or not finite is unknown: the count is held, never lowered.
    """
    declared = {service.name: service for service in services}
    backwards = before.t is not None and line.t <= before.t
    began = line.t if before.began is None else before.began
    memories = dict(before.memories)
    answers: list[ServiceAnswer] = []
    for seen in line.services:
        service = declared[seen.name]
        current = seen.ready + len(seen.starting)
        if backwards:
            reason = f"hold: time went from {before.t:g} to {line.t:g}"
            answers.append(
                ServiceAnswer(
                    name=seen.name,
                    desired=current,
                    standby=_standby(service, current),
                    reason=reason,
                    binding="signal",
                )
            )
            continue
        decision, memories[seen.name] = _decide(service, seen, current, memories.get(seen.name), line.t, began)
        answers.append(
            ServiceAnswer(
                name=seen.name,
                desired=decision.desired,
                standby=_standby(service, decision.desired),
                reason=decision.reason,
                binding=decision.binding,
            )
        )
    after = before if backwards else Recollection(t=line.t, began=began, memories=memories)
    return Answer(t=line.t, decisions=tuple(answers)), after


def _decide(
    service: Service, seen: ServiceLine, current: int, memory: Memory | None, now: float, began: float
) -> tuple[Decision, Memory]:
    return decide(
        Intent(service=service, revision="", changed_at=began),
        Counts(current=current, ready=seen.ready, coming=len(seen.starting)),
        load_of(seen.signals, now),
        memory or Memory(),
        now,
        price_per_replica=None,
    )


def load_of(signals: Signals, now: float) -> Load | Unknown:
    """The load that the signals tell; Unknown where they do not."""
    concurrency = signals.concurrency
    if concurrency is None:
        return Unknown(reason="no concurrency in the line", since=now)
    if not isfinite(concurrency) or concurrency < 0:
        return Unknown(reason=f"concurrency {concurrency:g} is no load", since=now)
    queue = signals.queue
    known = queue is not None and isfinite(queue) and queue >= 0
    return Load(
        low=concurrency,
        high=concurrency,
        queued=round(queue) if known and queue is not None else 0,
        oldest_wait_s=0.0,
        unknown=0,
    )


def _standby(service: Service, desired: int) -> int:
    standby = service.standby or Standby()
    slots = standby.slots if standby.slots is not None else standby.steps * service.scaling.step
    return max(0, min(slots, service.scaling.max - desired))
