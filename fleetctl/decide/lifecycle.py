"""What was observed, folded into the rows: phases of Instances and Replicas. Unknown changes nothing."""

from dataclasses import replace

from fleetctl.decide import starts, troubles
from fleetctl.decide.draft import Draft
from fleetctl.model.decisions import Outcome, Verb
from fleetctl.model.instances import Instance, InstancePhase, InstanceSeen, Listing, Sighting, Wanted
from fleetctl.model.names import InstanceId, ProviderName
from fleetctl.model.nodes import NodeStatus, ReplicaStatus
from fleetctl.model.notices import Notice
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.signals import Reading, Unknown

BOOT_LIMIT_S = 1800.0
"""An Instance whose Node has not answered this long after its launch is given back: the slowest published GPU boots
take 10 to 20 minutes."""
NODE_SILENCE_LIMIT_S = 120.0
"""A Node silent this long whose engines are silent too is replaced. A reboot or a restarted agent takes less."""

_GONE = (Sighting.TERMINATING, Sighting.TERMINATED)

KNOWN_ABSENCE_S = 10.0
"""A machine that has served, was terminated and is in no complete listing for this long is gone: two listings. Should
one show it again all the same, it is terminated again."""

ELSEWHERE = ("capacity", "quota")
"""`code`s of errors after which another Offer is tried at once; this one rests."""


def fold(draft: Draft) -> None:
    """Bring every row up to date with the outcomes, listings and node statuses of the Snapshot."""
    for outcome in draft.snapshot.outcomes:
        _outcome(draft, outcome)
    for provider, listing in draft.snapshot.listings.items():
        if isinstance(listing, Listing):
            _listing(draft, provider, listing)
    for instance_id, status in draft.snapshot.nodes.items():
        instance = draft.instances.get(instance_id)
        if instance is None or instance.over:
            continue
        if isinstance(status, NodeStatus):
            _node(draft, instance, status)
        else:
            _silent(draft, instance, status)
    for instance in list(draft.instances.values()):
        overdue = instance.phase is InstancePhase.BOOTING and draft.now - instance.phase_at > BOOT_LIMIT_S
        if overdue and instance.wanted is Wanted.RUNNING and _reachable(draft, instance):
            _give_up(draft, instance, f"its node did not answer within {BOOT_LIMIT_S:g} s of its launch")
        if instance.over:
            _lose_replicas(draft, instance)


def _outcome(draft: Draft, outcome: Outcome) -> None:
    instance = draft.instances.get(outcome.instance)
    if instance is None or instance.over:
        return
    if outcome.error is not None:
        if outcome.verb is Verb.APPLY:
            return  # the node's next status shows what it works on; until then it is applied again
        draft.say("warning", f"instance/{instance.id}", f"{outcome.verb} failed: {outcome.error}")
        failed = replace(instance, failures=instance.failures + 1, failed_at=outcome.at)
        failed = replace(failed, failure=outcome.error, failure_code=outcome.error_code)
        if outcome.verb is Verb.START and failed.wanted is Wanted.RUNNING and failed.phase is InstancePhase.STOPPED:
            # It goes on standing by; whatever was to run there goes elsewhere until the next try.
            failed = replace(failed, wanted=Wanted.STOPPED)
        draft.put_instance(failed)
        refused = not outcome.retryable or outcome.error_code in ELSEWHERE
        if outcome.verb is Verb.LAUNCH and refused and failed.wanted is not Wanted.TERMINATED:
            _give_up(draft, failed, f"the provider refuses it: {outcome.error}")
            if failed.failures == 1 and failed.phase is InstancePhase.INTENDED:
                # Its first and only launch was refused outright: there is nothing to give back.
                over = replace(draft.instances[instance.id], failure=outcome.error)
                draft.put_instance(_enter(over, InstancePhase.TERMINATED, draft.now))
        return
    if outcome.verb is not Verb.TERMINATE:
        # What was refused and given back keeps its failure, so that the Offer rests.
        instance = replace(instance, failures=0, failed_at=None, failure=None, failure_code=None)
    match outcome.verb:
        case Verb.LAUNCH if instance.phase in (InstancePhase.INTENDED, InstancePhase.BOOTING):
            instance = replace(instance, launched_at=outcome.at)
            if instance.phase is InstancePhase.INTENDED:
                instance = _enter(instance, InstancePhase.BOOTING, outcome.at)
        case Verb.START if instance.phase is InstancePhase.STOPPED:
            instance = replace(
                _enter(instance, InstancePhase.BOOTING, outcome.at),
                booted_at=None,
                # One that has never run, as where a listing shows what is being made as stopped, is no Standby's start.
                resumed_at=instance.resumed_at if instance.booted_at is None else outcome.at,
                launched_at=outcome.at,
            )
        case Verb.STOP if instance.wanted is Wanted.STOPPED:
            instance = _enter(instance, InstancePhase.STOPPING, outcome.at)
        case Verb.TERMINATE:
            instance = _enter(instance, InstancePhase.TERMINATING, outcome.at)
        case _:
            pass
    draft.put_instance(instance)


