"""What a demo has seen: the series, the starts, the bill; told live, and summed up at the end."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleetctl.cli.output import coloured, say
from fleetctl.cli.session import event_line
from fleetctl.controller.controllers import Ticked
from fleetctl.decide.placement import gpus_needed
from fleetctl.errors import FleetError
from fleetctl.model.decisions import Decision
from fleetctl.model.instances import Instance, InstancePhase
from fleetctl.model.names import InstanceId, ReplicaId
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.services import Pool, Service
from fleetctl.sim.replay import Progress
from fleetctl.sim.replay_command import Beginning, Refusal, Summary
from fleetctl.views.charts import DemandPoint, WaterfallRow, demand_chart, waterfall
from fleetctl.views.figures import dollars, figure
from fleetctl.views.starts import cold_start

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

EVENTS_LIVE = 8
CHART_HEIGHT = 9
WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """How one Replica came to be ready."""

    replica: str
    origin: str
    seconds: float
    stages: dict[str, float]
    """Seconds by stage; stages run side by side, so they may add up to more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSummary:
    """The document of `fleetctl demo -o json`."""

    requests: int
    failed: int
    failures: dict[str, int]
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    replicas_peak: int
    replicas_final: int
    scale_ups: int
    from_standby: int
    decisions: int
    cost: float
    """US dollars of every billed machine while the traffic ran and after it, at the prices the demo's file declares."""
    cost_fixed_peak: float
    """The same time with as many machines as the peak needed, all along."""
    cost_fixed_max: float
    """The same with as many as the file allows."""
    cold_starts: list[ColdStart]
    traffic: str
    duration_s: float


class Replay:
    """The traffic, sent by a process of its own so that it does not disturb the controller."""

    def __init__(self) -> None:
        self.note = ""
        self.progress: Progress | None = None
        self.summary: Summary | None = None

    @property
    def failed(self) -> int:
        return self.summary.failed if self.summary else 1

    async def run(self, url: str, trace: Path | None, seed: int, seconds: float) -> None:
        """Send all of it. Raises `FleetError` when it cannot be sent at all."""
        source = ["--trace", str(trace.absolute())] if trace is not None else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fleetctl.sim.replay",
            *source, "--seed", str(seed), "--duration-s", str(seconds), "--url", url, "--model", "chat", "-o", "json",
            stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        refused: Refusal | None = None
        try:
            async for line in process.stdout:
                match msgspec.json.decode(line, type=dict[str, object]).get("event"):
                    case "begin":
                        self.note = msgspec.json.decode(line, type=Beginning).note
                    case "progress":
                        self.progress = msgspec.json.decode(line, type=Progress)
                    case "summary":
                        self.summary = msgspec.json.decode(line, type=Summary)
                    case "error":
                        refused = msgspec.json.decode(line, type=Refusal)
        finally:
            if process.returncode is None and refused is None and self.summary is None:
                process.terminate()
            await process.wait()
        if refused is not None:
            raise FleetError(refused.message, hint=refused.hint)
        if self.summary is None:
            raise FleetError("the traffic ended without a summary", hint="try again; is this machine out of memory?")


