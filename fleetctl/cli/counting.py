"""What a count set by hand costs: told, held against the limit, and agreed to."""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.cli.asking import ask
from fleetctl.cli.costs import bills, costs_of, delta, told, within_limit
from fleetctl.cli.output import say
from fleetctl.cli.session import Session
from fleetctl.model.services import Service
from fleetctl.spec.fleet import Fleet
from fleetctl.views.figures import dollars


def as_scaled(service: Service, count: int) -> Service:
    """The Service as it is counted with so many Replicas, whatever its schedule and its `min` say."""
    least = min(count, service.scaling.min)
    scaling = replace(service.scaling, policy="fixed", replicas=count, min=least)
    return replace(service, scaling=scaling, schedule=())


def agree_to_count(
    now: Session,
    wanted: Sequence[Service],
    *,
    for_s: float | None,
    limit: float | None,
    yes: bool,
    again: str,
    dry_run: bool = False,
) -> None:
    """Ask where more machines must be rented than run now; `limit` stands in for the fleet's own, for this once. A dry
    run only tells what would be asked.

    Nobody is asked for prices where nobody bills and nothing is limited. Raises `ConfirmationNeeded`, `OverBudget`.
    """
    config = now.config if limit is None else replace(now.config, max_cost_per_hour=limit)
    if not wanted or (not bills(config) and config.max_cost_per_hour is None):
        return
    costs = costs_of(Fleet(config=config), wanted, now.view(), now.home)
    for warning in costs.warnings:
        say(f"warning: {warning}")
    within_limit(costs, retry=again)
    if not bills(config) or not costs.grows:
        return
    rise = None if costs.then is None or costs.now is None else costs.then - costs.now
    until = ""
    if for_s is not None:
        until = f", {dollars(None if rise is None else rise * for_s / 3600.0)} until it expires"
    what = f"This rents machines: {delta(rise)}/h{until} ({told(costs)})."
    if dry_run:
        say(what)
    else:
        ask(what, yes=yes, retry=again, home=now.home)
