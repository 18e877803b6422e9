"""`fleetctl up` (Change): Bring services up and wait until they answer; prints their endpoints."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import Session, drive, duration_s, session, spec_paths
from fleetctl.cli.views import FleetView, ServiceRow, service_rows
from fleetctl.errors import FleetError, NotFound, UsageError
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.wiring import lease_is_live, provider_names, save_config

app = typer.Typer(add_completion=False)


@app.command()
def up(
    services: Annotated[list[str] | None, typer.Argument(help="Services to bring up; none: all in the files")] = None,
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="A file or folder; default fleet/")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until they answer")] = True,
    timeout: Annotated[str, typer.Option(help="Stop waiting after this long; the fleet goes on")] = "15m",
    output: Output = Format.TABLE,
) -> None:
    """Bring services up and wait until they answer. Prints their endpoints.

    Runs the fleet itself, or hands over to the controller that runs it. Ctrl-C is harmless: what was begun is
    remembered, and the same command goes on.
    """
    from fleetctl.spec.load import load
    from fleetctl.spec.revision import revision

    timeout_s = duration_s(timeout)
    fleet = load(spec_paths(file))
    wanted = [service for service in fleet.services if not services or service.name in services]
    missing = set(services or ()) - {service.name for service in wanted}
    if missing:
        raise NotFound(
            f"no service {', '.join(sorted(missing))} in the files",
            hint=f"they declare: {', '.join(service.name for service in fleet.services) or 'none'}",
        )
    for service in wanted:
        unusable = set(service.placement.providers) - set(provider_names())
        if unusable:
            raise UsageError(
                f"{fleet.places[f'service/{service.name}']}: provider {', '.join(sorted(unusable))} cannot be used yet",
                hint=f"providers here: {', '.join(provider_names())}",
            )
    with session(config=fleet.config, create=True) as now:
        save_config(now.home, fleet.config)
        at = time.time()
        for pool in fleet.pools:
            now.store.put_pool(pool, at=at)
        for service in wanted:
            now.store.put_service(service, revision=revision(service), at=at)
        names = {str(service.name) for service in wanted}
        if not wait and not lease_is_live(now.store, time.time()):
            say("stored, but no controller is running to act on it: fleetctl daemon start")
        if wait:
            words = [*(f"-f {shlex.quote(str(path))}" for path in file or ()), *(services or ())]
            _wait(now, names, timeout_s, resume=" ".join(["fleetctl up", *words]))
        rows = [row for row in service_rows(now.view()) if row.name in names]
        if output is Format.JSON or output is Format.YAML:
            document({"items": rows}, output)
        elif output is Format.NAME:
            sys.stdout.writelines(f"service/{row.name}\n" for row in rows)
        else:
            sys.stdout.writelines(f"{row.endpoint}\n" for row in rows)
        if wait and not lease_is_live(now.store, time.time()):
            say("up. Nothing scales until a controller runs: fleetctl daemon start (or: fleetctl run)")


def _wait(now: Session, names: set[str], timeout_s: float, *, resume: str) -> None:
    since = time.time()

    def done(view: FleetView) -> bool:
        fresh = {name for name in names if (at := view.decisions.get(name)) is not None and at.at >= since}
        return fresh == names and all(_settled(view, row) for row in service_rows(view) if row.name in names)

    def check(view: FleetView) -> None:
        mine = [row for row in service_rows(view) if row.name in names]
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
    return len(answering) >= row.desired