def _listing(draft: Draft, provider: ProviderName, listing: Listing) -> None:
    seen: dict[InstanceId, InstanceSeen] = {}
    for line in listing.instances:
        seen[line.id] = line
        if line.id not in draft.instances and line.state not in _GONE:
            _adopt(draft, line)
    consistency_s = draft.snapshot.consistency_s.get(provider, 0.0)
    for instance in list(draft.instances.values()):
        if instance.offer.provider != provider:
            continue
        found = seen.get(instance.id)
        if instance.over:
            if found is not None and found.state not in _GONE and listing.at > instance.phase_at:
                _there_after_all(draft, instance)
            continue
        if found is not None and found.state is Sighting.TERMINATED and listing.at >= instance.phase_at:
            _gone(draft, instance)  # said outright: no listing lags behind that
        elif found is None or found.state is Sighting.TERMINATED:
            _absent(draft, instance, listing.at, consistency_s)
        elif listing.at >= instance.phase_at:
            there = instance
            if there.absent_since is not None or there.address != found.address:
                there = replace(there, absent_since=None, address=found.address)
            there = _seen(there, found, draft.now)
            if there is not instance:
                draft.put_instance(there)


def _there_after_all(draft: Draft, instance: Instance) -> None:
    """One that was over is there: a launch whose answer was lost came late, or a listing had lacked it for long."""
    draft.put_instance(replace(_enter(instance, InstancePhase.BOOTING, draft.now), wanted=Wanted.TERMINATED))
    draft.say("warning", f"instance/{instance.id}", "was over and is there after all: giving it back")


def _adopt(draft: Draft, line: InstanceSeen) -> None:
    """An Instance of ours that the store does not know: the store is newer than the Instance."""
    stopped = line.state in (Sighting.STOPPING, Sighting.STOPPED)
    draft.put_instance(
        Instance(
            id=line.id,
            pool=line.pool,
            offer=line.offer,
            wanted=Wanted.STOPPED if stopped else Wanted.RUNNING,
            phase=InstancePhase.STOPPED if stopped else InstancePhase.BOOTING,
            phase_at=draft.now,
            created_at=line.created_at,
            address=line.address,
        )
    )
    draft.say("instance", f"instance/{line.id}", f"found at {line.offer.provider}, not in the store: adopted")


def _absent(draft: Draft, instance: Instance, listed_at: float, consistency_s: float) -> None:
    """Absence proves something only once it has lasted, in complete listings, for the consistency window."""
    if listed_at < instance.phase_at or instance.phase is InstancePhase.INTENDED:
        return
    if instance.absent_since is None:
        draft.put_instance(replace(instance, absent_since=listed_at))
        if consistency_s > 0 or instance.wanted is not Wanted.TERMINATED:
            return
        instance = replace(instance, absent_since=listed_at)
    assert instance.absent_since is not None
    if instance.wanted is Wanted.TERMINATED:
        if instance.booted_at is not None:
            # Once it was there for long, its absence after a termination is no listing's delay in showing it.
            consistency_s = min(consistency_s, KNOWN_ABSENCE_S)
        if instance.phase is InstancePhase.TERMINATING and listed_at - instance.absent_since >= consistency_s:
            _gone(draft, instance)
        return
    if listed_at > instance.absent_since and listed_at - instance.absent_since >= consistency_s:
        _gone(draft, instance)


