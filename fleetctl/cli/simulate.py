"""`fleetctl simulate` (Control): What an autoscaler would have done with recorded traffic, side by side.

Example: fleetctl simulate -s fleet/chat.yaml --against knative,hpa trace.csv
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.output import Column, Format, Output, emit, say
from fleetctl.cli.scatter import Point, scatter
from fleetctl.cli.session import duration_s, session
from fleetctl.errors import NotFound, UsageError
from fleetctl.model.services import Service
from fleetctl.sim.clairvoyant import Clairvoyant
from fleetctl.sim.contest import Played, Setting, compete, contestant
from fleetctl.sim.entrants import entrants_of
from fleetctl.sim.history import from_history, whole
from fleetctl.sim.sweep import shown
from fleetctl.sim.traces import Trace, read_trace
from fleetctl.views.figures import dollars
from fleetctl.views.outcomes import TOTAL, Outcome, most_ready, outcomes, spark, swept

app = typer.Typer(add_completion=False)

HOURS_TOLD_MIN = 0.5
"""Of a trace: with less, two places of an hour say less than minutes do."""

OUTCOMES: tuple[Column[Outcome], ...] = (
    Column(header="PROMISE", cell=lambda row: "kept" if row.kept else "missed"),
    Column(header="WITHIN", cell=lambda row: f"{row.share_within:.2%}", right=True),
    Column(header="TTFT p50", cell=lambda row: _seconds(row, row.ttft_p50_s), right=True, drop=3),
    Column(header="p99", cell=lambda row: _seconds(row, row.ttft_p99_s), right=True, drop=2),
    Column(header="GPU-H", cell=lambda row: f"{row.gpu_hours:.2f}", right=True),
    Column(header="× BEST", cell=lambda row: "-" if row.ratio is None else f"{row.ratio:.2f}", right=True),
    Column(header="$", cell=lambda row: dollars(row.cost), right=True, drop=4),
    Column(header="MOVES", cell=lambda row: str(row.scale_actions), right=True, drop=5),
    Column(header="BACK", cell=lambda row: str(row.reversals), right=True, drop=6),
    Column(header="PEAK", cell=lambda row: "-" if row.peak is None else str(row.peak), right=True, drop=1),
)
POLICY: Column[Outcome] = Column(header="POLICY", cell=lambda row: row.policy)
SERVICE: Column[Outcome] = Column(header="SERVICE", cell=lambda row: row.service)
FRONT: Column[Outcome] = Column(header="", cell=lambda row: "●" if row.front else "")
KNOBS: Column[Outcome] = Column(header="SWEPT", cell=lambda row: shown(row.knobs))


@app.command()
def simulate(
    traces: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRACE | SERVICE=TRACE...", help="CSV (may be .gz): arrival_s,input_tokens,output_tokens"
        ),
    ] = None,
    *,
    service: Annotated[Path, typer.Option("--service", "-s", help="The file of the services that get this traffic")],
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="A preset or its YAML file; none: the service file's own")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Peers, e.g. knative,hpa:0.5; a share sets the peer's target")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="KNOB=A,B,...", help="Try every value, e.g. scaling.target=0.5,0.7"),
    ] = None,
    cold: Annotated[str | None, typer.Option(help="Median cold start; else as the file guesses, else 270s")] = None,
    standby: Annotated[str | None, typer.Option(help="Median start from standby; else the file's, else 8s")] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Instead of traces: what this fleet's store recorded of the services")
    ] = False,
    since: Annotated[str, typer.Option("--since", help="With --history: go back so far")] = "7d",
    begin: Annotated[str, typer.Option("--from", help="Begin there in the trace")] = "0s",
    length: Annotated[str | None, typer.Option("--length", help="Take so much of it")] = None,
    seed: Annotated[int, typer.Option(help="Of the starts' lengths")] = 1,
    best: Annotated[bool, typer.Option(help="Compare with the best schedule known afterwards")] = True,
    price: Annotated[float, typer.Option(min=0, help="US dollars of one GPU for an hour")] = 2.0,
    output: Output = Format.TABLE,
) -> None:
    """Play recorded traffic against policies in virtual time: same decisions, no machines.

    Engines are modelled as continuous batching at the pace of an 8B model on an L40S; a cold start is drawn around its
    median, standby is as large as the file says and costs half while it stands by. Services that name one declared pool
    share its machines and its standby. --sweep tries every combination of values and marks those that no other beats
    in both GPU-hours and share within the promise. The same seed gives the same bytes.
    """
    from fleetctl.spec.load import load

    declared = load([service])
    if history:
        if traces:
            raise UsageError("give traces or --history, not both", hint="drop one of the two")
        found = _recorded(declared.services, duration_s(since), seed)
    elif not traces:
        raise UsageError("there is no traffic to play", hint="give a trace (CSV), or --history for the fleet's own")
    else:
        found = _traces(traces or (), declared.services, service)
    begin_s, length_s = duration_s(begin), None if length is None else duration_s(length)
    cold_s, standby_s = (None if text is None else duration_s(text) for text in (cold, standby))
    contestants = tuple(
        contestant(one, _cut(trace, path, begin_s, length_s), cold_s=cold_s, standby_s=standby_s, price=price)
        for one, path, trace in found
    )
    pools = {pool.name: pool for pool in declared.pools}
    setting = Setting(contestants=contestants, pools=pools, seed=seed)
    entrants = entrants_of(contestants, policy or (), () if against is None else against.split(","), sweep or ())
    for one in contestants:
        hours = one.trace.duration_s / 3600
        took = f"{hours:.2f} h" if hours >= HOURS_TOLD_MIN else f"{hours * 60:.1f} min"
        say(f"{len(one.trace)} requests in {took}; {one.service.name}: {one.world.pace.concurrency} at once")
        for what in _untold(one.service, policy or ()):
            say(f"warning: {one.service.name}: a trace does not tell {what}, so it is unknown here and holds")
    if sweep:
        say(f"{len(entrants)} runs")
    played, known = compete(setting, entrants, with_best=best)
    if sweep:
        _show_sweep(swept(setting, played, known), several=bool(policy or against), output=output)
    else:
        _show(setting, played, known, output)
    for one, plan in zip(contestants, known, strict=False):
        whose = f"{one.service.name}: " if len(contestants) > 1 else ""
        if not plan.report.kept or output is Format.TABLE:
            say(f"{whose}{_best_known(plan, gpus=one.world.gpus)}")


def _best_known(plan: Clairvoyant, *, gpus: int) -> str:
    """What the best schedule would have cost; or that none of the allowed size keeps the promise."""
    fixed = f"{plan.constant} fixed {plan.constant_hours * gpus:.2f} GPU-h"
    if plan.report.kept:
        return f"best known afterwards {plan.gpu_hours:.2f} GPU-h; {fixed}"
    return (
        f"no fleet up to size {plan.constant}, the largest allowed, keeps the promise: {fixed},"
        f" {plan.report.share_within:.2%} within; so there is no best to compare with"
    )


_NEEDS = {"latency_slo": "latencies (policy latency_slo)", "gpu_utilization": "GPUs (policy gpu_utilization)"}
"""Policies that go by what no trace has."""


def _untold(service: Service, policies: Sequence[str]) -> list[str]:
    """What the service scales by and a trace does not have."""
    named = policies or (service.scaling.policy,)
    found = [_NEEDS[name] for name in named if name in _NEEDS]
    return found + [f"the signal {signal.name}" for signal in service.signals]


def _traces(words: Sequence[str], services: Sequence[Service], file: Path) -> list[tuple[Service, Path, Trace]]:
    """Which service gets which trace, in the order of the file."""
    from fleetctl.spec.suggestions import did_you_mean

    names = {str(one.name): one for one in services}
    if not names:
        raise NotFound(f"{file} declares no service", hint="give the file of one with --service")
    paths: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        # A path may hold a =, too; but then it is there.
        if not equals or (name not in names and Path(word).exists()):
            if len(words) > 1 or len(names) > 1:
                raise UsageError(
                    f"{word}: it is not said whose traffic this is",
                    hint=f"write {next(iter(names))}={word}; {file} declares {', '.join(names)}",
                )
            name, path = next(iter(names)), word
        elif name not in names:
            raise NotFound(
                f"{file} declares no service {name!r}{did_you_mean(name, list(names))}",
                hint=f"it declares {', '.join(names)}",
            )
        if name in paths:
            raise UsageError(f"{name} is given two traces", hint="give one trace for each service")
        paths[name] = Path(path)
    return [(names[name], paths[name], read_trace(paths[name])) for name in names if name in paths]


def _recorded(services: Sequence[Service], since_s: float, seed: int) -> list[tuple[Service, Path, Trace]]:
    """What the fleet's own store has of each service, from the first moment that any of them has."""
    now = time.time()
    with session() as here:
        rows = {one.name: here.store.history(one.name, since=now - since_s, until=now) for one in services}
    known = [one for one in services if rows[one.name]]
    if not known:
        raise NotFound(
            "the fleet's store has no record of traffic to these services yet",
            hint="let the fleet run with traffic for a while, or give a trace",
        )
    begin = min(rows[one.name][0].t_from for one in known)
    end = max(rows[one.name][-1].t_to for one in known)
    return [
        (one, Path(f"history of {one.name}"), from_history(whole(rows[one.name], begin, end), seed=seed))
        for one in known
    ]


