"""What every command shares that changes what is wanted: what was before is kept first, so that `undo` finds it."""

import time
from collections.abc import Iterable
from typing import Annotated

import typer

from fleetctl.cli.output import say
from fleetctl.cli.session import Session
from fleetctl.model.changes import Change, IntentBefore, PoolBefore, TenantBefore
from fleetctl.model.names import PoolName, ServiceName
from fleetctl.wiring import lease_is_live

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before machines are rented")]
Timeout = Annotated[
    str,
    typer.Option(envvar="FLEETCTL_TIMEOUT", show_envvar=False, help="Stop waiting after this long; the fleet goes on"),
]


def keep(
    now: Session,
    command: str,
    services: Iterable[str],
    pools: Iterable[str] = (),
    tenants: Iterable[str] = (),
    *,
    settings: str = "",
) -> None:
    """Keep how these are wanted, before the command changes it. `command` is its line, without `fleetctl`.

    `settings` is what `wiring.settings_text` gave, where the command changes them.
    Before and not after: a command that is killed in the midst of it can be taken back too.
    """
    from dataclasses import replace

    intents, declared = now.store.intents()
    wanted = {str(one.service.name): replace(one, revisions=()) for one in intents}
    there = {str(pool.name): pool for pool in declared}
    entered = {tenant.name: tenant for tenant in now.store.tenants()}
    now.store.put_change(
        Change(
            command=command,
            at=time.time(),
            intents=tuple(IntentBefore(service=ServiceName(name), intent=wanted.get(name)) for name in services),
            pools=tuple(PoolBefore(pool=PoolName(name), declared=there.get(name)) for name in pools),
            tenants=tuple(TenantBefore(tenant=name, declared=entered.get(name)) for name in tenants),
            settings=settings,
        )
    )


def told_dry() -> None:
    """Say that nothing was done."""
    say("dry run: nothing was changed")


def told_stored(now: Session, *, waiting: str = "") -> None:
    """Say who acts on what was stored: the controller, whose work `waiting` waits for, or nobody."""
    if not lease_is_live(now.store, time.time()):
        say("stored; no controller is running to act on it: fleetctl daemon start")
    elif waiting:
        say(f"the controller acts on it; wait for that: {waiting}")
