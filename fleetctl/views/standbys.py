"""What stands by for a Service: how much is of use, how much is there, and why no more."""

from fleetctl.decide.standing import standby_of, standby_slots
from fleetctl.model.decisions import Decision
from fleetctl.model.records import dataclass
from fleetctl.model.services import Pool
from fleetctl.model.snapshots import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyFigure:
    """Slots that stand by for one Service."""

    ready: int
    wanted: int
    """As many as could ever be used: never more than its `max` leaves."""
    why: str
    """Why fewer are wanted than its file says, or fewer are there than are wanted; empty: neither is so."""


def standby_figure(
    intent: Intent, pool: Pool, decision: Decision | None, *, serving: int, ready: int, waits: str = ""
) -> StandbyFigure:
    """The figure beside `serving` Replicas; `waits` is why no machine may be had for it, where that is so."""
    service = intent.service
    stated = standby_slots(standby_of(pool, service), service, decision.standby if decision else None)
    if not intent.up:
        return StandbyFigure(ready=ready, wanted=0, why="the service is down")
    most = service.scaling.max
    wanted = max(0, min(stated, most - serving))
    if not stated:
        return StandbyFigure(ready=ready, wanted=0, why="")
    if not wanted:
        why = f"{serving} of max {most} serve, so what stands by could not be used"
    elif ready < wanted:
        why = waits or f"{wanted - ready} of {wanted} not ready yet"
    elif wanted < stated:
        why = f"{serving} of max {most} serve, so only {wanted} of {stated} could be used"
    else:
        why = ""
    return StandbyFigure(ready=ready, wanted=wanted, why=why)