def _cut(trace: Trace, path: Path, begin_s: float, length_s: float | None) -> Trace:
    if begin_s >= trace.duration_s > 0:
        raise UsageError(f"{path} ends after {trace.duration_s:.0f} s", hint="give an earlier --from")
    if begin_s or length_s is not None:
        trace = trace.slice(begin_s, trace.duration_s - begin_s if length_s is None else length_s)
    if not len(trace):
        raise UsageError(f"{path}: no request lies in that stretch", hint="widen --from and --length")
    return trace


def _show(setting: Setting, played: Sequence[Played], known: Sequence[Clairvoyant], output: Format) -> None:
    contestants = setting.contestants
    several = len(contestants) > 1
    rows = outcomes(setting, played, known)
    columns = (POLICY, SERVICE, *OUTCOMES) if several or rows[-1].service == TOTAL else (POLICY, *OUTCOMES)
    emit(rows, columns, output, name=lambda row: f"policy/{row.policy}")
    if output is not Format.TABLE:
        return
    width = max(len("best"), *(len(row.policy) for row in rows))
    for number, contested in enumerate(contestants):
        whose = f" of {contested.service.name}" if several else ""
        top = most_ready(played, number, known)
        sys.stdout.write(f"\nReady replicas{whose}, from 0 to {top:g}\n")
        if known and known[number].report.kept:
            sys.stdout.write(f"{'best':<{width}}  {spark(known[number].report, contested.trace, top)}\n")
        sys.stdout.writelines(
            f"{row.policy:<{width}}  {row.replicas}\n" for row in rows if row.service == contested.service.name
        )


def _show_sweep(rows: Sequence[Outcome], *, several: bool, output: Format) -> None:
    columns = (FRONT, POLICY, KNOBS, *OUTCOMES) if several else (FRONT, KNOBS, *OUTCOMES)
    emit(rows, columns, output, name=lambda row: f"policy/{row.policy} {shown(row.knobs)}".rstrip())
    if output is Format.TABLE:
        points = [Point(x=row.gpu_hours, y=row.share_within, marked=bool(row.front)) for row in rows]
        lines = scatter(points, x_name="GPU-hours", y_name="Share within the promise", y_percent=True)
        sys.stdout.writelines(f"{line}\n" for line in ("", *lines))


def _seconds(row: Outcome, value: float | None) -> str:
    if value is None:
        return "-" if row.service == TOTAL else "never"
    return f"{value:.2f}s" if value < 100 else f"{value:.0f}s"
