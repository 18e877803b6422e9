"""A revision on trial: begun, seen to work, or given up for the one before; and what people are told of it."""

from dataclasses import replace

from fleetctl.decide.draft import Draft
from fleetctl.model.nodes import NodeStatus
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.rollouts import Rollout, RolloutState
from fleetctl.model.snapshots import Intent


def begin(draft: Draft, declared: Intent) -> None:
    """The Service's Rollout with what this tick saw of it: begun, paused, proven, or given up."""
    name = declared.service.name
    row = draft.rollouts.get(name)
    if row is None or row.to_revision != declared.revision or _again(row, declared):
        row = _started(draft, declared, row)
    if declared.up and (row.open or (row.state is RolloutState.DONE and not row.proven)):
        row = _paused(draft, declared, row)
        row = _tried(draft, declared, row)
        row = _judged(draft, declared, row)
    draft.rollouts[name] = row


def _again(row: Rollout, declared: Intent) -> bool:
    """Whether a revision that was given up was handed in once more."""
    return row.state is RolloutState.ABORTED and row.ended_at is not None and declared.declared_at > row.ended_at


def _started(draft: Draft, declared: Intent, last: Rollout | None) -> Rollout:
    name, to = declared.service.name, declared.revision
    before = _served(last) if last is not None else ""
    if before and declared.running(before) is None:
        before = ""  # nobody knows any more what it ran, so there is no way back to it
    if before and before == to and last is not None:
        row = Rollout(
            service=name,
            to_revision=to,
            from_revision=last.to_revision,
            started_at=draft.now,
            back=True,
            proven=True,
        )
        draft.say("rollout", f"service/{name}", f"going back from {last.to_revision} to {to}")
        return row
    row = Rollout(service=name, to_revision=to, started_at=draft.now)
    return row if before in ("", to) else _replacing(draft, declared, row, before)


def _replacing(draft: Draft, declared: Intent, row: Rollout, before: str) -> Rollout:
    surge = surge_of(declared)
    said = f"rollout of {row.to_revision} begins: it replaces {before}, with at most {surge} more than are wanted"
    draft.say("rollout", f"service/{row.service}", said)
    return replace(row, from_revision=before)


def _served(last: Rollout) -> str:
    """The revision that was seen to work last; empty: none."""
    if last.back or last.from_revision == "" or not (last.open or last.state is RolloutState.ABORTED):
        return last.to_revision if last.proven else last.from_revision
    return last.from_revision


def _found(draft: Draft, declared: Intent) -> str:
    """The newest other revision that is seen to work, and of which it is known what it runs; empty: none."""
    works = {one.revision for one in draft.of_service(declared.service.name) if counts(draft, declared, one)}
    known = [one for one in declared.revisions if one.name in works and one.name != declared.revision]
    return max(known, key=lambda one: one.declared_at).name if known else ""


def _paused(draft: Draft, declared: Intent, row: Rollout) -> Rollout:
    if not row.open or declared.paused == (row.state is RolloutState.PAUSED):
        return row
    subject = f"service/{row.service}"
    if declared.paused:
        draft.say("rollout", subject, f"rollout of {row.to_revision} paused")
        return replace(row, state=RolloutState.PAUSED)
    draft.say("rollout", subject, f"rollout of {row.to_revision} goes on")
    return replace(row, state=RolloutState.GOING, held=0, tried_at=None)


def _tried(draft: Draft, declared: Intent, row: Rollout) -> Rollout:
    """What became of the new revision's Replicas up to now."""
    if not row.from_revision and not row.proven and (before := _found(draft, declared)):
        row = _replacing(draft, declared, row, before)
    mine = [one for one in draft.of_service(row.service) if one.revision == row.to_revision]
    settled = [one for one in mine if counts(draft, declared, one)]
    if settled and not row.proven and row.from_revision:
        held_s = declared.service.rollout.settle_s
        said = f"{row.to_revision} works: {settled[0].id} was ready for {held_s:g} s"
        draft.say("rollout", f"service/{row.service}", said)
    if len(settled) > row.most:
        row = replace(row, proven=True, most=len(settled), failed=0, tried_at=None)
    if row.from_revision and not row.back and (failed := len(_failed(draft, row))):
        row = replace(row, failed=row.failed + failed)
    # Time without a machine is not the revision's; nor is that in which only old ones drain.
    serving = [one for one in mine if one.role is Role.SERVING and one.bound_at is not None]
    coming = any(not counts(draft, declared, one) for one in serving)
    if row.tried_at is None and coming:
        row = replace(row, tried_at=draft.now)
    elif row.tried_at is not None and not coming and (row.proven or not _wanted(draft, row)):
        row = replace(row, tried_at=None)
    return row


