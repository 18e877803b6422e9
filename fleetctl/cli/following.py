"""Watching a Rollout until it is over, and choosing what it goes back to."""

import time

from fleetctl.cli.costs import bills, confirm, costs_of, told, within_limit
from fleetctl.cli.driving import drive
from fleetctl.cli.output import say
from fleetctl.cli.session import Session
from fleetctl.decide.trial import given_up, remedy
from fleetctl.errors import Conflict, FleetError, NotFound
from fleetctl.model.names import ServiceName
from fleetctl.model.rollouts import Revision, Rollout, RolloutState
from fleetctl.model.services import Service
from fleetctl.model.snapshots import Intent
from fleetctl.spec.fleet import Fleet
from fleetctl.views.fleet import FleetView


def given_up_or_paused(row: Rollout | None, since: float) -> None:
    """Raise for a Rollout that does not go on by itself: one aborted after `since`, or paused."""
    if row is not None and row.state is RolloutState.ABORTED and (row.ended_at or 0.0) >= since:
        raise FleetError(given_up(row), hint=remedy(row))
    if row is not None and row.state is RolloutState.PAUSED:
        raise Conflict(
            f"the rollout of {row.to_revision} is paused, so it does not go on",
            hint=f"fleetctl rollout resume {row.service}",
        )


def follow(now: Session, service: ServiceName, revision: str, *, timeout_s: float, resume: str) -> None:
    """Run the fleet, or watch its controller, until that revision serves alone.

    Raises `FleetError` where it is given up, `Conflict` where it is paused or another one was declared, `TimedOut`.
    """
    since = time.time()

    def done(view: FleetView) -> bool:
        row = view.rollouts.get(service)
        over = row is not None and row.state in (RolloutState.DONE, RolloutState.UNDONE)
        return over and row is not None and row.to_revision == revision

    def check(view: FleetView) -> None:
        row = view.rollouts.get(service)
        if row is not None and row.to_revision == revision:
            given_up_or_paused(row, since)
        intent = next((one for one in view.intents if one.service.name == service), None)
        if intent is None or not intent.up or intent.revision != revision:
            raise Conflict(
                f"{service} was declared otherwise meanwhile", hint=f"look at it: fleetctl rollout status {service}"
            )

    drive(now, done, timeout_s=timeout_s, check=check, resume=resume)


def agree(now: Session, service: Service, *, yes: bool, again: str, dry_run: bool = False) -> None:
    """Ask, as `up` does, where more machines may be rented than were agreed to; a dry run only tells what would be
    asked. Raises `ConfirmationNeeded`."""
    config = now.config
    if not bills(config) and config.max_cost_per_hour is None:
        return
    costs = costs_of(Fleet(config=config), [service], now.view(), now.home)
    for warning in costs.warnings:
        say(f"warning: {warning}")
    within_limit(costs, retry=again)
    if not bills(config):
        return
    if not dry_run:
        confirm(costs, yes=yes, retry=again, home=now.home)
    elif costs.rises:
        say(f"this may rent machines: {told(costs)}")


def earlier(intent: Intent, row: Rollout | None, to: str | None) -> Revision:
    """The revision to go back to: that of the name (or its beginning) `to`, or the one that served before.

    Raises `NotFound` where it is not kept, and `Conflict` where there is none.
    """
    name = intent.service.name
    others = [one for one in intent.revisions if one.name != intent.revision]
    kept = ", ".join(one.name for one in reversed(others)) or "none"
    if to is not None:
        to = to.removeprefix("revision/")
        found = [one for one in others if one.name.startswith(to)]
        if len(found) == 1:
            return found[0]
        what = "is the present one" if intent.revision.startswith(to) else "is not kept"
        raise NotFound(
            f"revision {to} of {name} {'fits several' if found else what}",
            hint=f"kept besides the present one: {kept}; see: fleetctl rollout status {name}",
        )
    before = left = ""
    if row is not None and row.to_revision != intent.revision:
        # No controller has taken in yet what was declared last.
        before = row.to_revision if row.state in (RolloutState.DONE, RolloutState.UNDONE) else row.from_revision
    elif row is not None and row.state is RolloutState.UNDONE:
        left = row.from_revision  # once left, it is gone back to by its name only
    elif row is not None:
        before = row.from_revision
    chosen = next((one for one in others if one.name == before), None)
    newest = [one for one in others if one.name != left]  # oldest first
    if chosen is None and not newest:
        raise Conflict(
            f"{name} has no earlier revision to go back to",
            hint=f"see what is kept: fleetctl rollout history {name}"
            + (f"; name one: --to {others[-1].name}" if others else ""),
        )
    return chosen or newest[-1]
