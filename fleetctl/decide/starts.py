"""How a start came about, stage by stage, by one clock: the controller's. It is told once, when it is over."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from fleetctl.decide.draft import Draft
from fleetctl.model.instances import Instance
from fleetctl.model.nodes import NodeStatus, ReplicaStatus
from fleetctl.model.replicas import Replica, ReplicaPhase, Role, Stage
from fleetctl.model.starts import Start

CLOCK_NEWS_S = 0.02
"""A difference of clocks is known to within an answer's way: less than this is no news, and would change rows for
nothing."""
CLOCK_SET_S = 5.0
"""A difference that is larger than known by this much is no slow answer: a clock was set."""
BEFORE_S = 1.0
"""A Node that had the order this long before it was decided had it from another store: that start was not ours."""
REASON_CHARS = 500
"""Of a failure, in a Start: an engine's last words fill a screen, and a thousand Starts are kept."""


def clock_lead_s(known: float | None, status: NodeStatus, now: float) -> float:
    """What is added to the Node's clock to have ours, in seconds.

    An answer says it too large by as long as it was on its way, so the smallest that was heard is the best.
    """
    found = (now if status.heard_at is None else status.heard_at) - status.at
    if known is None or found < known - CLOCK_NEWS_S or found > known + CLOCK_SET_S:
        return found
    return known


def ours(stages: Iterable[Stage], *, lead_s: float) -> tuple[Stage, ...]:
    """A Node's stages by our clock."""
    return tuple(
        replace(
            stage,
            started_at=stage.started_at + lead_s,
            ended_at=None if stage.ended_at is None else stage.ended_at + lead_s,
        )
        for stage in stages
    )


def over(replica: Replica) -> bool:
    """Whether its start has ended well."""
    return replica.ready_at is not None or replica.asleep_at is not None


def seen(draft: Draft, replica: Replica, status: ReplicaStatus, node: NodeStatus) -> Replica:
    """The Replica with the stages of its start as they are known now; those of a start that was over stay."""
    known = draft.replicas[replica.id]
    if over(known):
        return replica
    if replica.role is Role.ASLEEP and replica.phase is ReplicaPhase.ASLEEP:
        replica = replace(replica, asleep_at=draft.now)
    instance = None if replica.instance is None else draft.instances.get(replica.instance)
    return replace(replica, stages=_stages(replica, instance, status, node))


def ended(draft: Draft, replica: Replica, status: ReplicaStatus | None = None) -> None:
    """Tell of a start that has ended well."""
    if status is None or not _begun_elsewhere(replica, status):
        draft.starts.append(_start(draft, replica))


def failed(draft: Draft, replica: Replica, reason: str) -> None:
    """Tell of a start that has failed."""
    start = _start(draft, replica)
    draft.starts.append(replace(start, outcome="failed", reason=_shortened(reason)))


def _begun_elsewhere(replica: Replica, status: ReplicaStatus) -> bool:
    if replica.origin in ("hot", "asleep") or status.accepted_at is None:
        return False
    return status.accepted_at + (replica.clock_lead_s or 0.0) < replica.created_at - BEFORE_S


def _start(draft: Draft, replica: Replica) -> Start:
    instance = None if replica.instance is None else draft.instances.get(replica.instance)
    offer = None if instance is None else instance.offer
    ended_at = draft.now
    return Start(
        service=replica.service,
        revision=replica.revision,
        replica=replica.id,
        role=replica.role,
        instance=replica.instance,
        provider="" if offer is None else offer.provider,
        machine="" if offer is None else offer.instance_type,
        gpu="" if offer is None else str(offer.gpu),
        origin=replica.origin,
        decided_at=replica.created_at,
        ended_at=ended_at,
        stages=tuple(_within(replica.stages, replica.created_at, ended_at)),
    )


def _within(stages: Iterable[Stage], since: float, until: float) -> Iterable[Stage]:
    for stage in stages:
        begun, end = max(since, stage.started_at), until if stage.ended_at is None else min(until, stage.ended_at)
        if end > begun:
            yield replace(stage, started_at=begun, ended_at=end)


def _stages(replica: Replica, instance: Instance | None, status: ReplicaStatus, node: NodeStatus) -> tuple[Stage, ...]:
    """Every stage that is known of the start, in order."""
    lead_s = replica.clock_lead_s or 0.0
    # What a Standby went through before it was wanted is no part of this start.
    there = [stage for stage in ours(status.stages, lead_s=lead_s) if _reaches(stage, replica.created_at)]
    accepted_at = None if status.accepted_at is None else status.accepted_at + lead_s
    return (
        *_to_the_slot(replica, instance, ours(node.stages, lead_s=lead_s)),
        *_to_the_node(replica, there, accepted_at),
        *there,
        *_to_the_routes(replica, there),
    )


def _reaches(stage: Stage, at: float) -> bool:
    return stage.ended_at is None or stage.ended_at > at


def _to_the_slot(replica: Replica, instance: Instance | None, machine: tuple[Stage, ...]) -> list[Stage]:
    """From the decision to the binding: the machine's launch and boot as far as it was waited for, else the wait."""
    begun, bound = replica.created_at, replica.bound_at
    if bound is None or bound <= begun:
        return []
    booted = None if instance is None else instance.booted_at
    if instance is None or booted is None or booted <= begun:
        return [Stage(name="slot", started_at=begun, ended_at=bound)]
    ordered = max(begun, instance.created_at, instance.ordered_at or 0.0)
    launched = min(booted, max(ordered, instance.launched_at or ordered))
    install = next((stage for stage in machine if stage.name == "install"), None)
    begins, ends = (booted, booted) if install is None else (install.started_at, install.ended_at or booted)
    begins = min(booted, max(launched, begins))
    cuts = (
        *(("slot", begun), ("launch", ordered), ("boot", launched)),
        *(("install", begins), ("boot", min(booted, max(begins, ends)))),
        *(("slot", booted), ("", bound)),
    )
    return [
        Stage(name=name, started_at=since, ended_at=until)
        for (name, since), (_, until) in pairwise(cuts)
        if until > since
    ]


def _to_the_node(replica: Replica, there: list[Stage], accepted_at: float | None) -> list[Stage]:
    """From the binding until the Node had the order; to wake, it has it when it begins to."""
    begun = replica.created_at if replica.bound_at is None else replica.bound_at
    if replica.origin == "asleep":
        accepted_at = next((stage.started_at for stage in there if stage.name == "wake"), None)
    if accepted_at is None or accepted_at <= begun:
        return []
    return [Stage(name="apply", started_at=begun, ended_at=accepted_at)]


def _to_the_routes(replica: Replica, there: list[Stage]) -> list[Stage]:
    """From the Node's last stage until we saw that it was the last: the gateway is told in the same tick."""
    seen_at = replica.asleep_at if replica.ready_at is None else replica.ready_at
    ends = [stage.ended_at for stage in there if stage.ended_at is not None]
    if seen_at is None or not ends or len(ends) < len(there) or seen_at <= max(ends):
        return []
    return [Stage(name="settle", started_at=max(ends), ended_at=seen_at)]


def _shortened(reason: str) -> str:
    return reason if len(reason) <= REASON_CHARS else reason[: REASON_CHARS - 1] + "…"
