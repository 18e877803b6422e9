"""`fleetctl daemon` (Control): Run the loop in the background: start, stop, status, logs, install.

Example: fleetctl daemon start
Example: fleetctl daemon install --now
Example: fleetctl daemon status -o json
Example: fleetctl daemon logs --tail 100 --follow
Example: fleetctl daemon stop
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.daemon_state import (
    LINES_MAX,
    Health,
    daemon_log,
    daemon_socket,
    followed,
    health_of,
    last_lines,
    unit_of_process,
)
from fleetctl.cli.idle_gateway import Needed, end_idle_gateway
from fleetctl.cli.log_lines import records
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import session
from fleetctl.cli.streams import pause
from fleetctl.errors import Conflict, FleetError, NotFound, TimedOut, UsageError
from fleetctl.spec.openness import open_metrics
from fleetctl.views.figures import ago, bytes_text
from fleetctl.wiring import holder_process, lease_is_live, log_of, refuse_read_only

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run the loop in the background.")

START_LIMIT_S = 20.0
"""A daemon that does not hold the Lease after this long has a reason, and its log tells it."""
_LAST_LINES = 5
"""Of the log of a daemon that ended at once: its error, its hint, and what came before."""
FOLLOW_S = 0.5
STOP_LIMIT_S = 30.0
"""Ending a tick, abandoning what is in flight and letting the Lease go takes far less."""

LEFT = {
    Needed.SERVICES: "replicas and gateway go on as they are; what is up is taken down with: fleetctl down --all",
    Needed.REPLICAS: "replicas that drain, and the gateway, go on as they are; end them with: fleetctl down --all",
    Needed.CONTROLLER: "another controller has taken over, and keeps the gateway",
    Needed.NOTHING: "nothing is up, so the gateway has ended too",
}
"""What is there after the loop, by what the gateway is needed for."""


@app.command()
def start(dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Start the loop in the background; it goes on when this terminal closes."""
    with session(create=True, dry_run=dry_run) as now:
        if lease_is_live(now.store, time.time()):
            lease = now.store.lease()
            raise Conflict(
                f"a controller is running already: {lease.holder if lease else 'unknown'}",
                hint="see it with: fleetctl daemon status",
            )
        if said := open_metrics(now.config.daemon_metrics_listen):
            say(f"warning: {said}")
        if dry_run:
            where = daemon_log(now.home)
            stopped: dict[str, object] = {"state": "stopped", "pid": None, "log": str(where)}
            _report(output, stopped, None, f"the loop would be started; log: {where}")
            told_dry()
            return
        log = log_of(now.home, "daemon")
        with log.open("ab") as sink:
            process = subprocess.Popen(
                # Its log is for people, whatever form of output is set for commands.
                [sys.executable, "-m", "fleetctl", "run", "-o", "table"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, **now.home.environment},
            )
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            if process.poll() is not None:
                raise _ended(process.returncode, log)
            lease = now.store.lease()
            held = holder_process(lease.holder) if lease else None
            # Who answers there has got past all that may keep it from running, such as a port that is taken.
            if held is not None and held.pid == process.pid and health_of(daemon_socket(now.home)) is not None:
                break
            if time.monotonic() > deadline:
                raise TimedOut(f"the daemon holds no lease after {START_LIMIT_S:g} s", hint=f"read {log}")
            time.sleep(0.1)
        body = {"state": "running", "pid": process.pid, "log": str(log)}
        _report(output, body, process.pid, f"running, pid {process.pid}; log: {log}")


def _ended(code: int, log: Path) -> FleetError:
    """What a daemon that did not start said last, as the error that it ended with."""
    kind = next((kind for kind in (Conflict, UsageError) if kind.exit_code == code), FleetError)
    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    for at, line in enumerate(lines):
        if line.startswith("error: "):
            after = lines[at + 1 :]
            hint = after[-1].removeprefix("hint: ") if after else f"read {log}"
            return kind(f"the daemon does not start: {line.removeprefix('error: ')}", hint=hint)
    return kind(f"the daemon ended at once, with exit code {code}: {' / '.join(lines)}", hint=f"read {log}")


