"""Another revision of a Service comes in by surge and drain, and is given up where it does not get ready.

A new Replica counts once it was ready for a while; an old one drains only when those that count carry what is wanted.
Until one of the new revision counted, whatever is missing is started in the revision that served before.
"""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.decide import by_hand, placement
from fleetctl.decide.draft import Draft
from fleetctl.decide.scaling import STATED
from fleetctl.decide.trial import counts, surge_of
from fleetctl.model.decisions import Decision
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.rollouts import Rollout, RolloutCounts, RolloutState
from fleetctl.model.snapshots import Intent

DEMAND_HOLD_S = 120.0
"""More in flight than the wanted count can serve keeps old Replicas for at most so long after a new one counted: by
then a policy that follows the load has followed it, and one that does not never will."""


def resize(draft: Draft, intent: Intent, decision: Decision, *, allowed: int | None, room: int) -> int | None:
    """Bring the serving Replicas to the Decision's count, and one step nearer to being all of the right revision.

    Arguments and result are those of `placement.resize`.
    """
    row = draft.rollouts[intent.service.name]
    before = draft.snapshot.rollouts.get(row.service)
    if row.state is RolloutState.ABORTED and (before is None or before.state is not RolloutState.ABORTED):
        return allowed  # what holds from the next tick on is the revision before
    on_trial = row.open and not row.proven and row.from_revision != ""
    if not on_trial and not _split(draft, intent)[1]:
        if by_hand.moves(draft, intent):
            left = by_hand.resize(draft, intent, decision.desired, allowed=allowed)
        else:
            left = placement.resize(draft, intent, decision.desired, allowed=allowed, room=room)
    elif row.state is RolloutState.PAUSED and intent.up:
        row, left = _held(draft, intent, row, decision.desired, allowed, since=before)
    else:
        left = _moved(draft, intent, row, decision, allowed)
    draft.rollouts[row.service] = _counted(draft, intent, row, decision.desired)
    return left


def _split(draft: Draft, intent: Intent) -> tuple[list[Replica], list[Replica]]:
    """Serving Replicas of the revision that is to be, and of others."""
    serving = [one for one in draft.of_service(intent.service.name) if one.role is Role.SERVING]
    new = [one for one in serving if one.revision == intent.revision]
    return new, [one for one in serving if one.revision != intent.revision]


def _trusted(intent: Intent, row: Rollout) -> tuple[str, ...]:
    """Revisions in which what is missing may be started, the best first."""
    if row.state is RolloutState.ABORTED or not row.from_revision or row.back:
        return (intent.revision,)
    return (intent.revision, row.from_revision) if row.proven else (row.from_revision,)


def _moved(draft: Draft, intent: Intent, row: Rollout, decision: Decision, allowed: int | None) -> int | None:
    desired, surge = decision.desired, surge_of(intent)
    trusted = _trusted(intent, row)
    for replica in _split(draft, intent)[1]:
        if replica.phase is not ReplicaPhase.READY and replica.revision not in trusted:
            placement.drain(draft, replica, "of a revision that is not wanted any more")
    allowed = _filled(draft, intent, trusted, desired, allowed)

    new, old = _split(draft, intent)
    missing = desired - len(new)
    if missing > 0 and old:
        missing -= placement.take_back(draft, intent, intent.revision, missing)
    every = [one for one in draft.of_service(row.service) if one.role in (Role.SERVING, Role.DRAINING)]
    missing = min(missing, desired + surge - len(every))
    if intent.revision not in trusted:
        missing = min(missing, surge - len(new))
    if allowed is not None:
        missing = min(missing, allowed)
        allowed -= max(0, missing)
    for _ in range(max(0, missing)):
        placement.add(draft, intent, intent.revision)

    new, old = _split(draft, intent)
    settled = [one for one in new if counts(draft, intent, one)]
    going = len(old) - max(0, desired - len(settled))
    if going > 0 and _pressed(draft, intent, decision, settled):
        going = min(going, sum(1 for one in old if one.phase is not ReplicaPhase.READY))
    for replica in _leaving(draft, row, old)[: max(0, going)]:
        placement.drain(draft, replica, f"revision {intent.revision} takes over from {replica.revision}")
    for replica in placement.least_useful(draft, new)[: max(0, len(new) - desired)]:
        placement.drain(draft, replica, "fewer are wanted")
    return allowed


