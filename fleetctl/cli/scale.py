"""`fleetctl scale` (Change): Set a count by hand: scale chat=4 --for 2h.

Example: fleetctl scale chat=4 --for 2h
"""

import sys
import time
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, Yes, keep, told_dry, told_stored
from fleetctl.cli.counting import agree_to_count, as_scaled
from fleetctl.cli.output import Format, Output, items, say
from fleetctl.cli.session import duration_s, known_service, session
from fleetctl.errors import UsageError
from fleetctl.model.names import ServiceName
from fleetctl.model.snapshots import Override

app = typer.Typer(add_completion=False)


@app.command()
def scale(
    counts: Annotated[
        list[str], typer.Argument(help="SERVICE=COUNT, or SERVICE=auto to hand it back", metavar="SVC=N")
    ],
    duration: Annotated[
        str | None, typer.Option("--for", help="So long, as in 2h; afterwards the policy rules again")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    max_cost_per_hour: Annotated[
        float | None,
        typer.Option(
            "--max-cost-per-hour",
            min=0.0,
            envvar="FLEETCTL_MAX_COST_PER_HOUR",
            help="US dollars that the whole fleet may cost for this to be done; its own limit stays",
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Set the count of a service by hand, below its `min` too; `max` holds. Afterwards the autoscaler goes on.

    Asks where more machines must be rented for it than run now.
    """
    for_s = None if duration is None else duration_s(duration)
    until = None if for_s is None else time.time() + for_s
    given = " ".join(("scale", *counts, *(("--for", duration) if duration is not None else ())))
    with session(change=not dry_run) as now:
        wanted: list[tuple[ServiceName, Override | None]] = []
        for text in counts:
            name, equals, count = text.partition("=")
            if not equals or not (count.isdigit() or count == "auto"):
                raise UsageError(
                    f"{text!r} is not SERVICE=COUNT", hint="fleetctl scale chat=4, or: fleetctl scale chat=auto"
                )
            override = None if count == "auto" else Override(replicas=int(count), until=until)
            wanted.append((known_service(now, name), override))
        changed = []
        decisions = now.store.decisions()
        intents = {intent.service.name: intent for intent in now.store.intents()[0]}
        declared = {name: intent.service for name, intent in intents.items()}
        for service, override in wanted:
            most = declared[service].scaling.max
            if override is not None and override.replicas > most:
                raise UsageError(
                    f"{service}: {override.replicas} is more than its max of {most}",
                    hint="raise scaling.max in its file and run: fleetctl up",
                )
        costly = [as_scaled(declared[name], one.replicas) for name, one in wanted if one is not None]
        agree_to_count(
            now, costly, for_s=for_s, limit=max_cost_per_hour, yes=yes, again=f"fleetctl {given}", dry_run=dry_run
        )
        if not dry_run:
            keep(now, given, [name for name, _ in wanted])
        for service, override in wanted:
            least = declared[service].scaling.min
            if not dry_run:
                now.store.set_override(service, override, at=time.time())
            before = decisions[service].desired if service in decisions else None
            changed.append({"name": service, "before": before, "replicas": override.replicas if override else None})
            after = "the policy" if override is None else str(override.replicas)
            end = "" if override is None or until is None else f" for {duration}"
            say(f"{service}: {'?' if before is None else before} → {after}{end}")
            if override is not None and override.replicas < least:
                say(_below(service, override.replicas, least, end))
            if not intents[service].up:
                say(f"{service} is down: that holds once it is up again: fleetctl up {service}")
        if output is Format.NAME:
            sys.stdout.writelines(f"service/{service}\n" for service, _ in wanted)
        elif output is not Format.TABLE:
            items(changed, output)
        if dry_run:
            told_dry()
        else:
            told_stored(now)


def _below(service: ServiceName, count: int, least: int, end: str) -> str:
    """What becomes of a Service that is set below its floor."""
    waiting = ", and requests wait" if count == 0 else ""
    return (
        f"warning: {service}: {count} is less than its min of {least}; a count set by hand wins over min and schedules,"
        f" so it holds{end or ' from now on'}{waiting}. To hand it back: fleetctl scale {service}=auto"
    )
