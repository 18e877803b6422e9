"""What each of a Service's further signals wants: up on any, down only when all agree."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isfinite

from fleetctl.decide.policies import View, policy
from fleetctl.decide.series import eases_at, measured, most_of, shared
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.outside import Signal
from fleetctl.model.records import dataclass
from fleetctl.model.services import Service
from fleetctl.model.signals import Load, OutsideReading

CONFIRMING = frozenset({"gpu_utilization"})
"""Policies that as a signal raise nothing: they only keep others from taking away what is busy."""
RATIO_MAX = 2.0
"""A value that does not go with the count, such as a latency, at most doubles what is ready."""
CALM_S = 300.0
"""Under `auto`, whose own rule is all the calm it needs, a further signal is followed down only to the most that it
wanted in this long: the HorizontalPodAutoscaler's downscale stabilisation. A `scale_down_delay` takes its place."""
_EPSILON = 1e-9
"""Exact values must not round up to one Replica more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One signal's wish."""

    name: str
    replicas: int | None
    """None: unknown."""
    note: str
    """How it comes to that, or why it is unknown."""
    confirms: bool = False
    """It raises nothing."""
    active: bool = False
    """There is something to do, so that the Service is not idle."""
    until: float | None = None
    """Unix seconds at which it may want fewer, where it is only kept up by what it wanted of late; None: it is not."""


def opinions(service: Service, inputs: Inputs, load: Load | None, memory: Memory) -> tuple[Memory, tuple[Opinion, ...]]:
    """Every signal's, in the order of the file, and the Memory with what they measured."""
    found: list[Opinion] = []
    for signal in service.signals:
        if signal.policy is None:
            opinion = _outside(signal, service, inputs)
            memory, opinion = _calmed(opinion, service, inputs, memory)
            found.append(opinion)
        elif load is None:
            found.append(Opinion(name=signal.name, replicas=None, note=inputs.why_unknown))
        else:
            wish = policy(signal.policy)(View(service=service, inputs=inputs, load=load, memory=memory))
            opinion = Opinion(
                name=signal.name,
                replicas=None if wish.why_unknown else wish.replicas,
                note=wish.why_unknown or wish.reason,
                confirms=signal.policy in CONFIRMING,
            )
            memory, opinion = _calmed(opinion, service, inputs, wish.memory)
            found.append(opinion)
    return memory, tuple(found)


def _calmed(opinion: Opinion, service: Service, inputs: Inputs, memory: Memory) -> tuple[Memory, Opinion]:
    """The opinion, no lower than it was of late, where nothing else keeps it calm."""
    scaling = service.scaling
    if opinion.replicas is None or opinion.confirms or scaling.policy != "auto" or scaling.scale_down_delay_s > 0:
        return memory, opinion
    series = f"signal/{opinion.name}"
    memory = measured(memory, series, opinion.replicas, now=inputs.at, span_s=0.0, keep_s=CALM_S)
    most = round(most_of(memory, series, now=inputs.at, window_s=CALM_S))
    if most > opinion.replicas:
        note = f"{most} was wanted within the last {CALM_S:g} s ({opinion.note})"
        until = eases_at(memory, series, opinion.replicas, window_s=CALM_S)
        opinion = replace(opinion, replicas=most, note=note, until=until)
    return memory, opinion


def _outside(signal: Signal, service: Service, inputs: Inputs) -> Opinion:
    reading = _known(signal, inputs.outside, inputs.at)
    if isinstance(reading, str):
        return Opinion(name=signal.name, replicas=None, note=reading)
    assert signal.target is not None, "a signal from outside has a target"
    value, target, tolerance = reading, signal.target, service.scaling.tolerance
    if signal.per == "replica":
        wanted = shared(value, target, current=inputs.current, tolerance=tolerance)
        return Opinion(
            name=signal.name,
            replicas=wanted,
            note=f"{signal.name} {value:g} ÷ {target:g} a replica = {wanted}",
            active=value > 0,
        )
    ratio = value / target
    note = f"{signal.name} {value:g}, {target:g} is aimed at"
    if not inputs.current:
        return Opinion(name=signal.name, replicas=int(ratio > 1 + tolerance), note=note, active=ratio > 1 + tolerance)
    if abs(ratio - 1) <= tolerance:
        return Opinion(name=signal.name, replicas=inputs.current, note=f"{note}: within the tolerance")
    if ratio < 1:
        wanted = ceil(inputs.current * ratio - _EPSILON)
    else:
        # Who is on the way has had no say in the value yet.
        wanted = max(inputs.current, ceil(max(1, inputs.ready) * min(ratio, RATIO_MAX) - _EPSILON))
    return Opinion(name=signal.name, replicas=wanted, note=f"{note}: {wanted}", active=ratio > 1)


def _known(signal: Signal, readings: Sequence[OutsideReading], now: float) -> float | str:
    """The signal's value, or why it is unknown."""
    reading = next((one for one in readings if one.name == signal.name), None)
    if reading is None:
        return "it was not read yet"
    if reading.value is None:
        return reading.why_unknown or "it could not be read"
    if not isfinite(reading.value) or reading.value < 0:
        return f"{reading.value:g} is no amount"
    if now - reading.at > signal.max_age_s:
        return f"it was measured {now - reading.at:.0f} s ago, and max_age is {signal.max_age_s:g} s"
    return reading.value
