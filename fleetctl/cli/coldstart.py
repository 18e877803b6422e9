"""`fleetctl coldstart` (Look): How long starts take, stage by stage, and what to take out of them.

Example: fleetctl coldstart chat --since 7d
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from fleetctl.cli.output import Column, Format, Output, document, table
from fleetctl.cli.session import Session, duration_s, known_service, session
from fleetctl.decide.standing import standby_of
from fleetctl.decide.start_figures import (
    NextStart,
    OriginFigures,
    Saving,
    biggest,
    figures,
    next_start,
)
from fleetctl.decide.tiers import ORDER
from fleetctl.model.learning import Leads
from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import Origin
from fleetctl.model.snapshots import Intent
from fleetctl.model.starts import Start
from fleetctl.views.figures import bytes_text, several
from fleetctl.views.fleet import FleetView, standby_ready

app = typer.Typer(add_completion=False)

SINCE = "30d"
"""As long as starts are kept."""
ALL = 0.9995
"""Rounds to 100.0 %."""
FAILURE_SHOWN = 100
"""Characters of why the last one failed: `fleetctl describe replica/…` has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStarts:
    """The document of `fleetctl coldstart -o json`."""

    service: str
    revision: str
    since: float
    starts: int
    origins: tuple[OriginFigures, ...]
    next: NextStart
    """From what is at hand now."""
    cold: NextStart
    """Once nothing stands by."""
    biggest: Saving | None
    """Of the next one; None: nothing is left to take out."""
    biggest_cold: Saving | None
    last_failure: str
    """Why the newest of those that failed did; empty: none failed."""


@app.command()
def coldstart(
    service: Annotated[str, typer.Argument(help="The service")],
    since: Annotated[str, typer.Option(help="How far back starts are looked at")] = SINCE,
    output: Output = Format.TABLE,
) -> None:
    """Show p50 and p95 of a service's starts by origin and stage, the next one, and its biggest avoidable part."""
    with session() as now:
        name = known_service(now, service)
        at = time.time()
        begin = at - duration_s(since)
        starts = [one for one in now.store.starts(name) if one.ended_at >= begin]
        found = summed(now.view(), _intent(now, name), starts, begin, learned=_learned(now, name))
        if output is Format.NAME:
            sys.stdout.write(f"service/{name}\n")
        elif output is not Format.TABLE:
            document(found, output)
        else:
            sys.stdout.write(told(found, since))


def _intent(now: Session, name: ServiceName) -> Intent:
    return next(one for one in now.store.intents()[0] if one.service.name == name)


def _learned(now: Session, name: ServiceName) -> Leads:
    """Starts that the policy has seen, which it may remember from before they were recorded."""
    memory = now.store.load().memories.get(name)
    if memory is None:
        return Leads()
    return (memory.learning.learned.leads if memory.learning is not None else memory.leads) or Leads()


def summed(
    view: FleetView, intent: Intent, starts: Sequence[Start], since: float, *, learned: Leads | None = None
) -> ColdStarts:
    """What these starts say of the Service as it stands."""
    service, pool = intent.service, view.pool_of(intent)
    at_hand = (tier for tier in ORDER if standby_ready(view, intent, pool, tier) > 0)
    tier = next(at_hand, None)
    origin: Origin = "cold" if tier is None else tier.value
    known = learned or Leads()
    cold = coming = next_start(service, "cold", starts, learned=known.cold, revision=intent.revision)
    if origin != "cold":
        own = standby_of(pool, service).tier is tier
        seen = known.standby if own else ()
        coming = next_start(service, origin, starts, learned=seen, revision=intent.revision)
    failures = [one.reason for one in starts if one.outcome == "failed"]
    return ColdStarts(
        service=service.name,
        revision=intent.revision,
        since=since,
        starts=len(starts),
        origins=figures(starts),
        next=coming,
        cold=cold,
        biggest=biggest(service, coming),
        biggest_cold=biggest(service, cold),
        last_failure=failures[-1] if failures else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    origin: str
    stage: str
    n: int
    p50_s: float
    p95_s: float
    saves_s: float | None = None
    origin_bytes: float | None = None
    peer_bytes: float | None = None
    rate: float | None = None


COLUMNS: tuple[Column[_Line], ...] = (
    Column(header="FROM", cell=lambda row: row.origin),
    Column(header="STAGE", cell=lambda row: row.stage),
    Column(header="N", cell=lambda row: str(row.n), right=True),
    Column(header="P50", cell=lambda row: seconds(row.p50_s), right=True),
    Column(header="P95", cell=lambda row: seconds(row.p95_s), right=True),
    Column(header="ALONE", cell=lambda row: "" if row.saves_s is None else seconds(row.saves_s), right=True),
    Column(header="ORIGIN", cell=lambda row: _size(row.origin_bytes), right=True),
    Column(header="PEERS", cell=lambda row: _size(row.peer_bytes), right=True),
    Column(header="RATE", cell=lambda row: "-" if row.rate is None else f"{bytes_text(row.rate)}/s", right=True),
)


def told(found: ColdStarts, since: str) -> str:
    """The figures as a table, and what follows from them in a few lines."""
    lines = [line for one in found.origins for line in _lines(one)]
    text = ""
    if not found.starts:
        text += f"no start of {found.service} in the last {since} is recorded\n"
    if lines:
        text += table(lines, COLUMNS, width=None) + "\n"
    failed = sum(one.failed for one in found.origins)
    if failed:
        why = found.last_failure.partition("\n")[0]
        text += f"failed    {several(failed, 'start')}, the last: {why[:FAILURE_SHOWN]}\n"
    shares = [one.attributed for one in found.origins if one.attributed is not None]
    if shares:
        share = "all" if min(shares) >= ALL else f"{min(shares):.1%} or more"
        text += f"stages    hold {share} of each start's time; ALONE: so much shorter without it\n"
    text += f"next      {_expected(found.next)}\n"
    text += f"remove    {_saving(found.biggest)}\n"
    if found.next.origin != "cold":
        text += f"then      {_expected(found.cold)}, once nothing stands by\n"
        text += f"remove    {_saving(found.biggest_cold)}\n"
    return text


def _lines(one: OriginFigures) -> list[_Line]:
    if one.p50_s is None or one.p95_s is None:
        return []
    stages = [
        _Line(
            origin=one.origin,
            stage=stage.stage,
            n=stage.n,
            p50_s=stage.p50_s,
            p95_s=stage.p95_s,
            saves_s=stage.saves_s,
            origin_bytes=stage.origin_bytes,
            peer_bytes=stage.peer_bytes,
            rate=stage.rate,
        )
        for stage in one.stages
    ]
    return [*stages, _Line(origin=one.origin, stage="in all", n=one.n, p50_s=one.p50_s, p95_s=one.p95_s)]


def _expected(coming: NextStart) -> str:
    at_most = "" if coming.p95_s is None or coming.p95_s <= coming.seconds else f", 95 % within {seconds(coming.p95_s)}"
    what = "cold" if coming.origin == "cold" else f"from {coming.origin} standby"
    return f"{seconds(coming.seconds)} {what}{at_most}: {coming.why}"


def _saving(saving: Saving | None) -> str:
    if saving is None:
        return "nothing: it is there when it is wanted"
    return f"{saving.stage}, {saving.share:.0%} of it ({seconds(saving.seconds)}): {saving.advice}"


def seconds(value: float) -> str:
    """`0.04 s`, `11.3 s`, `4.5 min`."""
    if value >= 120:
        return f"{value / 60:.1f} min"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def _size(value: float | None) -> str:
    return "-" if value is None else bytes_text(value)
