"""`fleetctl up` (Change): Bring services up and wait until they answer; prints their endpoints."""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.costs import bills, confirm, costs_of, within_limit
from fleetctl.cli.following import given_up_or_paused
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import Session, drive, duration_s, session, spec_paths
from fleetctl.cli.weights import weights_told
from fleetctl.errors import Conflict, FleetError, NotFound
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.services import Service
from fleetctl.paths import Home
from fleetctl.spec.fleet import Fleet
from fleetctl.views.figures import several
from fleetctl.views.fleet import FleetView, ServiceRow, service_rows
from fleetctl.wiring import (
    abilities_of,
    configured,
    gateway_options,
    lease_is_live,
    load_config,
    provider_names,
    save_config,
)

app = typer.Typer(add_completion=False)

MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost-per-hour",
        min=0.0,
        envvar="FLEETCTL_MAX_COST_PER_HOUR",
        help="US dollars that the whole fleet may cost; over the file's own limit",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before machines are rented")]


@app.command()
def up(
    services: Annotated[list[str] | None, typer.Argument(help="Services to bring up; none: all in the files")] = None,
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="A file or folder; default fleet/")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until they answer")] = True,
    timeout: Annotated[str, typer.Option(help="Stop waiting after this long; the fleet goes on")] = "15m",
    yes: Yes = False,
    max_cost_per_hour: MaxCost = None,
    output: Output = Format.TABLE,
) -> None:
    """Bring services up and wait until they answer. Prints their endpoints.

    Asks before more machines may be rented than before, now or later. Runs the fleet itself, or hands over to the
    controller that runs it. Ctrl-C is harmless: what was begun is remembered, and the same command goes on.
    """
    from fleetctl.spec.load import load
    from fleetctl.spec.revision import revision

    timeout_s = duration_s(timeout)
    fleet = load(spec_paths(file), providers=provider_names(), abilities=abilities_of)
    if max_cost_per_hour is not None:
        fleet = replace(fleet, config=replace(fleet.config, max_cost_per_hour=max_cost_per_hour))
    wanted = wanted_of(fleet, services or ())
    words = [*(f"-f {shlex.quote(str(path))}" for path in file or ()), *(services or ())]
    again = " ".join(["fleetctl up", *words])
    for line in weights_told(wanted):
        say(line)
    with session(config=fleet.config, create=True) as now:
        _keeps_providers(fleet, now.view())
        _agree(fleet, wanted, now, yes=yes, again=again)
        if lease_is_live(now.store, time.time()) and not _same_providers(now.home, fleet):
            say("warning: the running controller does not know the changed providers; restart it: fleetctl daemon stop")
        if now.home.gateway_socket.exists() and not _same_gateway(now.home, fleet):
            say(
                "warning: a running gateway keeps the tls, workers, access_log and metrics_listen that it was started "
                "with; stop the controller (fleetctl daemon stop) and the gateway (its pid: fleetctl doctor), then: "
                f"{again}"
            )
        save_config(now.home, fleet.config)
        at = time.time()
        for pool in fleet.pools:
            now.store.put_pool(pool, at=at)
        for tenant in fleet.tenants:
            now.store.put_tenant(tenant)
        for service in wanted:
            now.store.put_service(service, revision=revision(service), at=at)
        names = {str(service.name) for service in wanted}
        if not wait and not lease_is_live(now.store, time.time()):
            say("stored, but no controller is running to act on it: fleetctl daemon start")
        if wait:
            _wait(now, names, timeout_s, resume=again)
        rows = [row for row in service_rows(now.view()) if row.name in names]
        if output is Format.JSON or output is Format.YAML:
            document({"items": rows}, output)
        elif output is Format.NAME:
            sys.stdout.writelines(f"service/{row.name}\n" for row in rows)
        else:
            sys.stdout.writelines(f"{row.endpoint}\n" for row in rows)
        if fleet.config.gateway_auth == "keys" and not any(key.in_force(at) for key in now.store.api_keys()):
            say("the gateway asks for an API key, and there is none yet; make one: fleetctl keys create")
        if wait and not lease_is_live(now.store, time.time()):
            say("up. Nothing scales until a controller runs: fleetctl daemon start (or: fleetctl run)")


