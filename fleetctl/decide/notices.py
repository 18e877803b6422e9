"""Machines that their cloud takes back: left at once, replaced elsewhere, given back as soon as they are empty."""

from dataclasses import replace

from fleetctl.decide.draft import Draft
from fleetctl.decide.placement import drain
from fleetctl.decide.standby import standby_ready
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.names import InstanceId
from fleetctl.model.places import place_of
from fleetctl.model.replicas import Replica, Role
from fleetctl.model.snapshots import Intent


def heed(draft: Draft) -> None:
    """Drain what runs on machines with a notice that presses; their Standby, and what is not ready, ends at once."""
    for instance in list(draft.instances.values()):
        if instance.over or instance.notice is None or instance.wanted is not Wanted.RUNNING:
            continue
        if not instance.reclaimed:
            if not instance.notice.presses(draft.now):
                continue
            draft.put_instance(replace(instance, reclaimed_at=draft.now))
            place = str(place_of(instance.offer))
            draft.taken[place] = draft.taken.get(place, 0) + 1
            said = f"{instance.notice.told(draft.now)}: draining it and replacing it elsewhere"
            draft.say("warning", f"instance/{instance.id}", said)
        for replica in draft.on_instance(instance.id):
            if replica.role is Role.SERVING:
                drain(draft, replica, f"{instance.id} has a {instance.notice.kind} notice")
            elif replica.role is not Role.DRAINING:
                draft.remove_replica(replica)
                draft.say("replica", f"replica/{replica.id}", f"standby ended: {instance.id} is taken back")


def give_back(draft: Draft) -> None:
    """Terminate those that are empty. One that still serves is left to its cloud, which ends it at the deadline."""
    for instance in list(draft.instances.values()):
        if not instance.reclaimed or instance.over or instance.wanted is not Wanted.RUNNING:
            continue
        if _ended_by_cloud(instance, draft.now):
            why = "its cloud stopped it"
            for replica in draft.on_instance(instance.id):
                draft.remove_replica(replica)
                draft.say("warning", f"replica/{replica.id}", f"cut off: {instance.id} was stopped while it drained")
        elif draft.on_instance(instance.id):
            continue
        else:
            why = f"drained {draft.now - (instance.reclaimed_at or draft.now):.1f} s after its notice was heeded"
        draft.put_instance(replace(draft.instances[instance.id], wanted=Wanted.TERMINATED))
        draft.say("instance", f"instance/{instance.id}", f"giving it back: {why}")


def _ended_by_cloud(instance: Instance, now: float) -> bool:
    """Whether it stopped at its deadline; one that is stopped sooner may be started again to end what it serves."""
    deadline_at = instance.notice.deadline_at if instance.notice is not None else None
    return instance.phase is InstancePhase.STOPPED and (deadline_at is None or now >= deadline_at)


def room(draft: Draft, intent: Intent) -> int:
    """Slots on Standby that Replicas on machines with a mere hint may move to."""
    if not any(draft.hinted(replica) for replica in draft.of_service(intent.service.name)):
        return 0
    return standby_ready(draft, intent, hinted=False)


def steady(draft: Draft, intent: Intent, current: int, last_desired: int | None) -> int:
    """The Service's `current` Replicas without what a cloud's notices, or orders by hand, change of them for a while.

    As in a Rollout they change which Replicas serve, not how many: nothing is added or lost, and no rate limit holds up
    the replacements.
    """
    if last_desired is None:
        return current
    gone = moving = 0
    for replica in draft.of_service(intent.service.name):
        if replica.revision == intent.revision:
            gone += replica.role is Role.DRAINING and (draft.reclaimed(replica) or draft.leaving(replica))
            moving += replica.role is Role.SERVING and (draft.hinted(replica) or draft.leaving(replica))
    if current < last_desired:
        return min(last_desired, current + gone)
    return max(last_desired, current - moving)


def notes(draft: Draft, intent: Intent) -> tuple[str, ...]:
    """A sentence for each machine of the Service that its cloud takes back, or may."""
    here: dict[InstanceId, list[Replica]] = {}
    for replica in draft.of_service(intent.service.name):
        if replica.instance is not None and draft.instances[replica.instance].notice is not None:
            here.setdefault(replica.instance, []).append(replica)
    found = []
    for key, replicas in sorted(here.items()):
        instance = draft.instances[key]
        assert instance.notice is not None
        draining = sum(1 for one in replicas if one.role is Role.DRAINING)
        serving = sum(1 for one in replicas if one.role is Role.SERVING)
        what = f"{draining} of its replicas drain" if instance.reclaimed else f"{serving} of its replicas serve"
        found.append(f"{key}: {instance.notice.told(draft.now)}; {what} there")
    return tuple(found)
