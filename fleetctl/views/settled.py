"""Whether a Service has come to rest: all there, or all gone."""

from collections.abc import Collection

from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.views.fleet import FleetView


def settled(view: FleetView, service: str) -> bool:
    """Whether as many Replicas of the declared revision answer as were decided, and no Rollout is under way."""
    intent = next(intent for intent in view.intents if intent.service.name == service)
    decision = view.decisions.get(service)
    desired = decision.desired if decision is not None else intent.service.scaling.min
    answering = [
        replica
        for replica in view.replicas_of(service)
        if replica.role is Role.SERVING and replica.phase is ReplicaPhase.READY and replica.revision == intent.revision
    ]
    return len(answering) >= desired and view.rollout_of(intent) is None


def gone(view: FleetView, services: Collection[str]) -> bool:
    """Whether nothing of these is left: no Replica, and no machine of a Pool that only they were in."""
    if any(replica.service in services for replica in view.replicas):
        return False
    up = {intent.service.pool_name for intent in view.intents if intent.up}
    mine = {intent.service.pool_name for intent in view.intents if intent.service.name in services} - up
    return not any(instance.pool in mine for instance in view.live_instances)