def _filled(draft: Draft, intent: Intent, trusted: Sequence[str], desired: int, allowed: int | None) -> int | None:
    """Bring what can be counted on, or will be, up to `desired`; what is left of `allowed`."""
    new, old = _split(draft, intent)
    certain = [one for one in new if intent.revision in trusted or counts(draft, intent, one)]
    short = desired - len(old) - len(certain)
    for revision in trusted:
        short -= placement.take_back(draft, intent, revision, short)
    if allowed is not None:
        short = min(short, allowed)
        allowed -= max(0, short)
    for _ in range(max(0, short)):
        soonest = next((one for one in trusted if _stands_by(draft, intent, one)), trusted[0])
        placement.add(draft, intent, soonest)
    return allowed


def _stands_by(draft: Draft, intent: Intent, revision: str) -> bool:
    soon = ((Role.HOT, ReplicaPhase.READY), (Role.ASLEEP, ReplicaPhase.ASLEEP))
    every = draft.of_service(intent.service.name)
    return any(one.revision == revision and (one.role, one.phase) in soon for one in every)


def _held(
    draft: Draft, intent: Intent, row: Rollout, desired: int, allowed: int | None, *, since: Rollout | None
) -> tuple[Rollout, int | None]:
    """Nothing but what scaling asks for: additions in a revision that works, the oldest revision goes first."""
    new, old = _split(draft, intent)
    beyond = max(0, len(new) + len(old) - desired)
    just_now = since is None or since.state is not RolloutState.PAUSED or since.to_revision != row.to_revision
    row = replace(row, held=beyond if just_now else min(row.held, beyond))
    allowed = _filled(draft, intent, _trusted(intent, row), desired, allowed)
    new, old = _split(draft, intent)
    leaving = [*_leaving(draft, row, old), *placement.least_useful(draft, new)]
    going = len(leaving) - desired - row.held
    spare = sum(1 for one in leaving if one.phase is ReplicaPhase.READY) - desired
    for replica in leaving:
        if going <= 0:
            break
        if replica.phase is ReplicaPhase.READY:
            if spare <= 0:
                continue
            spare -= 1
        going -= 1
        placement.drain(draft, replica, "fewer are wanted")
    return row, allowed


def _leaving(draft: Draft, row: Rollout, old: Sequence[Replica]) -> list[Replica]:
    """Who goes first: not ready, then of a revision between the two, then where a machine may be taken back."""
    by_use = placement.least_useful(draft, old)
    kept = row.to_revision if row.state is RolloutState.ABORTED else row.from_revision
    return sorted(
        by_use,
        key=lambda one: (one.phase is ReplicaPhase.READY, one.revision == kept, not draft.hinted(one)),
    )


def _pressed(draft: Draft, intent: Intent, decision: Decision, settled: Sequence[Replica]) -> bool:
    """Whether more is in flight than the wanted count can serve, and more may be wanted in a moment."""
    service = intent.service
    if not intent.up or decision.concurrency is None:
        return False
    if decision.concurrency <= decision.desired * service.concurrency:
        return False
    follows = service.scaling.policy not in STATED or bool(service.signals)
    if intent.override is not None or not follows or decision.desired >= service.scaling.max or not settled:
        return False
    newest = max(one.ready_at or 0.0 for one in settled)
    return draft.now - newest - service.rollout.settle_s < DEMAND_HOLD_S


def _counted(draft: Draft, intent: Intent, row: Rollout, desired: int) -> Rollout:
    """The Rollout as it stands after this tick, ended if that was the last of it."""
    if not row.open and row.state is not RolloutState.ABORTED:
        return row
    every = draft.of_service(row.service)
    serving = [one for one in every if one.role is Role.SERVING]
    new = [one for one in serving if one.revision == row.to_revision]
    stand = RolloutCounts(
        new=len(new),
        passed=sum(1 for one in new if counts(draft, intent, one)),
        old=len(serving) - len(new),
        draining=sum(1 for one in every if one.role is Role.DRAINING and one.revision != row.to_revision),
        wanted=desired,
    )
    if row.counts != stand:
        row = replace(row, counts=stand)
    done = stand.old == 0 and stand.passed >= desired == stand.new
    if row.state is not RolloutState.GOING or not intent.up or not done:
        return row
    state = RolloutState.UNDONE if row.back else RolloutState.DONE
    if row.from_revision:
        took = f"after {draft.now - row.started_at:.0f} s"
        said = f"back at {row.to_revision} {took}" if row.back else f"rollout of {row.to_revision} done {took}"
        draft.say("rollout", f"service/{row.service}", f"{said}: {stand.new} serve")
    return replace(row, state=state, ended_at=draft.now)
