"""`fleetctl down` (Change): Drain services and give everything back.

Example: fleetctl down chat
"""

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from fleetctl.cli.asking import ask_typed
from fleetctl.cli.changing import DryRun, Timeout, keep, told_dry
from fleetctl.cli.driving import drive
from fleetctl.cli.idle_gateway import Needed, end_idle_gateway
from fleetctl.cli.output import Format, Output, items, say
from fleetctl.cli.session import Session, duration_s, known_service, session
from fleetctl.errors import UsageError
from fleetctl.model.snapshots import Intent
from fleetctl.views.figures import dollars, several
from fleetctl.views.fleet import FleetView
from fleetctl.views.settled import gone
from fleetctl.wiring import holder_process, lease_is_live

app = typer.Typer(add_completion=False)

WAITING_EVERY_S = 10.0
"""A drain that takes longer is told of this often, with what it waits for."""


@app.command()
def down(
    services: Annotated[list[str] | None, typer.Argument(help="Services to take down")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every service of the fleet")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until everything is given back")] = True,
    timeout: Timeout = "15m",
    dry_run: DryRun = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Taken as everywhere; down asks only for a name that is to be typed")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Drain services, stop their replicas and give their instances back. Running requests end first.

    Within seven days `fleetctl undo` brings them back as they were.
    """
    del yes  # what can be undone is not asked about
    timeout_s = duration_s(timeout)
    if bool(services) == every:
        hint = "fleetctl down NAME…, or: fleetctl down --all"
        raise UsageError("name the services to take down, or give --all", hint=hint)
    with session(change=not dry_run) as now:
        intents, _ = now.store.intents()
        before_view = now.view()
        names = {str(known_service(now, name)) for name in services or ()} or _there(before_view)
        before, _ = before_view.price_per_hour
        falling = [intent for intent in intents if intent.service.name in names and intent.up]
        if dry_run:
            _told(falling, before_view, output)
            return
        given = " ".join(("down", *("--all" for _ in range(every)), *(services or ())))
        if falling:
            what = f"take down {', '.join(intent.service.name for intent in falling)}?"
            ask_typed(what, retry=f"fleetctl {given}{'' if wait else ' --no-wait'}", home=now.home)
            keep(now, given, [intent.service.name for intent in falling])
        for intent in falling:
            now.store.set_up(intent.service.name, False, at=time.time())
        if wait and names:
            _wait(now, names, timeout_s)
        view = now.view()
        after, _ = view.price_per_hour
        needed = end_idle_gateway(now) if wait else None
        saved = before - after
        if output in (Format.JSON, Format.YAML):
            items([{"name": name, "state": "down"} for name in sorted(names)], output)
        else:
            sys.stdout.writelines(f"service/{name}\n" for name in sorted(names))
        if not names:
            say("nothing was up")
        elif wait:
            say(f"down; {dollars(saved)}/h less, {dollars(after)}/h remain. Bring them back with: fleetctl up")
            if spent := _spent(now, names):
                say(spent)
        elif not lease_is_live(now.store, time.time()):
            say("stored, but no controller is running to act on it: fleetctl daemon start")
        if needed is Needed.CONTROLLER and not any(intent.up for intent in view.intents):
            say(_running_on(now))


def _spent(now: Session, names: set[str]) -> str:
    """What these services have cost, as far as it is kept; empty where nothing was counted."""
    amounts = [one for one in now.store.ledger(since=0.0, until=time.time() + 3600.0) if one.account.service in names]
    if not amounts:
        return ""
    hours = sum(one.gpu_s for one in amounts) / 3600.0
    unpriced = any(one.unpriced_gpu_s > 0 for one in amounts)
    cost = f"{dollars(sum(one.dollars for one in amounts))}{' + ?' if unpriced else ''}"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(amounts[0].hour * 3600))
    return f"spent {cost} on {hours:.2f} GPU-hours since {since}; by use: fleetctl cost report"


def _told(falling: Sequence[Intent], view: FleetView, output: Format) -> None:
    """What would be taken down."""
    if output in (Format.JSON, Format.YAML):
        items([{"name": one.service.name, "state": "down"} for one in falling], output)
    elif output is Format.NAME:
        sys.stdout.writelines(f"service/{one.service.name}\n" for one in falling)
    else:
        for one in falling:
            count = several(len(view.replicas_of(one.service.name)), "replica")
            sys.stdout.write(f"service/{one.service.name}  up → down, {count} to drain\n")
    told_dry()


def _running_on(now: Session) -> str:
    """What is left of a fleet that is down, and what ends it."""
    lease = now.store.lease()
    holder = lease.holder if lease is not None else ""
    if holder_process(holder) is not None:
        return "the controller and the gateway run on; stop both with: fleetctl daemon stop"
    return f"the controller {holder} and its gateway run on; on that machine, stop both with: fleetctl daemon stop"


def _there(view: FleetView) -> set[str]:
    """Services that are up, or down and not yet gone with all they had."""
    pools = {instance.pool for instance in view.live_instances}
    return {
        str(intent.service.name)
        for intent in view.intents
        if intent.up or view.replicas_of(intent.service.name) or intent.service.pool_name in pools
    }


def _wait(now: Session, names: set[str], timeout_s: float) -> None:
    told_at = time.monotonic()

    def waiting(view: FleetView) -> None:
        nonlocal told_at
        if time.monotonic() - told_at < WAITING_EVERY_S:
            return
        told_at = time.monotonic()
        limits_s = {intent.service.name: intent.service.drain_timeout_s for intent in view.intents}
        for replica in view.replicas:
            if replica.service in names and replica.drain_from is not None:
                left_s = replica.drain_from + limits_s[replica.service] - view.at
                say(
                    f"  waiting for replica/{replica.id}: it has requests running, or does not tell; it is stopped in"
                    f" {max(0.0, left_s):.0f} s at the latest"
                )

    drive(
        now,
        lambda view: gone(view, names),
        timeout_s=timeout_s,
        check=waiting,
        resume=f"fleetctl down {' '.join(sorted(names))}",
    )
