"""One tick's Plan out of one Snapshot: the whole of what fleetctl decides, as a pure function."""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.decide import (
    budget,
    by_hand,
    desired,
    lifecycle,
    needs,
    notices,
    offers,
    placement,
    pools,
    rollout,
    trial,
    troubles,
)
from fleetctl.decide.draft import Draft
from fleetctl.decide.engine_signals import fullest, utilization, wants_gpus, wants_latencies
from fleetctl.decide.flow import measured
from fleetctl.decide.load import measure
from fleetctl.decide.scaling import decide, starts_allowed
from fleetctl.decide.standby import standby_ready
from fleetctl.model.decisions import Decision, Inputs, Memory, Plan
from fleetctl.model.instances import Offer
from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.services import Service, Standby
from fleetctl.model.signals import Load, QueueStats, Unknown
from fleetctl.model.snapshots import Intent, Snapshot

FAILURES_KEPT = 16
"""The pause between two tries no longer grows after as many."""


def plan(snapshot: Snapshot) -> Plan:
    """Decisions, changed rows, Actions and routes for one tick. Deterministic; a converged fleet gets no Actions."""
    draft = Draft(snapshot)
    lifecycle.fold(draft)
    notices.heed(draft)
    by_hand.heed(draft)
    decisions: list[Decision] = []
    memories: list[tuple[ServiceName, Memory]] = []
    for declared, intent in zip(snapshot.intents, draft.intents.values(), strict=True):
        trial.begin(draft, declared)
        decision, memory = _decide(draft, intent)
        decisions.append(decision)
        if memory != snapshot.memories.get(intent.service.name):
            memories.append((intent.service.name, memory))
        placement.release_drained(draft, intent, _known_queue(snapshot, intent), gateway=snapshot.queues is not None)
        assert decision.inputs is not None
        allowed, _ = starts_allowed(memory, coming=decision.inputs.coming, now=snapshot.now)
        room = notices.room(draft, intent)
        left = rollout.resize(draft, intent, decision, allowed=allowed, room=room)
        placement.keep_standby_replicas(draft, intent, allowed=left)
    for pool in draft.pools.values():
        waiting = placement.bind(draft, pool)
        pools.size(draft, pool, waiting)
    decisions = needs.noted(draft, budget.noted(draft, decisions))
    memories = list(budget.remembered(draft, memories))
    pools.give_back_undeclared(draft)
    notices.give_back(draft)
    by_hand.emptied(draft)
    pools.converge(draft)
    desired.apply_nodes(draft)
    return Plan(
        at=snapshot.now,
        decisions=tuple(decisions),
        instances=tuple(row for key, row in draft.instances.items() if row is not snapshot.instances.get(key)),
        replicas=tuple(row for key, row in draft.replicas.items() if row is not snapshot.replicas.get(key)),
        removed_replicas=tuple(key for key in snapshot.replicas if key not in draft.replicas),
        memories=tuple(memories),
        counters=tuple(
            (prefix, number) for prefix, number in draft.counters.items() if snapshot.counters.get(prefix) != number
        ),
        places=offers.experienced(draft),
        rollouts=tuple(row for key, row in draft.rollouts.items() if row is not snapshot.rollouts.get(key)),
        starts=tuple(draft.starts),
        pins=tuple((name, digest) for name, digest in draft.pins.items() if snapshot.pins.get(name) != digest),
        removed_pins=tuple(name for name in snapshot.pins if name not in draft.pins),
        actions=tuple(draft.actions),
        routes=desired.routes(draft),
        events=tuple(draft.events),
    )


def _decide(draft: Draft, intent: Intent) -> tuple[Decision, Memory]:
    inputs, memory = _inputs(draft, intent)
    decision, memory = decide(intent, inputs, memory)
    if decision.standby is not None:
        draft.standby[intent.service.name] = decision.standby
    if decision.change:
        draft.say(
            "scale",
            f"service/{intent.service.name}",
            f"{decision.current} → {decision.desired}: {decision.reason}",
        )
    return decision, memory


