"""Counts set by hand, as `fleetctl scale` sets them: kept for `undo`, within the limits, and never without a yes."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fleetctl.cli.changing import keep
from fleetctl.cli.costs import Costs, bills, costs_of, delta, told, within_limit
from fleetctl.cli.counting import as_scaled
from fleetctl.cli.session import Session, known_service
from fleetctl.errors import ConfirmationNeeded, UsageError
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Service
from fleetctl.model.snapshots import Override
from fleetctl.spec.fleet import Fleet

T = TypeVar("T")


def scale(now: Session, service: str, replicas: int, *, for_s: float | None, yes: bool, confirm: str) -> None:
    """Set a count. Raises `NotFound`, `UsageError`, `ConfirmationNeeded` and `OverBudget`; nobody is ever asked."""
    name = known_service(now, service)
    declared = _declared(now, name)
    if replicas < 0 or (for_s is not None and not for_s > 0):
        raise UsageError(f"{service}: {replicas} replicas for {for_s} s", hint="give 0 or more, for a time above zero")
    if replicas > declared.scaling.max:
        raise UsageError(
            f"{service}: {replicas} is more than its max of {declared.scaling.max}",
            hint="raise scaling.max in its file and run: fleetctl up",
        )
    _agree(now, as_scaled(declared, replicas), service, yes=yes, confirm=confirm)
    until = None if for_s is None else time.time() + for_s
    keep(now, f"scale {service}={replicas}{'' if for_s is None else f' --for {for_s:g}s'}", [name])
    now.store.set_override(name, Override(replicas=replicas, until=until), at=time.time())


def release(now: Session, service: str) -> None:
    """Hand a count back to the policy. Raises `NotFound`."""
    name = known_service(now, service)
    keep(now, f"scale {service}=auto", [name])
    now.store.set_override(name, None, at=time.time())


def _declared(now: Session, name: ServiceName) -> Service:
    return next(intent.service for intent in now.store.intents()[0] if intent.service.name == name)


def _agree(now: Session, wanted: Service, service: str, *, yes: bool, confirm: str) -> None:
    """Raise unless it costs nothing more, or somebody said that it may."""
    if not bills(now.config) and now.config.max_cost_per_hour is None:
        return
    view = now.view()
    costs: Costs = _apart(lambda: costs_of(Fleet(config=now.config), [wanted], view, now.home))
    within_limit(costs, retry=f"fleetctl scale {service}=auto")
    if not bills(now.config) or not costs.grows:
        return
    rise = None if costs.then is None or costs.now is None else costs.then - costs.now
    what = f"This rents machines: {delta(rise)}/h ({told(costs)})."
    if now.home.typed and confirm != now.home.context:
        raise ConfirmationNeeded(
            f"nobody gave the name of the context {now.home.context} for: {what}",
            hint=f"agree with: scale({service!r}, …, confirm={now.home.context!r})",
        )
    if not now.home.typed and not yes:
        raise ConfirmationNeeded(f"nobody said yes to: {what}", hint=f"agree with: scale({service!r}, …, yes=True)")


def _apart(ask: Callable[[], T]) -> T:
    """In a thread of its own: a notebook's has an event loop that runs already."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(ask).result()
