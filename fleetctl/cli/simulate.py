"""`fleetctl simulate` (Control): What an autoscaler would have done with recorded traffic, side by side."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.charts import sparkline
from fleetctl.cli.output import Column, Format, Output, dollars, emit, say
from fleetctl.cli.session import duration_s
from fleetctl.errors import SpecError, UsageError
from fleetctl.model.services import Service, Standby
from fleetctl.sim.clairvoyant import Clairvoyant, clairvoyant
from fleetctl.sim.peers import PEERS, Capacity
from fleetctl.sim.policy_scaler import PolicyScaler
from fleetctl.sim.scalers import Scaler
from fleetctl.sim.service_world import Report, Stage, World, play
from fleetctl.sim.traces import Trace, read_trace

app = typer.Typer(add_completion=False)

PEER_SHARE = 0.7
"""The peers' target, as a share of a replica's capacity, unless one is given: Knative's default utilisation."""
LEARNED = "learned"
"""The policy that learns what a replica can do and sizes the fleet to the promise; here only, until the fleet's own
signals carry token counts."""
SPARK_COLUMNS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one policy did. Hours are GPU-hours; a percentile is null where so many were never served."""

    policy: str
    kept: bool
    """Whether the promise was kept."""
    share_within: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    gpu_hours: float
    ratio: float | None
    """GPU-hours over the clairvoyant schedule's."""
    cost: float
    scale_actions: int
    reversals: int
    peak: int
    replicas: str
    """Ready replicas over time, as a sparkline."""


OUTCOMES: tuple[Column[Outcome], ...] = (
    Column(header="POLICY", cell=lambda row: row.policy),
    Column(header="PROMISE", cell=lambda row: "kept" if row.kept else "missed"),
    Column(header="WITHIN", cell=lambda row: f"{row.share_within:.2%}", right=True),
    Column(header="TTFT p50", cell=lambda row: _seconds(row.ttft_p50_s), right=True, drop=3),
    Column(header="p99", cell=lambda row: _seconds(row.ttft_p99_s), right=True, drop=2),
    Column(header="GPU-H", cell=lambda row: f"{row.gpu_hours:.2f}", right=True),
    Column(header="× BEST", cell=lambda row: "-" if row.ratio is None else f"{row.ratio:.2f}", right=True),
    Column(header="$", cell=lambda row: dollars(row.cost), right=True, drop=4),
    Column(header="MOVES", cell=lambda row: str(row.scale_actions), right=True, drop=5),
    Column(header="BACK", cell=lambda row: str(row.reversals), right=True, drop=6),
    Column(header="PEAK", cell=lambda row: str(row.peak), right=True, drop=1),
)


@app.command()
def simulate(
    trace: Annotated[Path, typer.Argument(help="CSV (may be .gz): arrival_s,input_tokens,output_tokens")],
    service: Annotated[Path, typer.Option("--service", "-s", help="The file of the service that gets this traffic")],
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="Presets, or learned; none: the file's own")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Peers, e.g. knative,hpa:0.5; a share sets the peer's target")
    ] = None,
    cold: Annotated[str, typer.Option(help="Median cold start")] = "270s",
    standby: Annotated[str, typer.Option(help="Median start from standby")] = "8s",
    begin: Annotated[str, typer.Option("--from", help="Begin there in the trace")] = "0s",
    length: Annotated[str | None, typer.Option("--length", help="Take so much of it")] = None,
    seed: Annotated[int, typer.Option(help="Of the starts' lengths")] = 1,
    best: Annotated[bool, typer.Option(help="Compare with the best schedule known afterwards")] = True,
    price: Annotated[float, typer.Option(min=0, help="US dollars of one GPU for an hour")] = 2.0,
    output: Output = Format.TABLE,
) -> None:
    """Play recorded traffic against policies in virtual time: same decisions, no machines.

    Engines are modelled as continuous batching at the pace of an 8B model on an L40S; a cold start is drawn around its
    median, standby is as large as the file says and costs half while it stands by. The same seed gives the same bytes.
    """
    found = read_trace(trace)
    begin_s = duration_s(begin)
    if begin_s >= found.duration_s:
        raise UsageError(f"{trace} ends after {found.duration_s:.0f} s", hint="give an earlier --from")
    if begin_s or length is not None:
        found = found.slice(begin_s, duration_s(length) if length is not None else found.duration_s - begin_s)
    if not len(found):
        raise UsageError(f"{trace}: no request lies in that stretch", hint="widen --from and --length")
    declared = _service(service)
    world = _world(declared, duration_s(cold), duration_s(standby), price)
    say(f"{len(found)} requests in {found.duration_s / 3600:.2f} h; {declared.name}: {world.pace.concurrency} at once")
    known = clairvoyant(world, found) if best else None
    reports = {
        name: play(replace(world, standby=units), found, scaler, seed=seed)
        for name, scaler, units in _contestants(declared, policy, against, world, found)
    }
    top = max(moment.ready for report in reports.values() for moment in report.timeline)
    rows = [_outcome(name, report, known, found, top) for name, report in reports.items()]
    emit(rows, OUTCOMES, output, name=lambda row: f"policy/{row.policy}")
    if output is Format.TABLE:
        _draw(rows, known, found, top)
        if known is not None:
            fixed = known.constant_hours * world.gpus
            say(f"best known afterwards {known.gpu_hours:.2f} GPU-h; {known.constant} fixed replicas {fixed:.2f} GPU-h")