def _gone(draft: Draft, instance: Instance) -> None:
    if instance.wanted is Wanted.TERMINATED:
        draft.put_instance(_enter(instance, InstancePhase.TERMINATED, draft.now))
        draft.say("instance", f"instance/{instance.id}", "terminated")
        return
    draft.put_instance(_enter(instance, InstancePhase.LOST, draft.now))
    draft.say("warning", f"instance/{instance.id}", "lost: gone from its provider without our asking")


def _seen(instance: Instance, line: InstanceSeen, now: float) -> Instance:
    match line.state:
        case Sighting.BOOTING | Sighting.RUNNING:
            if instance.phase in (InstancePhase.INTENDED, InstancePhase.STOPPED):
                return _enter(instance, InstancePhase.BOOTING, now)
        case Sighting.STOPPING:
            if instance.phase is not InstancePhase.STOPPING:
                return _enter(instance, InstancePhase.STOPPING, now)
        case Sighting.STOPPED:
            if instance.phase not in (InstancePhase.STOPPED, InstancePhase.TERMINATING):
                return _enter(instance, InstancePhase.STOPPED, now)
        case Sighting.TERMINATING:
            if instance.phase is not InstancePhase.TERMINATING:
                return _enter(instance, InstancePhase.TERMINATING, now)
        case Sighting.TERMINATED:
            pass
    return instance


def _node(draft: Draft, instance: Instance, status: NodeStatus) -> None:
    if instance.phase is InstancePhase.BOOTING and instance.wanted is Wanted.RUNNING:
        instance = replace(
            _enter(instance, InstancePhase.READY, draft.now),
            booted_at=draft.now,
            failures=0,
            failed_at=None,
            failure=None,
            failure_code=None,
        )
        draft.put_instance(instance)
        draft.say("instance", f"instance/{instance.id}", f"ready after {draft.now - instance.created_at:.1f} s")
    instance = _noticed(draft, instance, status.notice)
    known = {replica.id: replica for replica in draft.on_instance(instance.id)}
    strange = status.epoch not in ("", draft.snapshot.epoch)
    for seen in status.replicas:
        replica = known.get(seen.id)
        if replica is not None:
            _replica(draft, replica, seen, status)
        elif strange:
            _adopt_replica(draft, instance, seen, status)


def _noticed(draft: Draft, instance: Instance, said: Notice | None) -> Instance:
    """The Instance with what its cloud says of its end. Once heeded, a notice stays as it was."""
    known = instance.notice
    if instance.reclaimed or said == known:
        return instance
    if said is not None and known is not None and said.estimated and said.kind == known.kind:
        return instance  # an agent that was started again counts from then: the first reading was nearer
    instance = replace(instance, notice=said)
    draft.put_instance(instance)
    if said is None:
        draft.say("instance", f"instance/{instance.id}", "its cloud withdrew the notice")
    elif not said.presses(draft.now):
        draft.say("instance", f"instance/{instance.id}", f"{said.told(draft.now)}: left where standby is at hand")
    return instance


def _adopt_replica(draft: Draft, instance: Instance, seen: ReplicaStatus, status: NodeStatus) -> None:
    intent = draft.intents.get(seen.service)
    if intent is None or not intent.up or seen.phase is ReplicaPhase.FAILED or seen.id in draft.replicas:
        return
    draft.put_replica(
        Replica(
            id=seen.id,
            service=seen.service,
            revision=seen.revision,
            role=Role.ASLEEP if seen.phase is ReplicaPhase.ASLEEP else Role.SERVING,
            phase=seen.phase,
            instance=instance.id,
            gpus=seen.gpus,
            address=seen.address,
            created_at=draft.now,
            bound_at=draft.now,
            ready_at=draft.now if seen.phase is ReplicaPhase.READY else None,
            stages=starts.ours(seen.stages, lead_s=starts.clock_lead_s(None, status, draft.now)),
        )
    )
    draft.say("replica", f"replica/{seen.id}", f"found running on {instance.id}, not in the store: adopted")
    for replica in draft.of_service(seen.service):
        if replica.instance is None and replica.role is draft.replicas[seen.id].role:
            draft.remove_replica(replica)  # ordered before this one was found, and not begun
            return


