"""`fleetctl schedule` (Control): Floors and ceilings by the clock: ls, next, add, rm, run, install.

Example: fleetctl schedule add chat --cron "0 8 * * mon-fri" --for 10h --min 4 --tz Europe/Berlin
Example: fleetctl schedule ls chat
Example: fleetctl schedule next --count 5
Example: fleetctl schedule rm chat 2
Example: fleetctl schedule run chat/1 --dry-run
Example: fleetctl schedule install --crontab --dry-run
"""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from fleetctl.cli.asking import ask
from fleetctl.cli.changing import DryRun, Yes, keep, told_dry, told_stored
from fleetctl.cli.costs import bills
from fleetctl.cli.output import Format, Output, document, emit, say
from fleetctl.cli.schedule_rows import SCHEDULES as SCHEDULES
from fleetctl.cli.schedule_rows import TURNS, ScheduleRow, row_of, when
from fleetctl.cli.session import Session, known_service, session
from fleetctl.decide.schedules import window
from fleetctl.errors import Conflict, NotFound, UsageError
from fleetctl.model.decisions import Event
from fleetctl.model.services import Schedule
from fleetctl.model.snapshots import Intent
from fleetctl.views.figures import dollars
from fleetctl.views.timetables import Entry, bare, chosen, clock, effect, entries, name_of, price_of_one, turns
from fleetctl.wiring import refuse_read_only

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Floors and ceilings by the clock.")

COUNT_MAX = 1000