@app.command()
def stop(dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Stop the loop; replicas and gateway go on as they are. When nothing is up, the gateway ends too."""
    with session() as now:
        if not dry_run:
            refuse_read_only(now.home)
        lease = now.store.lease()
        process = holder_process(lease.holder) if lease is not None else None
        if lease is None or process is None:
            raise NotFound("no controller is running on this machine", hint="fleetctl daemon start")
        if dry_run:
            runs: dict[str, object] = {"state": "running", "pid": process.pid, "gateway_needed_by": None}
            _report(output, runs, process.pid, f"the controller, pid {process.pid}, would be told to end")
            told_dry()
            return
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_LIMIT_S
        while holder_process(lease.holder) is not None and process.status() != "zombie":
            if time.monotonic() > deadline:
                raise TimedOut(f"the controller, pid {process.pid}, has not ended yet", hint="fleetctl daemon status")
            time.sleep(0.1)
        needed = end_idle_gateway(now)
        body = {"state": "stopped", "pid": process.pid, "gateway_needed_by": needed}
        _report(output, body, process.pid, f"stopped, pid {process.pid}; {LEFT[needed]}")


@app.command()
def status(output: Output = Format.TABLE) -> None:
    """Say who controls the fleet, when it last decided and how late its ticks are. Exit code 4 when nobody does."""
    with session() as now:
        view = now.view()
        lease = view.lease
        live = lease_is_live(now.store, view.at)
        age = "never" if view.age_s is None else f"{ago(view.age_s)} ago"
        if not live:
            last = "nothing was decided yet" if view.age_s is None else f"the last decision was {age}"
            raise NotFound(f"no controller is running; {last}", hint="fleetctl daemon start")
        assert lease is not None
        process = holder_process(lease.holder)
        health = health_of(daemon_socket(now.home)) if process is not None else None
        unit = unit_of_process(process.pid) if process is not None else None
        log = daemon_log(now.home)
        logged = unit is None and log.exists()
        body = {
            "state": "running",
            "holder": lease.holder,
            "fence": lease.fence,
            "last_decision_age_s": view.age_s,
            "lease_expires_in_s": lease.expires_at - view.at,
            "pid": None if process is None else process.pid,
            "version": None if health is None else health.version,
            "period_s": now.config.period_s,
            "tick_age_s": None if health is None else health.tick_age_s,
            "tick_lag_s": None if health is None else health.tick_lag_s,
            "tick_lag_most_s": None if health is None else health.tick_lag_most_s,
            "tick_s": None if health is None else health.tick_s,
            "resident_bytes": None if health is None else health.resident_bytes,
            "unit": None if unit is None else unit.name,
            "log": str(log) if logged else None,
            "metrics_listen": now.config.daemon_metrics_listen,
        }
        text = f"running: {lease.holder}, fence {lease.fence}, last decision {age}"
        if health is not None:
            text += f"\n{_figures(health)}"
        elif process is not None:
            text += f"\npid {process.pid}; it does not answer on {daemon_socket(now.home)}"
        if unit is not None:
            text += f"\nunder systemd as {unit.name}; log: {unit.journal}"
        elif logged:
            text += f"\nlog: {log}, {bytes_text(log.stat().st_size)}"
        _report(output, body, process.pid if process is not None else None, text)


def _figures(health: Health) -> str:
    age = "no tick has ended yet" if health.tick_age_s is None else f"last tick {health.tick_age_s:.1f} s ago"
    took = "" if health.tick_s is None else f", which took {health.tick_s:.2f} s"
    lag = (
        f"{health.tick_lag_s:.2f} s behind its period of {health.period_s:g} s, {health.tick_lag_most_s:.2f} s at most"
    )
    memory = bytes_text(health.resident_bytes)
    return f"pid {health.pid}, version {health.version}, {memory}; {age}{took}, {lag}"


@app.command()
def logs(
    lines: Annotated[int, typer.Option("--tail", min=0, max=LINES_MAX, help="So many lines from the end")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, as it is written")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Print the end of the log of the daemon that `daemon start` started; under systemd: journalctl."""
    with session() as now:
        log = daemon_log(now.home)
        lease = now.store.lease()
        process = holder_process(lease.holder) if lease is not None else None
        unit = unit_of_process(process.pid) if process is not None else None
    try:
        last = last_lines(log, lines)
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no {log}: no daemon was started here with `fleetctl daemon start`",
            hint=unit.journal if unit else "under systemd: journalctl --user -u 'fleetctl-*', or without --user",
        ) from error
    except OSError as error:
        raise FleetError(f"{log}: cannot be read: {error.strerror}", hint=f"look at: ls -l {log}") from error
    if unit is not None:
        say(f"the controller runs under systemd, and this is of one before it; its own log: {unit.journal}")
    programs = output in (Format.JSON, Format.YAML)
    if programs and not follow:
        document({"log": str(log), "lines": last}, output)
        return
    write = records(log=str(log)) if programs else sys.stdout.write
    write("".join(f"{one}\n" for one in last))
    sys.stdout.flush()
    for text in followed(log) if follow else ():
        write(text)
        pause(0.0 if text else FOLLOW_S)


@app.command()
def install(
    user: Annotated[
        bool, typer.Option("--user", help="As a unit of your own systemd (the usual, unless root)")
    ] = False,
    system: Annotated[bool, typer.Option("--system", help="As a unit of the system; needs root")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit; change nothing")] = False,
    at_once: Annotated[bool, typer.Option("--now", help="Start it, too")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take the unit away again")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Put the loop under systemd: started with the machine, watched, started anew when it fails.

    Without systemd `fleetctl daemon start` runs it in the background. A unit that was changed by hand is kept aside.
    """
    from fleetctl.cli.daemon_install import install_unit, uninstall_unit

    if user and system:
        raise UsageError("--user and --system exclude each other", hint="fleetctl daemon install --user")
    for_system = system or (not user and os.geteuid() == 0)
    with session() as now:
        if not dry_run:
            refuse_read_only(now.home)
        if uninstall:
            unit = uninstall_unit(now, system=for_system, dry_run=dry_run)
        else:
            unit = install_unit(now, system=for_system, dry_run=dry_run, at_once=at_once)
    match output:
        case Format.TABLE if dry_run and not uninstall:
            sys.stdout.write(unit.text)
        case Format.TABLE:
            sys.stdout.write(f"{unit.path}: {unit.state}\n")
        case Format.NAME:
            sys.stdout.write(f"unit/{unit.name}\n")
        case Format.JSON | Format.YAML:
            document(unit, output)
    if dry_run and output is Format.TABLE:
        say(f"it would be {unit.path}")


def _report(output: Format, body: dict[str, object], pid: int | None, text: str) -> None:
    match output:
        case Format.TABLE:
            sys.stdout.write(f"{text}\n")
        case Format.NAME:
            sys.stdout.write(f"daemon/{'elsewhere' if pid is None else pid}\n")
        case Format.JSON | Format.YAML:
            document(body, output)
