"""`fleetctl wait` (Look): Wait until a service, pool, replica or instance is ready or gone.

Example: fleetctl wait chat --for ready --timeout 5m
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from fleetctl.cli.changing import Timeout
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import duration_s, session
from fleetctl.cli.streams import pause
from fleetctl.cli.subjects import subject_of
from fleetctl.errors import TimedOut, UsageError
from fleetctl.model.instances import InstancePhase
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.views.fleet import FleetView
from fleetctl.views.settled import gone, settled
from fleetctl.wiring import lease_is_live

app = typer.Typer(add_completion=False)

LOOK_S = 0.5
"""Replicas become ready within seconds, and a look takes milliseconds."""
TOLD_S = 10.0
"""Whoever waits is told this often what for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How far it is."""

    subject: str
    condition: str
    met: bool
    stands: str
    """`2 of 3 ready`"""


@app.command()
def wait(
    subject: Annotated[str, typer.Argument(help="service/NAME, pool/NAME, replica/NAME, instance/NAME, or a name")],
    condition: Annotated[str, typer.Option("--for", help="ready, gone, or count=N")] = "ready",
    timeout: Timeout = "15m",
    output: Output = Format.TABLE,
) -> None:
    """Wait until it is so; a controller brings it about, this looks on. Ctrl-C ends the waiting and nothing else.

    ready: a service has all the replicas that were decided, of its declared revision; a pool's machines run. gone: it
    is down and everything is given back. count=N: N replicas of a service are ready, N machines of a pool run.
    """
    limit_s = duration_s(timeout)
    again = f"fleetctl wait {subject} --for {condition} --timeout {timeout}"
    with session() as now:
        meant = _meant(subject, condition, now.view())
        look = _look(meant, condition)
        deadline, told_at = time.monotonic() + limit_s, time.monotonic()
        if not lease_is_live(now.store, time.time()):
            say("no controller is running to bring it about: fleetctl daemon start")
        try:
            while not (stand := look(now.view())).met:
                if time.monotonic() >= deadline:
                    raise TimedOut(f"{meant} is not {_said(condition)} after {timeout}: {stand.stands}", hint=again)
                if time.monotonic() - told_at >= TOLD_S:
                    told_at = time.monotonic()
                    say(f"  waiting: {stand.stands}")
                pause(min(LOOK_S, max(0.0, deadline - time.monotonic())))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"no longer waiting; nothing else was ended. Go on with: {again}") from None
    if output in (Format.JSON, Format.YAML):
        document(stand, output)
    else:
        sys.stdout.write(f"{meant}\n" if output is Format.NAME else f"{meant}  {stand.stands}\n")


def _said(condition: str) -> str:
    return f"at {condition}" if condition.startswith("count=") else condition


def _meant(word: str, condition: str, view: FleetView) -> str:
    """The subject. What is gone may not be known any more, which is what is waited for: its kind must be said then."""
    if condition == "gone" and word.partition("/")[0] in ("replica", "instance"):
        return word
    return subject_of(word, view)


def _look(subject: str, condition: str) -> Callable[[FleetView], Stand]:
    kind, _, name = subject.partition("/")
    word, equals, count = condition.partition("=")
    if condition in ("ready", "gone"):
        wanted: int | None = None
    elif word == "count" and equals and count.isdigit() and kind in ("service", "pool"):
        wanted = int(count)
    else:
        one = "" if kind in ("service", "pool") else f" for a {kind}"
        raise UsageError(
            f"{condition!r} is nothing to wait for{one}",
            hint=f"fleetctl wait {subject} --for ready, --for gone" + ("" if one else ", or --for count=2"),
        )

    def look(view: FleetView) -> Stand:
        met, stands = _standing(kind, name, condition, wanted, view)
        return Stand(subject=subject, condition=condition, met=met, stands=stands)

    return look


def _standing(kind: str, name: str, condition: str, wanted: int | None, view: FleetView) -> tuple[bool, str]:
    match kind:
        case "service":
            return _service(name, condition, wanted, view)
        case "pool":
            live = [one for one in view.live_instances if one.pool == name]
            ready = sum(1 for one in live if one.phase is InstancePhase.READY)
            said = f"{ready} of {len(live)} machines run"
            if wanted is not None:
                return ready == wanted, said
            return (not live if condition == "gone" else bool(live) and ready == len(live)), said
        case "instance":
            found = next((one for one in view.live_instances if one.id == name), None)
            phase = "gone" if found is None else str(found.phase)
            return (found is None if condition == "gone" else phase == InstancePhase.READY), phase
        case _:
            replica = next((one for one in view.replicas if one.id == name), None)
            phase = "gone" if replica is None else str(replica.phase)
            return (replica is None if condition == "gone" else phase == ReplicaPhase.READY), phase


def _service(name: str, condition: str, wanted: int | None, view: FleetView) -> tuple[bool, str]:
    serving = [one for one in view.replicas_of(name) if one.role is Role.SERVING]
    ready = sum(1 for one in serving if one.phase is ReplicaPhase.READY)
    if condition == "gone":
        left = len(view.replicas_of(name))
        if any(one.service.name == name and one.up for one in view.intents):
            return False, "it is wanted up"
        if gone(view, {name}):
            return True, "gone"
        return False, f"{left} replicas left" if left else "its machines are being given back"
    decided = view.decisions.get(name)
    desired = "?" if decided is None else str(decided.desired)
    said = f"{ready} of {desired} replicas ready"
    if wanted is not None:
        return ready == wanted, said
    intent = next((one for one in view.intents if one.service.name == name), None)
    # A decision of before the change says nothing of what is wanted since.
    decided_since = decided is not None and intent is not None and decided.at >= intent.changed_at
    if intent is not None and intent.up and not decided_since:
        said += ", and nothing was decided since the last change of what is wanted"
    return intent is not None and intent.up and decided_since and settled(view, name), said