def wanted_of(fleet: Fleet, services: Sequence[str]) -> list[Service]:
    """The Services of the files with these names; none given: all. Raises `NotFound`."""
    wanted = [service for service in fleet.services if not services or service.name in services]
    missing = set(services) - {service.name for service in wanted}
    if missing:
        raise NotFound(
            f"no service {', '.join(sorted(missing))} in the files",
            hint=f"they declare: {', '.join(service.name for service in fleet.services) or 'none'}",
        )
    return wanted


def _keeps_providers(fleet: Fleet, view: FleetView) -> None:
    """A provider that is no longer named is no longer asked: its machines would run on, unseen and billed."""
    held = {instance.offer.provider for instance in view.live_instances} - set(configured(fleet.config))
    if held:
        name = min(held)
        count = sum(1 for instance in view.live_instances if instance.offer.provider == name)
        raise Conflict(
            f"the files no longer name the provider {name}, which has {several(count, 'instance')} of this fleet",
            hint=f"keep {name} under providers in kind: fleet until they are given back: fleetctl down --all",
        )


def _same_providers(home: Home, fleet: Fleet) -> bool:
    """Whether the saved settings name the providers as the files do; those that cannot be read are written anew."""
    try:
        return load_config(home).providers == fleet.config.providers
    except FleetError:
        return False


def _same_gateway(home: Home, fleet: Fleet) -> bool:
    """Whether a gateway is started now as it was by the saved settings; those that cannot be read are written anew."""
    try:
        return gateway_options(load_config(home)) == gateway_options(fleet.config)
    except FleetError:
        return True


def _agree(fleet: Fleet, wanted: Sequence[Service], now: Session, *, yes: bool, again: str) -> None:
    """Look at what it will cost, where somebody bills or the fleet has a limit; ask where more may be rented."""
    if not bills(fleet.config) and fleet.config.max_cost_per_hour is None:
        return
    costs = costs_of(fleet, wanted, now.view(), now.home)
    for warning in costs.warnings:
        say(f"warning: {warning}")
    within_limit(costs, retry=again)
    if bills(fleet.config):
        confirm(costs, yes=yes, retry=again)


def _wait(now: Session, names: set[str], timeout_s: float, *, resume: str) -> None:
    since = time.time()

    def done(view: FleetView) -> bool:
        fresh = {name for name in names if (at := view.decisions.get(name)) is not None and at.at >= since}
        return fresh == names and all(_settled(view, row) for row in service_rows(view) if row.name in names)

    def check(view: FleetView) -> None:
        mine = [row for row in service_rows(view) if row.name in names]
        for row in mine:
            given_up_or_paused(row.rollout, since)
        failing = [row for row in mine if row.state == "failing"]
        # Those that are well come up first: one broken file shall not keep the others from answering.
        if not failing or not all(_settled(view, row) for row in mine if row.state != "failing"):
            return
        broken = " ".join(row.name for row in failing)
        raise FleetError(
            "\n".join(_failure(now, row, since) for row in failing),
            hint=f"mend the file and run: {resume}; or give up with: fleetctl down {broken}",
        )

    drive(now, done, timeout_s=timeout_s, check=check, resume=resume)


def _failure(now: Session, row: ServiceRow, since: float) -> str:
    """Why a Service does not come up: what its last Replica that failed left behind."""
    said = [
        event.message
        for event in now.store.events(since=since)
        # Replicas are called after their Service, the store's epoch and a number.
        if event.kind == "warning" and event.subject.rsplit("-", 2)[0] == f"replica/{row.name}"
    ]
    return f"{row.name} does not come up: {said[-1] if said else row.reason}"


def _settled(view: FleetView, row: ServiceRow) -> bool:
    """Whether as many Replicas of the present revision answer as were decided."""
    intent = next(intent for intent in view.intents if intent.service.name == row.name)
    answering = [
        replica
        for replica in view.replicas_of(row.name)
        if replica.role is Role.SERVING and replica.phase is ReplicaPhase.READY and replica.revision == intent.revision
    ]
    return len(answering) >= row.desired and row.rollout is None