@app.command()
def ls(
    service: Annotated[str | None, typer.Argument(help="Of this service alone", metavar="[SVC]")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List schedules: those of the files, those added by command, and those that `run` put in force."""
    with session() as now:
        every = _entries(now, service)
        rows = schedule_rows(now, service)
        empty = "no schedule; add one: fleetctl schedule add SVC --cron '0 8 * * mon-fri' --for 10h --min 4"
        emit(rows, SCHEDULES, output, name=lambda row: f"schedule/{row.name}", empty=empty)
        down = sorted({one.service for one in every if not one.up})
        if down and output is Format.TABLE:
            say(f"down, so no schedule of theirs does anything: {', '.join(down)}")


@app.command("next")
def coming(
    service: Annotated[str | None, typer.Argument(help="Of this service alone", metavar="[SVC]")] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=COUNT_MAX, help="So many turns")] = 10,
    output: Output = Format.TABLE,
) -> None:
    """Show what comes: when, by which clock, which schedule wins, and what it changes in replicas and dollars.

    Counts are what they would be if the load stayed as it is now.
    """
    with session() as now:
        name = None if service is None else known_service(now, service)
        found = turns(now.view(), count, name)
        emit(found, TURNS, output, name=lambda row: f"service/{row.service}", empty="no schedule begins or ends")


@app.command()
def add(
    service: Annotated[str, typer.Argument(help="The service", metavar="SVC")],
    *,
    cron: Annotated[str, typer.Option("--cron", help="When it begins, as '0 8 * * mon-fri'")],
    duration: Annotated[str, typer.Option("--for", help="How long it holds from each beginning, as in 10h")],
    least: Annotated[int | None, typer.Option("--min", min=0, help="A floor: never fewer")] = None,
    most: Annotated[int | None, typer.Option("--max", min=0, help="A ceiling: never more")] = None,
    replicas: Annotated[int | None, typer.Option("--replicas", min=0, help="Exactly so many")] = None,
    tz: Annotated[str | None, typer.Option("--tz", help="The zone that --cron is in; else UTC")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Add a schedule beside those of the service's file. It survives the next `up`; the line for the file is told."""
    from fleetctl.spec.added_schedules import addition, file_line

    words: dict[str, str | int | None] = {
        "cron": cron, "tz": tz, "for": duration, "min": least, "max": most, "replicas": replicas
    }  # fmt: skip
    with session(change=not dry_run) as now:
        known = known_service(now, service)
        view = now.view()
        intent = next(one for one in view.intents if one.service.name == known)
        made = addition(intent.timetabled().service, words)
        for warning in made.warnings:
            say(f"warning: {warning}")
        name = name_of(known, made.schedule)
        changed = False
        if made.schedule in intent.service.schedule:
            why = "its file has it already; nothing changed"
        else:
            if made.schedule not in intent.added and (risk := _risk(now, intent, made.schedule)):
                if dry_run:
                    say(risk)
                else:
                    ask(risk, yes=yes, retry=_again(known, words), home=now.home)
            if dry_run:
                there = made.schedule in intent.added
            else:
                keep(now, _again(known, words).removeprefix("fleetctl "), [known])
                changed = now.store.add_schedule(known, made.schedule, at=time.time())
                there = not changed
            why = "it was added before; nothing changed" if there else "would be added" if dry_run else "added"
        line = file_line(made.schedule)
        body = {"name": name, "service": known, "changed": changed, "file_line": line}
        _tell(output, name, body, f"{name}: {effect(made.schedule)}; {why}")
        if changed:
            _note(now, known, f"schedule {name} added: {effect(made.schedule)}, {when(made.schedule)}")
            say(f"it stays beside the file's own. To keep it there instead, write into schedule: of {known}'s file:")
            say(f"  {line}")
        _end(now, dry_run=dry_run)


@app.command()
def rm(
    service: Annotated[str, typer.Argument(help="The service, or a schedule's whole name", metavar="SVC")],
    number: Annotated[str | None, typer.Argument(help="Its N in: fleetctl schedule ls", metavar="[N]")] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Take back a schedule that was added by command, or what `run` put in force; what a file has stays."""
    with session(change=not dry_run) as now:
        one = _one(now, service if number is None else f"{service}/{number}")
        if one.origin == "file":
            raise Conflict(
                f"{one.name} ({when(one.schedule)}) is in the file of {one.service}, which would bring it back",
                hint="remove its line there, then: fleetctl up",
            )
        known = known_service(now, one.service)
        changed = False
        if not dry_run:
            keep(now, f"schedule rm {one.name}", [known])
            changed = now.store.drop_schedule(known, one.schedule)
            _note(now, known, f"schedule {one.name} taken back: {effect(one.schedule)}, {when(one.schedule)}")
        body = {"name": one.name, "service": one.service, "changed": changed}
        why = "would be taken back" if dry_run else "taken back"
        _tell(output, one.name, body, f"{one.name}: {effect(one.schedule)}; {why}")
        _end(now, dry_run=dry_run)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="As `fleetctl schedule ls` has it: chat/3f2a9c, or chat/1")],
    now_: Annotated[
        bool, typer.Option("--now", help="Outside of its time too: from now on for as long as it lasts")
    ] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Put a schedule in force until its end: what cron lines and timers call. Again within that time: nothing changes.

    Outside of its time nothing changes either, so a line that fires late or twice does no harm. Exit code 0 each time.
    """
    with session(change=not dry_run) as now:
        one, at = _one(now, name), time.time()
        schedule, known = bare(one.schedule), known_service(now, one.service)
        intent = next(each for each in now.store.intents()[0] if each.service.name == known)
        running = [
            each for each in intent.added if each.until is not None and bare(each) == schedule and each.until > at
        ]
        held = window(schedule, at)
        if running:
            held = (running[0].since or at, running[0].until or at)
        elif now_ and held is None:
            held = (at, at + schedule.duration_s)
        changed = False
        if not intent.up:
            why = f"{known} is down, so nothing changed; bring it up: fleetctl up"
        elif held is None:
            comes = "" if one.next_at is None else f", next {clock(one.next_at, schedule.tz)}"
            why = f"it is not its time{comes}, so nothing changed"
        elif dry_run:
            why = f"{'in force already' if running else 'would be in force'}, until {clock(held[1], schedule.tz)}"
        else:
            changed = now.store.add_schedule(known, replace(schedule, since=held[0], until=held[1]), at=at)
            until = clock(held[1], schedule.tz)
            why = f"in force until {until}" if changed else f"in force already, until {until}; nothing changed"
        if changed:
            _note(
                now,
                known,
                f"schedule {one.name} put in force: {effect(schedule)}, until {clock(held[1], 'UTC')}" if held else "",
            )
        body = {
            "name": one.name,
            "service": one.service,
            "effect": effect(schedule),
            "changed": changed,
            "holds_until": None if held is None or not intent.up else held[1],
            "why": why,
        }
        _tell(output, one.name, body, f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {one.name}: {effect(schedule)}; {why}")
        if intent.override is not None and (intent.override.until is None or at < intent.override.until):
            say(f"{known} is set by hand to {intent.override.replicas}, which wins: fleetctl scale {known}=auto")
        if dry_run:
            told_dry()
        elif held is not None and intent.up:
            told_stored(now)


@app.command()
def install(
    services: Annotated[
        list[str] | None, typer.Argument(help="Of these services; none: of all", metavar="[SVC]...")
    ] = None,
    crontab: Annotated[bool, typer.Option("--crontab", help="As lines of your crontab")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="As timers of your own systemd")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print them; change nothing")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take all of this fleet away again")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Have cron or systemd call `schedule run` at each beginning, in place of what was installed before.

    The controller keeps schedules by itself; this is for who wants the system's own cron to be what starts them.
    """
    from fleetctl.cli.schedule_install import Installed, into_crontab, into_systemd

    if crontab == systemd:
        raise UsageError("say where: --crontab or --systemd", hint="fleetctl schedule install --crontab --dry-run")
    with session() as now:
        if not dry_run:
            refuse_read_only(now.home)
        every: list[Entry] = []
        if not uninstall:
            wanted = [known_service(now, name) for name in services or ()]
            every = [
                one for one in entries(now.view()) if one.origin != "run" and (not wanted or one.service in wanted)
            ]
            if not every:
                raise NotFound("there is no schedule to install", hint="fleetctl schedule ls")
        done: Sequence[Installed] = (into_crontab if crontab else into_systemd)(now, every, dry_run=dry_run)
    if output in (Format.JSON, Format.YAML):
        document({"dry_run": dry_run, "items": done}, output)
    elif output is Format.NAME:
        sys.stdout.writelines(f"{one.name}\n" for one in done)
    elif crontab:
        sys.stdout.writelines(("# removed: " if one.name == "removed" else "") + f"{one.text}\n" for one in done)
    else:
        sys.stdout.writelines(f"# {one.name}\n{one.text}\n" for one in done)
    if not dry_run:
        changes = sum(one.changed for one in done)
        say(f"{changes} changed" if changes else "nothing to change")


def schedule_rows(now: Session, service: str | None = None) -> list[ScheduleRow]:
    """Every Schedule, or those of one Service."""
    return [row_of(one) for one in _entries(now, service)]


def _entries(now: Session, service: str | None) -> list[Entry]:
    return entries(now.view(), None if service is None else known_service(now, service))


def _one(now: Session, word: str) -> Entry:
    word = word.removeprefix("schedule/")
    every = entries(now.view())
    found = chosen(every, word)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.name for one in found)
        raise UsageError(f"{word} has {len(found)} schedules", hint=f"name one of: {names}")
    from fleetctl.spec.suggestions import nearest

    near = nearest(word, [one.name for one in every])
    raise NotFound(
        f"there is no schedule {word!r}",
        hint=f"did you mean {near}?"
        if near
        else "see them: fleetctl schedule ls; after a change: fleetctl schedule install",
    )


def _end(now: Session, *, dry_run: bool) -> None:
    if dry_run:
        told_dry()
    else:
        told_stored(now)


def _risk(now: Session, intent: Intent, schedule: Schedule) -> str:
    """What it may cost more, as a question; empty: nothing, or nobody bills for it."""
    floor = schedule.replicas if schedule.replicas is not None else schedule.min
    more = 0 if floor is None else floor - intent.service.scaling.min
    if more <= 0 or not bills(now.config):
        return ""
    price = price_of_one(now.view(), intent)
    cost = "a price that is not known" if price is None else f"up to {dollars(price * more)}/h more"
    return f"{intent.service.name}: {effect(schedule)}, {when(schedule)}: {cost} while it holds"


def _again(service: str, words: Mapping[str, str | int | None]) -> str:
    given = [word for name, value in words.items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(["fleetctl", "schedule", "add", service, *given])


def _note(now: Session, service: str, message: str) -> None:
    now.store.add_events([Event(at=time.time(), kind="intent", subject=f"service/{service}", message=message)])


def _tell(output: Format, name: str, body: object, text: str) -> None:
    match output:
        case Format.TABLE:
            sys.stdout.write(f"{text}\n")
        case Format.NAME:
            sys.stdout.write(f"schedule/{name}\n")
        case Format.JSON | Format.YAML:
            document(body, output)
