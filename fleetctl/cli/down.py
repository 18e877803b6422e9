"""`fleetctl down` (Change): Drain services and give everything back."""

import sys
import time
from typing import Annotated

import typer

from fleetctl.cli.idle_gateway import Needed, end_idle_gateway
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import Session, drive, duration_s, known_service, session
from fleetctl.errors import UsageError
from fleetctl.views.figures import dollars
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import holder_process, lease_is_live

app = typer.Typer(add_completion=False)

WAITING_EVERY_S = 10.0
"""A drain that takes longer is told of this often, with what it waits for."""


@app.command()
def down(
    services: Annotated[list[str] | None, typer.Argument(help="Services to take down")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every service of the fleet")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until everything is given back")] = True,
    timeout: Annotated[str, typer.Option(help="Stop waiting after this long")] = "15m",
    output: Output = Format.TABLE,
) -> None:
    """Drain services, stop their replicas and give their instances back. Running requests end first."""
    timeout_s = duration_s(timeout)
    if bool(services) == every:
        hint = "fleetctl down NAME…, or: fleetctl down --all"
        raise UsageError("name the services to take down, or give --all", hint=hint)
    with session(create=True) as now:
        intents, _ = now.store.intents()
        before_view = now.view()
        names = {str(known_service(now, name)) for name in services or ()} or _there(before_view)
        before, _ = before_view.price_per_hour
        for intent in intents:
            if intent.service.name in names and intent.up:
                now.store.set_up(intent.service.name, False, at=time.time())
        if wait and names:
            _wait(now, names, timeout_s)
        view = now.view()
        after, _ = view.price_per_hour
        needed = end_idle_gateway(now) if wait else None
        saved = before - after
        if output in (Format.JSON, Format.YAML):
            document({"items": [{"name": name, "state": "down"} for name in sorted(names)]}, output)
        else:
            sys.stdout.writelines(f"service/{name}\n" for name in sorted(names))
        if not names:
            say("nothing was up")
        elif wait:
            say(f"down; {dollars(saved)}/h less, {dollars(after)}/h remain. Bring them back with: fleetctl up")
        elif not lease_is_live(now.store, time.time()):
            say("stored, but no controller is running to act on it: fleetctl daemon start")
        if needed is Needed.CONTROLLER and not any(intent.up for intent in view.intents):
            say(_running_on(now))


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

    def done(view: FleetView) -> bool:
        if any(replica.service in names for replica in view.replicas):
            return False
        up = {intent.service.pool_name for intent in view.intents if intent.up}
        mine = {intent.service.pool_name for intent in view.intents if intent.service.name in names} - up
        return not any(instance.pool in mine for instance in view.live_instances)

    drive(
        now,
        done,
        timeout_s=timeout_s,
        check=waiting,
        resume=f"fleetctl down {' '.join(sorted(names))}",
    )
