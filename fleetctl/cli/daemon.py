"""`fleetctl daemon` (Control): Run the loop in the background: start, stop, status."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import typer

from fleetctl.cli.idle_gateway import Needed, end_idle_gateway
from fleetctl.cli.output import Format, Output, document
from fleetctl.cli.session import session
from fleetctl.errors import Conflict, FleetError, NotFound, TimedOut, UsageError
from fleetctl.views.figures import ago
from fleetctl.wiring import holder_process, lease_is_live, log_of

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run the loop in the background.")

START_LIMIT_S = 20.0
"""A daemon that does not hold the Lease after this long has a reason, and its log tells it."""
_LAST_LINES = 5
"""Of the log of a daemon that ended at once: its error, its hint, and what came before."""
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
def start(output: Output = Format.TABLE) -> None:
    """Start the loop in the background; it goes on when this terminal closes."""
    with session(create=True) as now:
        if lease_is_live(now.store, time.time()):
            lease = now.store.lease()
            raise Conflict(
                f"a controller is running already: {lease.holder if lease else 'unknown'}",
                hint="see it with: fleetctl daemon status",
            )
        log = log_of(now.home, "daemon")
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "fleetctl", "run"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, "FLEETCTL_HOME": str(now.home.root)},
            )
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            if process.poll() is not None:
                raise _ended(process.returncode, log)
            lease = now.store.lease()
            held = holder_process(lease.holder) if lease else None
            if held is not None and held.pid == process.pid:
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
def stop(output: Output = Format.TABLE) -> None:
    """Stop the loop; replicas and gateway go on as they are. When nothing is up, the gateway ends too."""
    with session() as now:
        lease = now.store.lease()
        process = holder_process(lease.holder) if lease is not None else None
        if lease is None or process is None:
            raise NotFound("no controller is running on this machine", hint="fleetctl daemon start")
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
    """Say who controls the fleet, and when it last decided. Exit code 4 when nobody does."""
    with session() as now:
        view = now.view()
        lease = view.lease
        live = lease_is_live(now.store, view.at)
        age = "never" if view.age_s is None else f"{ago(view.age_s)} ago"
        if not live:
            raise NotFound(f"no controller is running; the last decision was {age}", hint="fleetctl daemon start")
        assert lease is not None
        body = {
            "state": "running",
            "holder": lease.holder,
            "fence": lease.fence,
            "last_decision_age_s": view.age_s,
            "lease_expires_in_s": lease.expires_at - view.at,
        }
        process = holder_process(lease.holder)
        text = f"running: {lease.holder}, fence {lease.fence}, last decision {age}"
        _report(output, body, process.pid if process is not None else None, text)


def _report(output: Format, body: dict[str, object], pid: int | None, text: str) -> None:
    match output:
        case Format.TABLE:
            sys.stdout.write(f"{text}\n")
        case Format.NAME:
            sys.stdout.write(f"daemon/{'elsewhere' if pid is None else pid}\n")
        case Format.JSON | Format.YAML:
            document(body, output)