@dataclass(slots=True)
class Recording:
    """The demo as it was seen, tick by tick."""

    service: Service
    pool: Pool
    points: list[DemandPoint] = field(default_factory=list)
    starts: dict[ReplicaId, Replica] = field(default_factory=dict)
    decisions: int = 0
    scale_ups: int = 0
    replicas_peak: int = 0
    machines_peak: int = 0
    cost: float = 0.0
    _replicas: dict[ReplicaId, Replica] = field(default_factory=dict)
    _instances: dict[InstanceId, Instance] = field(default_factory=dict)
    _last: Decision | None = None
    _began_at: float | None = None
    _ended_at: float | None = None
    _at: float = 0.0
    _events: list[str] = field(default_factory=list)
    _live: "Live | None" = None

    def begin(self) -> None:
        """From here on the figures count: before it, the fleet was being brought up."""
        self._began_at = self._at = time.time()
        self.decisions = self.scale_ups = 0

    def end(self) -> None:
        self._ended_at = time.time()

    def take(self, ticked: Ticked) -> None:
        """Look at one tick."""
        plan, snapshot = ticked.plan, ticked.snapshot
        self._replicas = {**snapshot.replicas, **{row.id: row for row in plan.replicas}}
        for gone in plan.removed_replicas:
            self._replicas.pop(gone, None)
        self._instances = {**snapshot.instances, **{row.id: row for row in plan.instances}}
        self._last = plan.decisions[0]
        counting = self._began_at is not None and self._ended_at is None
        if counting:
            self._count(plan.at)
        for event in plan.events:
            self._events.append(event_line(event))
            if self._live is None:
                say(f"  {event_line(event)}")
        if self._live is not None:
            self._live.update(self._picture())

    def _count(self, now: float) -> None:
        assert self._last is not None
        assert self._began_at is not None
        billed = [instance for instance in self._instances.values() if instance.billed]
        self.cost += sum(one.offer.price_per_hour or 0.0 for one in billed) * (now - self._at) / 3600
        self._at = now
        self.decisions += 1
        self.scale_ups += self._last.desired > self._last.current
        ready = self._ready()
        self.replicas_peak = max(self.replicas_peak, len(ready))
        for replica in ready:
            if replica.created_at >= self._began_at:
                self.starts[replica.id] = replica
        concurrency = self._last.concurrency
        self.points.append(
            DemandPoint(
                t_s=now - self._began_at,
                demand=None if concurrency is None else concurrency / self._last.target,
                ready=len(ready),
                desired=self._last.desired,
            )
        )

    def _ready(self) -> list[Replica]:
        return [
            replica
            for replica in self._replicas.values()
            if replica.role is Role.SERVING and replica.phase is ReplicaPhase.READY
        ]

    def is_ready(self) -> bool:
        """Whether the first Replica answers and its Standby stands by."""
        free = sum(
            instance.offer.gpu.count for instance in self._instances.values() if instance.phase is InstancePhase.READY
        ) - sum(len(replica.gpus) for replica in self._replicas.values())
        need = self.service.scaling.step * self.service.gpu[0].count
        return len(self._ready()) >= self.service.scaling.min and free >= need

    def is_small(self) -> bool:
        """Whether the fleet is back at its least."""
        return len(self._replicas) <= self.service.scaling.min and self._machines() <= self._machines_at_least()

    def _machines(self) -> int:
        return sum(1 for instance in self._instances.values() if instance.billed)

    def _machines_at_least(self) -> int:
        return self._machines_for(self.service.scaling.min + self.service.scaling.step)

    def _machines_for(self, replicas: int) -> int:
        gpu = self.pool.gpu[0]
        per_machine = gpu.count // (gpus_needed(self.service, gpu) or 1)
        return -(-replicas // per_machine)

    def summary(self, replay: Replay) -> DemoSummary:
        """The figures."""
        assert replay.summary is not None
        assert self._began_at is not None
        duration_s = (self._ended_at or time.time()) - self._began_at
        price = self.pool.price_per_hour or 0.0
        return DemoSummary(
            requests=replay.summary.requests,
            failed=replay.summary.failed,
            failures=dict(replay.summary.failures),
            ttft_p50_s=replay.summary.ttft_p50_s,
            ttft_p95_s=replay.summary.ttft_p95_s,
            ttft_p99_s=replay.summary.ttft_p99_s,
            replicas_peak=self.replicas_peak,
            replicas_final=len(self._ready()),
            scale_ups=self.scale_ups,
            from_standby=sum(1 for replica in self.starts.values() if replica.origin != "cold"),
            decisions=self.decisions,
            cost=self.cost,
            cost_fixed_peak=self._machines_for(self.replicas_peak) * price * duration_s / 3600,
            cost_fixed_max=self._machines_for(self.service.scaling.max) * price * duration_s / 3600,
            cold_starts=[_start(replica) for replica in self.starts.values()],
            traffic=replay.note,
            duration_s=duration_s,
        )

    def rows(self) -> list[WaterfallRow]:
        return [cold_start(replica) for replica in sorted(self.starts.values(), key=lambda one: one.created_at)]

    @contextmanager
    def shown(self, *, live: bool) -> Iterator[None]:
        """Live on a terminal, line by line elsewhere."""
        if not live:
            yield
            return
        from rich.console import Console
        from rich.live import Live

        with Live(self._picture(), console=Console(stderr=True), refresh_per_second=4, transient=True) as found:
            self._live = found
            try:
                yield
            finally:
                self._live = None

    def _picture(self) -> "Text":
        from rich.text import Text

        if self._last is None:
            return Text("starting …")
        ready = len(self._ready())
        standby = self._machines() * self.pool.gpu[0].count - sum(len(one.gpus) for one in self._replicas.values())
        hourly = sum(one.offer.price_per_hour or 0.0 for one in self._instances.values() if one.billed)
        head = (
            f"chat  {ready} ready, {self._last.desired} wanted, {standby} GPUs standing by or booting   "
            f"{figure(self._last.concurrency)} requests, {figure(self._last.queued)} queued   {dollars(hourly)}/h"
        )
        lines = [head, f"why   {self._last.reason}", ""]
        if self.points:
            lines += [*demand_chart(self.points, width=WIDTH, height=CHART_HEIGHT, colour=True), ""]
        lines += self._events[-EVENTS_LIVE:]
        return Text.from_ansi("\n".join(lines))


def _start(replica: Replica) -> ColdStart:
    stages = {bar.stage: round(bar.end_s - bar.start_s, 3) for bar in cold_start(replica).bars if bar.end_s is not None}
    seconds = 0.0 if replica.ready_at is None else replica.ready_at - replica.created_at
    return ColdStart(replica=replica.id, origin=replica.origin, seconds=round(seconds, 3), stages=stages)


def _promise(service: Service, found: DemoSummary) -> list[str]:
    if service.slo is None or found.ttft_p99_s is None:
        return []
    kept = "kept" if found.ttft_p99_s <= service.slo.ttft_s and not found.failed else "missed"
    return [f"Promise     {service.slo.percentile:g} % see their first token within {service.slo.ttft_s:g} s: {kept}"]


def _s(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.2f} s"


def report(recording: Recording, replay: Replay) -> str:
    """The end of a demo, in words and pictures."""
    found = recording.summary(replay)
    colour = coloured()
    lines = [
        f"Demand against ready replicas (1 replica = {recording.service.target_concurrency:g} requests at once)",
        *demand_chart(recording.points, width=WIDTH, height=CHART_HEIGHT, colour=colour),
        "",
        "Cold starts, stage by stage",
        *waterfall(recording.rows(), width=WIDTH, colour=colour),
        "",
        f"Traffic     {found.requests} requests in {found.duration_s:.0f} s, {found.failed} failed",
        *(f"            {part}" for part in found.traffic.split("; ")),
        f"TTFT        p50 {_s(found.ttft_p50_s)}, p95 {_s(found.ttft_p95_s)}, p99 {_s(found.ttft_p99_s)}",
        *_promise(recording.service, found),
        f"Replicas    peak {found.replicas_peak}, at the end {found.replicas_final}; {found.scale_ups} scale-ups,"
        f" {found.from_standby} of {len(found.cold_starts)} starts from standby; {found.decisions} decisions",
        f"Cost        {dollars(found.cost)} with standby; a fixed fleet of the allowed {recording.service.scaling.max}"
        f" costs {dollars(found.cost_fixed_max)},",
        f"            one of the peak's {found.replicas_peak}, known only afterwards, {dollars(found.cost_fixed_peak)}",
        "            (prices as the demo's file declares them; engines are rehearsals, no GPU was used)",
    ]
    if found.failures:
        lines.append("Lost        " + ", ".join(f"{count} × {reason}" for reason, count in found.failures.items()))
    return "\n".join(lines) + "\n"
