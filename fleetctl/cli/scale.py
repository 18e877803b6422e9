"""`fleetctl scale` (Change): Set a count by hand: scale chat=4 --for 2h."""

import sys
import time
from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import duration_s, known_service, session
from fleetctl.errors import UsageError
from fleetctl.model.names import ServiceName
from fleetctl.model.snapshots import Override
from fleetctl.wiring import lease_is_live

app = typer.Typer(add_completion=False)


@app.command()
def scale(
    counts: Annotated[
        list[str], typer.Argument(help="SERVICE=COUNT, or SERVICE=auto to hand it back", metavar="SVC=N")
    ],
    duration: Annotated[
        str | None, typer.Option("--for", help="So long, as in 2h; afterwards the policy rules again")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Set the count of a service by hand, below its `min` too; `max` holds. Afterwards the autoscaler goes on."""
    until = None if duration is None else time.time() + duration_s(duration)
    with session(create=True) as now:
        wanted: list[tuple[ServiceName, Override | None]] = []
        for text in counts:
            name, equals, count = text.partition("=")
            if not equals or not (count.isdigit() or count == "auto"):
                raise UsageError(f"{text!r} is not SERVICE=COUNT", hint="fleetctl scale chat=4, or chat=auto")
            override = None if count == "auto" else Override(replicas=int(count), until=until)
            wanted.append((known_service(now, name), override))
        changed = []
        decisions = now.store.decisions()
        limits = {intent.service.name: intent.service.scaling for intent in now.store.intents()[0]}
        for service, override in wanted:
            most, least = limits[service].max, limits[service].min
            if override is not None and override.replicas > most:
                raise UsageError(
                    f"{service}: {override.replicas} is more than its max of {most}",
                    hint="raise scaling.max in its file and run: fleetctl up",
                )
            now.store.set_override(service, override, at=time.time())
            before = decisions[service].desired if service in decisions else None
            changed.append({"name": service, "before": before, "replicas": override.replicas if override else None})
            after = "the policy" if override is None else str(override.replicas)
            end = "" if override is None or until is None else f" for {duration}"
            say(f"{service}: {'?' if before is None else before} → {after}{end}")
            if override is not None and override.replicas < least:
                say(_below(service, override.replicas, least, end))
        if output is Format.NAME:
            sys.stdout.writelines(f"service/{service}\n" for service, _ in wanted)
        elif output is not Format.TABLE:
            document({"items": changed}, output)
        if not lease_is_live(now.store, time.time()):
            say("stored; no controller is running to act on it: fleetctl daemon start")


def _below(service: ServiceName, count: int, least: int, end: str) -> str:
    """What becomes of a Service that is set below its floor."""
    waiting = ", and requests wait" if count == 0 else ""
    return (
        f"warning: {service}: {count} is less than its min of {least}; a count set by hand wins over min and schedules,"
        f" so it holds{end or ' from now on'}{waiting}. To hand it back: fleetctl scale {service}=auto"
    )
