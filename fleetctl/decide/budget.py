"""What the whole fleet may cost an hour: nothing is launched or started that would take it above its limit."""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.decide.draft import Draft
from fleetctl.decide.shortages import SHORTAGES
from fleetctl.model.decisions import Decision, Memory, StageNote
from fleetctl.model.instances import Instance, Offer, Wanted
from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import Role

STAGE = "budget"
CLOSED = "pool"
STAGES = (STAGE, CLOSED, *SHORTAGES)
"""Of what is looked at after every Service has decided."""
_SLACK = 1e-9
"""Dollars: sums of prices are not exact, and a limit may be met exactly."""


def refusal(draft: Draft, offer: Offer) -> str:
    """Why one more machine of this Offer may not run, or nothing. An unknown price fits under no limit."""
    limit = draft.snapshot.max_cost_per_hour
    if limit is None:
        return ""
    price = offer.price_per_hour
    if price is None:
        return (
            f"the price of {offer.instance_type} at {offer.provider} is unknown, and the fleet may cost at most "
            f"${limit:g}/h"
        )
    if committed(draft) + price > limit + _SLACK:
        return f"one more machine at ${price:g}/h would cost more than the fleet's limit of ${limit:g}/h"
    return ""


def committed(draft: Draft) -> float:
    """US dollars an hour of every Instance that is billed, or will be; one of unknown price cannot be counted."""
    return sum(instance.offer.price_per_hour or 0.0 for instance in draft.instances.values() if _costs(instance))


def _costs(instance: Instance) -> bool:
    return instance.billed or (instance.wanted is Wanted.RUNNING and not instance.over)


def noted(draft: Draft, decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """The Decisions, those whose Replicas wait for a machine that may not be launched bound by it."""
    return tuple(_noted(draft, decision) for decision in decisions)


def _noted(draft: Draft, decision: Decision) -> Decision:
    why, shortage = draft.refused.get(decision.service), draft.short.get(decision.service)
    waiting = [
        replica
        for replica in draft.of_service(decision.service)
        if replica.role is Role.SERVING and replica.instance is None
    ]
    if (why is None and shortage is None) or not waiting:
        return decision
    pool = draft.intents[decision.service].service.pool_name
    stage, until, ends = STAGE, None, "max_cost_per_hour in kind: fleet"
    if draft.pool_closed(pool):
        stage, ends = CLOSED, f"fleetctl pool uncordon {pool}"
    elif why is None and shortage is not None:
        stage, until, ends, why = shortage.stage, shortage.until, shortage.ends, shortage.why
    note = f"{len(waiting)} of {decision.desired} wait: {why}"
    left = decision.desired - len(waiting)
    return bound(decision, StageNote(stage=stage, value=left, note=note, until=until, ends=ends))


def bound(decision: Decision, stage: StageNote) -> Decision:
    """The Decision with such a limit as its last stage: as many Replicas are wanted, fewer get a machine."""
    reason = f"{decision.reason}; {stage.note}"
    return replace(decision, binding=stage.stage, reason=reason, stages=(*decision.stages, stage))


def remembered(draft: Draft, memories: Sequence[tuple[ServiceName, Memory]]) -> tuple[tuple[ServiceName, Memory], ...]:
    """The changed memories, with what was refused to each Service; told once, when it begins."""
    changed = dict(memories)
    for name in draft.intents:
        memory = changed.get(name) or draft.snapshot.memories.get(name) or Memory()
        unmet = draft.unmet.get(name)
        why = unmet or draft.refused.get(name, "")
        if memory.refused != why:
            changed[name] = replace(memory, refused=why)
            if unmet:
                draft.say("warning", f"service/{name}", f"it cannot run where there is room for it: {unmet}")
            elif why:
                draft.say("hold", f"service/{name}", f"no machine is launched for it: {why}")
    return tuple(changed.items())
