"""`fleetctl doctor` (Start here): Check this machine, the store, the gateway, the fleet and its clouds.

Example: fleetctl doctor -o json
"""

import asyncio
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from fleetctl.cli.asked import ASKED
from fleetctl.cli.cloud_checks import clock, orphans, prices, provider_checks
from fleetctl.cli.fleet_gateways import gateway_checks
from fleetctl.cli.output import Column, Format, Output, emit, say, write
from fleetctl.errors import FleetError, NotFound
from fleetctl.model.checks import Check, Status
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.spec.openness import OPEN_METRICS_FIX, open_metrics
from fleetctl.views.figures import ago, several
from fleetctl.views.fleet import FleetView, fleet_view, service_rows
from fleetctl.wiring import fleet_store, holder_is_dead, home, load_config

app = typer.Typer(add_completion=False)

FILES_WANTED = 4096
"""Open files of a gateway under load: two for each request it carries."""
DISK_WANTED_BYTES = 1 << 30
STALE_S = 60.0


CHECKS: tuple[Column[Check], ...] = (
    Column(header="CHECK", cell=lambda row: row.check),
    Column(header="STATUS", cell=lambda row: row.status),
    Column(header="DETAIL", cell=lambda row: row.detail),
    Column(header="FIX", cell=lambda row: row.fix, wide=True),
)


@app.command()
def doctor(output: Output = Format.TABLE) -> int:
    """Check this machine, the store, the controller, the gateway, the machines and the clouds.

    Of each cloud: credentials, every call that will be needed (by dry run), quotas, prices. Exit code 1 if anything
    fails.
    """
    checks = list(_checks())
    emit(checks, CHECKS, output, name=lambda row: f"check/{row.check}")
    if output is Format.TABLE:
        if ASKED.form != "wide" and not ASKED.columns:
            write("".join(_told_fix(check) for check in checks if check.fix))
        say(verdict(checks))
    return 1 if any(check.status == "fail" for check in checks) else 0


def _told_fix(check: Check) -> str:
    """What to do, below the table: beside it, a sentence would push the rest off a narrow terminal."""
    return f"{'' if check.status == 'ok' else 'fix '}{check.check}: {check.fix}\n"


def verdict(checks: Sequence[Check]) -> str:
    """How it stands, in one line."""
    failed = sum(1 for check in checks if check.status == "fail")
    warned = sum(1 for check in checks if check.status == "warn")
    if failed:
        return f"{failed} of {len(checks)} checks failed"
    return f"nothing failed, {several(warned, 'warning')}" if warned else "all is well"


def _checks() -> Iterator[Check]:
    where = home()
    yield _python()
    yield _files()
    yield _disk(where.root)
    yield _docker()
    try:
        config = load_config(where)
        store = fleet_store(where, config, read_only=True)
    except NotFound as error:
        yield Check(check="store", status="ok", detail="no fleet here yet", fix=error.hint)
        return
    except FleetError as error:
        yield Check(check="store", status="fail", detail=error.message, fix=error.hint)
        return
    try:
        view = fleet_view(store, config.gateway_listen, time.time())
        yield Check(check="store", status="ok", detail=f"{config.store_url or where.store}, epoch {store.epoch}")
        yield _controller(view)
        yield asyncio.run(_gateway(where, config, view))
        yield from _figures(config)
        yield from gateway_checks(store, view.replicas, view.at)
        yield clock(view)
        yield from prices(where, config, view.at)
        yield orphans(store.orphans(), view.at)
        yield from asyncio.run(provider_checks(where, config, view))
        for row in service_rows(view):
            if row.trouble:
                status: Status = "fail" if row.state in ("failing", "held") else "warn"
                fix = f"fleetctl explain {row.name}"
                yield Check(check=f"service/{row.name}", status=status, detail=row.trouble, fix=fix)
    finally:
        store.close()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(check="python", status="ok", detail=f"{version} at {sys.executable}")


def _files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_WANTED:
        return Check(
            check="open files",
            status="warn",
            detail=f"at most {hard}; a busy gateway wants {FILES_WANTED}",
            fix="raise the hard limit: ulimit -Hn, or LimitNOFILE= in a unit",
        )
    return Check(check="open files", status="ok", detail=f"{soft} now, up to {hard}")


def _disk(root: Path) -> Check:
    there = root
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        fix = "set FLEETCTL_HOME to a folder of yours"
        return Check(check="home", status="fail", detail=f"{there} cannot be written", fix=fix)
    detail = f"{root}, {free / 1e9:.1f} GB free"
    if free < DISK_WANTED_BYTES:
        return Check(check="home", status="warn", detail=detail, fix="free some space: a full disk halts it")
    return Check(check="home", status="ok", detail=detail)


def _docker() -> Check:
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        return Check(check="docker", status="ok", detail=f"DOCKER_HOST={address} (not tried)")
    path = address.removeprefix("unix://")
    if os.access(path, os.R_OK | os.W_OK):
        return Check(check="docker", status="ok", detail=path)
    detail = f"no daemon at {path}; engines run as plain processes"
    return Check(check="docker", status="ok", detail=detail)


def _controller(view: FleetView) -> Check:
    lease = view.lease
    up = any(intent.up for intent in view.intents)
    if lease is None or lease.expires_at < view.at or holder_is_dead(lease.holder):
        status: Status = "warn" if up else "ok"
        return Check(check="controller", status=status, detail="none is running", fix="fleetctl daemon start")
    age_s = view.age_s
    detail = f"{lease.holder}, fence {lease.fence}"
    if age_s is not None and age_s > STALE_S:
        return Check(
            check="controller",
            status="fail",
            detail=f"{detail}, but it last decided {ago(age_s)} ago",
            fix="read its log, then: fleetctl daemon stop; fleetctl daemon start",
        )
    return Check(check="controller", status="ok", detail=detail)


def _figures(config: FleetConfig) -> Iterator[Check]:
    """Whether others than this machine may read the figures."""
    for name, listen in (("daemon", config.daemon_metrics_listen), ("gateway", config.gateway_metrics_listen)):
        if said := open_metrics(listen):
            yield Check(check=f"{name} metrics", status="warn", detail=said, fix=OPEN_METRICS_FIX)


async def _gateway(where: Home, config: FleetConfig, view: FleetView) -> Check:
    from fleetctl.gateway.supervise import find_gateway

    found = await find_gateway(where.gateway_socket)
    if found is not None:
        return Check(check="gateway", status="ok", detail=f"pid {found.pid} at {found.listen}")
    status: Status = "fail" if any(intent.up for intent in view.intents) else "ok"
    return Check(
        check="gateway",
        status=status,
        detail=f"none answers; it should listen on {config.gateway_listen}",
        fix="fleetctl daemon start (or fleetctl up) starts it",
    )
