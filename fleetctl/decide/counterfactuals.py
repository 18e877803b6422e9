"""What would have been decided without one of the things that held the count."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleetctl.decide.limits import NO_LIMIT
from fleetctl.decide.scaling import decide
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.services import Behavior
from fleetctl.model.snapshots import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """The count, had one thing not been there."""

    without: str
    """As a person would call it: `max`, `the schedule`, …"""
    desired: int


def counterfactuals(intent: Intent, inputs: Inputs, memory: Memory) -> tuple[Counterfactual, ...]:
    """Those things without which the count would have been another, each taken away by itself."""
    actual = decide(intent, inputs, memory)[0].desired
    found = []
    for without, other, seen in _worlds(intent, inputs):
        desired = decide(other, seen, memory)[0].desired
        if desired != actual:
            found.append(Counterfactual(without=without, desired=desired))
    return tuple(found)


def _worlds(intent: Intent, inputs: Inputs) -> Iterator[tuple[str, Intent, Inputs]]:
    """The world with one thing less, for each thing that is there."""
    service, scaling = intent.service, intent.service.scaling

    def scaled(**values: object) -> Intent:
        return replace(intent, service=replace(service, scaling=replace(scaling, **values)))  # type: ignore[arg-type]

    if not intent.up:
        yield "`down`", replace(intent, up=True), inputs
        return
    if intent.override is not None:
        yield "the count set by hand", replace(intent, override=None), inputs
    if service.schedule:
        yield "the schedule", replace(intent, service=replace(service, schedule=())), inputs
    for signal in service.signals:
        others = tuple(one for one in service.signals if one is not signal)
        yield f"the signal {signal.name}", replace(intent, service=replace(service, signals=others)), inputs
    yield f"max {scaling.max}", scaled(max=NO_LIMIT), inputs
    if scaling.min:
        yield f"min {scaling.min}", scaled(min=0), inputs
    if scaling.step > 1:
        yield f"steps of {scaling.step}", scaled(step=1), inputs
    if scaling.up != Behavior() or scaling.down != Behavior():
        yield "behavior", scaled(up=Behavior(), down=Behavior()), inputs
    if scaling.scale_down_delay_s > 0:
        yield "the scale-down delay", scaled(scale_down_delay_s=0.0), inputs
    if inputs.failures:
        yield "the failed starts", intent, replace(inputs, failures=())