def _replica(draft: Draft, replica: Replica, seen: ReplicaStatus, status: NodeStatus) -> None:
    before = replica
    if starts.over(before):
        if (seen.phase, seen.address) == (before.phase, before.address):
            return
    else:
        replica = replace(replica, clock_lead_s=starts.clock_lead_s(replica.clock_lead_s, status, draft.now))
    if seen.phase is ReplicaPhase.FAILED:
        detail = seen.failure or "no reason given"
        what = "died" if replica.ready_at is not None else "failed to start"
        said = f"{what} {troubles.failed_on(replica.instance, detail)}"
        draft.say("warning", f"replica/{replica.id}", said)
        draft.died.setdefault(replica.service, []).append((replica.revision, f"{replica.instance}: {detail}"))
        if replica.ready_at is None:
            draft.failed_services[replica.service] = draft.failed_services.get(replica.service, 0) + 1
            draft.failures[replica.service] = f"{replica.id} {troubles.brief(said)}"
        if not starts.over(before):
            starts.failed(draft, starts.seen(draft, replica, seen, status), detail)
        draft.remove_replica(before)
        return
    ready_at = replica.ready_at
    if seen.phase is ReplicaPhase.READY and ready_at is None:
        ready_at = draft.now
        draft.say(
            "replica",
            f"replica/{replica.id}",
            f"ready on {replica.instance} after {draft.now - replica.created_at:.1f} s ({replica.origin})",
        )
    replica = starts.seen(
        draft, replace(replica, phase=seen.phase, address=seen.address, ready_at=ready_at), seen, status
    )
    if replica != before:
        draft.put_replica(replica)
    if starts.over(replica) and not starts.over(before):
        starts.ended(draft, replica, seen)


def _silent(draft: Draft, instance: Instance, unknown: Unknown) -> None:
    """A Node that does not answer is unknown. Only when it and all its engines stay silent is it replaced."""
    if instance.phase is not InstancePhase.READY or instance.wanted is not Wanted.RUNNING:
        return
    if not _reachable(draft, instance):
        return  # our own way out may be what is broken; then everything is silent and nothing is gone
    if draft.now - max(unknown.since, instance.phase_at) < NODE_SILENCE_LIMIT_S:
        return
    for replica in draft.on_instance(instance.id):
        if isinstance(draft.snapshot.readings.get(replica.id), Reading):
            return
    _give_up(draft, instance, f"its node and engines were silent for {NODE_SILENCE_LIMIT_S:g} s ({unknown.reason})")


def _reachable(draft: Draft, instance: Instance) -> bool:
    """Whether its Provider answers, so that the Instance's silence is its own."""
    return isinstance(draft.snapshot.listings.get(instance.offer.provider), Listing)


def _give_up(draft: Draft, instance: Instance, why: str) -> None:
    draft.put_instance(replace(instance, wanted=Wanted.TERMINATED, failure=why))
    draft.say("warning", f"instance/{instance.id}", f"given up: {why}")
    _lose_replicas(draft, instance)


def _lose_replicas(draft: Draft, instance: Instance) -> None:
    for replica in draft.on_instance(instance.id):
        if not starts.over(replica):
            why = f": {instance.failure}" if instance.failure else ""
            starts.failed(draft, replica, f"lost with instance {instance.id}{why}")
        draft.remove_replica(replica)
        draft.say("warning", f"replica/{replica.id}", f"lost with instance {instance.id}; it is replaced")


def _enter(instance: Instance, phase: InstancePhase, at: float) -> Instance:
    return replace(instance, phase=phase, phase_at=at)