def _draw(rows: list[Outcome], known: Clairvoyant | None, trace: Trace, top: float) -> None:
    width = max(len(row.policy) for row in rows)
    sys.stdout.write(f"\nReady replicas, from 0 to {top:g}\n")
    if known is not None:
        sys.stdout.write(f"{'best':<{width}}  {_spark(known.report, trace, top)}\n")
    sys.stdout.writelines(f"{row.policy:<{width}}  {row.replicas}\n" for row in rows)


def _service(path: Path) -> Service:
    from fleetctl.spec.load import load

    services = load([path]).services
    if len(services) != 1:
        raise SpecError(f"{path}: one service is wanted, {len(services)} are declared", hint="give the file of one")
    return services[0]


def _world(service: Service, cold_s: float, standby_s: float, price: float) -> World:
    from fleetctl.rehearsal.batching import Pace

    promise = service.slo
    return World(
        pace=Pace(concurrency=service.concurrency),
        gpus=service.gpu[0].count,
        cold_start=(Stage(name="cold", median_s=cold_s),),
        standby_start=Stage(name="standby", median_s=standby_s, spread=0.1),
        replicas_start=max(1, service.scaling.min),
        replicas_max=service.scaling.max,
        price_per_gpu_hour=price,
        wait_limit_s=promise.ttft_s if promise else 5.0,
        promised_share=promise.percentile / 100 if promise else 0.99,
    )


def _contestants(
    service: Service, policies: list[str] | None, against: str | None, world: World, trace: Trace
) -> Iterator[tuple[str, Scaler, int]]:
    """Name, Scaler, and the standby it begins with."""
    from fleetctl.spec.presets import preset

    scaling = service.scaling
    wanted = service.standby or Standby()
    units = min(wanted.slots if wanted.slots is not None else wanted.steps * scaling.step, scaling.max)
    for name in policies or [scaling.preset]:
        if name == LEARNED:
            yield name, _learned(service, world), 0
            continue
        chosen = scaling
        if policies:
            chosen = replace(preset(name).scaling, min=scaling.min, max=scaling.max, step=scaling.step)
        yield name, PolicyScaler(replace(service, scaling=chosen)), units
    for text in against.split(",") if against else ():
        name, _, share_text = text.strip().partition(":")
        peer = PEERS.get(name)
        if peer is None:
            raise UsageError(f"no peer is called {name!r}", hint=f"one of: {', '.join(sorted(PEERS))}")
        try:
            share = float(share_text) if share_text else PEER_SHARE
        except ValueError:
            raise UsageError(f"{share_text!r} is no share of a replica", hint=f"for instance {name}:0.5") from None
        yield f"{text.strip()} (peer)", peer.make(_capacity(world, trace), share, world.replicas_start), 0


def _learned(service: Service, world: World) -> Scaler:
    from fleetctl.decide.auto.brain import Parameters
    from fleetctl.sim.auto_scaler import AutoScaler

    return AutoScaler(
        Parameters(
            batch=service.concurrency,
            minimum=service.scaling.min,
            maximum=service.scaling.max,
            wait_s=world.wait_limit_s,
            percentile=world.promised_share * 100,
            cold_s=world.cold_start_s,
            standby_s=world.standby_start.median_s,
        )
    )


def _capacity(world: World, trace: Trace) -> Capacity:
    """What a load test with the trace's mean request would have told the peers' users."""
    pace = world.pace
    count = len(trace)
    mean_input = sum(trace.input_tokens) / count
    mean_output = sum(trace.output_tokens) / count
    steps_s = mean_output * pace.step_s(batch=pace.concurrency, prefill_tokens=0) / pace.concurrency
    return Capacity(concurrency=pace.concurrency, requests_per_s=1 / (steps_s + mean_input * pace.prefill_s_per_token))


def _outcome(name: str, report: Report, known: Clairvoyant | None, trace: Trace, top: float) -> Outcome:
    return Outcome(
        policy=name,
        kept=report.kept,
        share_within=report.share_within,
        ttft_p50_s=_finite(report.ttft.p50_s),
        ttft_p95_s=_finite(report.ttft.p95_s),
        ttft_p99_s=_finite(report.ttft.p99_s),
        gpu_hours=report.gpu_hours,
        ratio=None if known is None else report.gpu_hours / known.gpu_hours,
        cost=report.cost,
        scale_actions=report.scale_actions,
        reversals=report.reversals,
        peak=report.peak_ordered,
        replicas=_spark(report, trace, top),
    )


def _spark(report: Report, trace: Trace, top: float) -> str:
    values: list[float | None] = []
    place = 0
    timeline = report.timeline
    for column in range(SPARK_COLUMNS):
        at = (column + 0.5) / SPARK_COLUMNS * trace.duration_s
        while place + 1 < len(timeline) and timeline[place + 1].at <= at:
            place += 1
        values.append(timeline[place].ready if timeline else None)
    return sparkline(values, top=top)


def _finite(seconds: float) -> float | None:
    return seconds if seconds < float("inf") else None


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}s" if value < 100 else f"{value:.0f}s"
