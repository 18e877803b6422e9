"""Holding a Service at its count, and letting its autoscaler go on: `pause` and `resume`."""

import sys
import time

from fleetctl.cli.changing import keep, told_dry, told_stored
from fleetctl.cli.output import Format, document, say
from fleetctl.cli.session import Session, known_service
from fleetctl.errors import Conflict
from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import Role
from fleetctl.model.snapshots import Intent, Override


def hold(now: Session, word: str, *, dry_run: bool, output: Format) -> None:
    """Hold the count that the Service has now, until `let_go`. Raises `Conflict` where it is down."""
    name, intent = _known(now, word)
    if not intent.up:
        raise Conflict(f"{name} is down, so nothing scales it", hint=f"fleetctl up {name}")
    if intent.override is not None and intent.override.held:
        _told(now, name, intent.override.replicas, f"is held by hand at {intent.override.replicas} already", output)
        if dry_run:
            told_dry()
        return
    view = now.view()
    serving = [one for one in view.replicas_of(name) if one.role is Role.SERVING]
    decided = view.decisions.get(name)
    count = decided.desired if decided is not None else max(len(serving), intent.service.scaling.min)
    if intent.override is not None and (intent.override.until is None or time.time() < intent.override.until):
        count = intent.override.replicas  # set by hand, and perhaps not decided on yet
    if not dry_run:
        keep(now, f"pause {name}", [name])
        now.store.set_override(name, Override(replicas=count, held=True), at=time.time())
    _told(now, name, count, f"held by hand at {count}; its policy rules again with: fleetctl resume {name}", output)
    _end(now, dry_run=dry_run)


def let_go(now: Session, word: str, *, dry_run: bool, output: Format) -> None:
    """Hand the count back to the policy. Raises `Conflict` for one that was set with `scale`."""
    name, intent = _known(now, word)
    given = intent.override
    if given is None:
        _told(now, name, None, "was not held: its policy rules", output)
        if dry_run:
            told_dry()
        return
    if not given.held:
        raise Conflict(
            f"{name} is not paused: its count was set to {given.replicas}", hint=f"fleetctl scale {name}=auto"
        )
    if not dry_run:
        keep(now, f"resume {name}", [name])
        now.store.set_override(name, None, at=time.time())
    _told(now, name, None, "its policy rules again", output)
    _end(now, dry_run=dry_run)


def _known(now: Session, word: str) -> tuple[ServiceName, Intent]:
    name = known_service(now, word.removeprefix("service/"))
    return name, next(one for one in now.store.intents()[0] if one.service.name == name)


def _told(now: Session, name: str, count: int | None, what: str, output: Format) -> None:
    if output is Format.NAME:
        sys.stdout.write(f"service/{name}\n")
    elif output is not Format.TABLE:
        document({"service": name, "held": count is not None, "replicas": count}, output)
    say(f"{name}: {what}")


def _end(now: Session, *, dry_run: bool) -> None:
    if dry_run:
        told_dry()
    else:
        told_stored(now)