def _wanted(draft: Draft, row: Rollout) -> bool:
    """Whether any Replica serves or is to: while none is, as at zero, nothing is tried."""
    return any(one.role is Role.SERVING for one in draft.of_service(row.service))


def _failed(draft: Draft, row: Rollout) -> list[str]:
    """For each Replica of the new revision that this tick saw fail to start, or die: what its Node says."""
    return [said for revision, said in draft.died.get(row.service, ()) if revision == row.to_revision]


def _judged(draft: Draft, declared: Intent, row: Rollout) -> Rollout:
    """The Rollout, given up if the new revision does not get ready and there is one to go back to."""
    on_trial = row.state is RolloutState.GOING or (row.state is RolloutState.DONE and not row.proven)
    if not on_trial or row.back or not row.from_revision:
        return row
    rules = declared.service.rollout
    deadline_s = declared.service.startup_timeout_s if rules.deadline_s is None else rules.deadline_s
    why = ""
    if row.failed >= rules.failures:
        last = _failed(draft, row)
        why = f"{row.failed} of its replicas in a row failed" + (f", the last on {last[-1]}" if last else "")
    elif row.tried_at is not None and draft.now - row.tried_at > deadline_s and not _undecided(draft, declared, row):
        which = "no further one" if row.proven else "none"
        why = f"{which} of its replicas got ready within {deadline_s:g} s"
    if not why:
        return row
    row = replace(row, state=RolloutState.ABORTED, reason=why, ended_at=draft.now)
    draft.say("warning", f"service/{row.service}", trouble(row))
    return row


def _undecided(draft: Draft, declared: Intent, row: Rollout) -> bool:
    """Whether some Replica of it got ready and has yet to be seen to stay so, or its Node does not answer just now.

    A controller that was away beyond the deadline finds it so.
    """
    mine = (one for one in draft.of_service(row.service) if one.revision == row.to_revision)
    coming = (one for one in mine if one.role is Role.SERVING and one.instance is not None)
    return any(
        not counts(draft, declared, one) and (one.phase is ReplicaPhase.READY or _node(draft, one) is None)
        for one in coming
    )


def surge_of(intent: Intent) -> int:
    """Replicas that may be there beyond the wanted count while a Rollout lasts."""
    return intent.service.rollout.surge or intent.service.scaling.step


def counts(draft: Draft, intent: Intent, replica: Replica) -> bool:
    """Whether it is ready, and was seen to be for so long that it is counted on; one whose Node is silent is not."""
    if replica.phase is not ReplicaPhase.READY or replica.role not in (Role.SERVING, Role.HOT):
        return False
    status = _node(draft, replica)
    if replica.ready_at is None or status is None:
        return False
    heard_at = draft.now if status.heard_at is None else status.heard_at
    return heard_at - replica.ready_at >= intent.service.rollout.settle_s


def _node(draft: Draft, replica: Replica) -> NodeStatus | None:
    """What its Node says; None: nothing, or it has none."""
    status = None if replica.instance is None else draft.snapshot.nodes.get(replica.instance)
    return status if isinstance(status, NodeStatus) else None


def given_up(row: Rollout) -> str:
    """What became of a Rollout that was aborted."""
    return f"the rollout of {row.to_revision} was given up, {row.from_revision} goes on serving: {row.reason}"


def remedy(row: Rollout) -> str:
    """What a person can type then."""
    return f"mend its file and run: fleetctl up {row.service}; or take it back: fleetctl rollout undo {row.service}"


def trouble(row: Rollout) -> str:
    """Both in one text."""
    return f"{given_up(row)}; {remedy(row)}"


def told(row: Rollout | None) -> tuple[str, str]:
    """The Rollout in a sentence, and what is wrong with it; empty where there is nothing to tell."""
    if row is None or not row.from_revision:
        return "", ""
    if row.state is RolloutState.ABORTED:
        return f"rollout of {row.to_revision} given up: {row.reason}", trouble(row)
    if not row.open:
        return "", ""
    stand = row.counts
    text = (
        f"rollout {row.from_revision} → {row.to_revision}: {stand.passed} of {stand.wanted} count, "
        f"{stand.new - stand.passed} on their way, {stand.old} old serve"
    )
    if stand.draining:
        text += f", {stand.draining} drain"
    if row.state is RolloutState.PAUSED:
        text += f"; paused, go on with: fleetctl rollout resume {row.service}"
    return text, ""