def _inputs(draft: Draft, intent: Intent) -> tuple[Inputs, Memory]:
    """What this tick's Decision is made from, and the Service's memory with the counters that were read."""
    service = intent.service
    snapshot = draft.snapshot
    every = draft.of_service(service.name)
    fresh = [replica for replica in every if replica.revision == intent.revision]
    serving = [replica for replica in every if replica.role is Role.SERVING]
    fresh_serving = [replica for replica in fresh if replica.role is Role.SERVING]
    memory = draft.snapshot.memories.get(service.name, Memory())
    current = len(fresh_serving)
    if current < len(serving):
        # A Rollout changes which Replicas serve, not how many: what was desired last is what is there to scale from.
        last = memory.last_desired
        current = max(current, len(serving) if last is None else last)
    loaded, queue = _loaded(every), _queue(snapshot, intent)
    load = measure(service, loaded, snapshot.readings, queue, snapshot.now)
    current = notices.steady(draft, intent, current, memory.last_desired)
    readings, now = snapshot.readings, snapshot.now
    flow, tally = measured(memory.tally, loaded, readings, queue, load, now, latencies=wants_latencies(service))
    coming = (ReplicaPhase.READY, ReplicaPhase.ASLEEP)
    in_rollout, trouble = trial.told(draft.rollouts.get(service.name))
    failures = _failures(draft, intent, memory, fresh)
    failure = draft.failures.get(service.name, memory.failure) if failures else ""
    on_nodes, told = troubles.of_service(draft, intent, memory.troubles)
    memory = replace(memory, failure=failure, troubles=told)
    inputs = Inputs(
        at=snapshot.now,
        load=load if isinstance(load, Load) else None,
        why_unknown=load.reason if isinstance(load, Unknown) else "",
        current=current,
        ready=min(current, sum(1 for replica in serving if replica.phase is ReplicaPhase.READY)),
        coming=sum(1 for replica in fresh if replica.role is not Role.DRAINING and replica.phase not in coming),
        ages_s=tuple(
            snapshot.now - replica.created_at for replica in serving if replica.phase is not ReplicaPhase.READY
        ),
        draining=sum(1 for replica in every if replica.role is Role.DRAINING),
        standby=standby_ready(draft, intent),
        flow=flow,
        utilization=utilization(serving, readings, now) if wants_gpus(service) else None,
        fullest=fullest(fresh, readings, now),
        outside=snapshot.outside.get(service.name, ()),
        failures=failures,
        price_per_replica=_price_per_replica(draft, service, fresh_serving),
        shared_standby=_shared_standby(draft, service),
        notices=notices.notes(draft, intent),
        rollout=in_rollout,
        trouble=trouble or on_nodes or failure,
    )
    return inputs, replace(memory, tally=tally)


def _shared_standby(draft: Draft, service: Service) -> Standby | None:
    shared = draft.pools[service.pool_name].standby
    return shared if service.standby is None and shared != Standby() else None


def _loaded(replicas: Sequence[Replica]) -> list[Replica]:
    return [replica for replica in replicas if replica.role in (Role.SERVING, Role.DRAINING)]


def _failures(draft: Draft, intent: Intent, memory: Memory, fresh: list[Replica]) -> tuple[float, ...]:
    """The Service's failed starts with this tick's, cleared by a success or a changed file."""
    row = draft.rollouts.get(intent.service.name)
    if row is not None and row.open and row.from_revision and not row.proven:
        return ()  # the Rollout counts them: they are no reason to hold back the revision that serves
    since = max(intent.changed_at, (row.ended_at or 0.0) if row is not None and row.reason else 0.0)
    failures = memory.failures
    if failures and any(replica.ready_at is not None and replica.ready_at > failures[-1] for replica in fresh):
        failures = ()
    failures = tuple(at for at in failures if at > since)
    failures += (draft.now,) * draft.failed_services.get(intent.service.name, 0)
    return failures[-FAILURES_KEPT:]


def _queue(snapshot: Snapshot, intent: Intent) -> QueueStats | Unknown | None:
    queues = snapshot.queues
    if queues is None or isinstance(queues, Unknown):
        return queues
    return queues.get(intent.service.name) or QueueStats(
        at=snapshot.now,
        service=intent.service.name,
        queued=0,
        oldest_wait_s=0.0,
        in_flight=(),
        arrived=0,
        completed=0,
        failed=0,
    )


def _known_queue(snapshot: Snapshot, intent: Intent) -> QueueStats | None:
    queue = _queue(snapshot, intent)
    return queue if isinstance(queue, QueueStats) else None


def _price_per_replica(draft: Draft, service: Service, serving: list[Replica]) -> float | None:
    """Dollars an hour of one Replica: its share of its Instance's GPUs, or of the best Offer's."""
    known: list[float] = []
    for replica in serving:
        if replica.instance is None:
            continue
        price = _share(draft.instances[replica.instance].offer, service)
        if price is None:
            return None
        known.append(price)
    if known:
        return sum(known) / len(known)
    offers = draft.snapshot.offers.get(service.pool_name, ())
    return _share(offers[0], service) if offers else None


def _share(offer: Offer, service: Service) -> float | None:
    count = placement.gpus_needed(service, offer.gpu)
    if offer.price_per_hour is None or count is None:
        return None
    return offer.price_per_hour * count / offer.gpu.count
