"""A fleet as one has it on a bad morning: eight services in three clouds, most of them well, two in trouble."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet_world import a_service
from pictures import NOW

from fleetctl.model.decisions import Decision, Event, Inputs, Memory, StageNote
from fleetctl.model.instances import Instance, InstancePhase, Offer
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase, Role, Stage
from fleetctl.model.rollouts import Rollout, RolloutCounts, RolloutState
from fleetctl.model.services import Gpu, Market, Pool, Schedule, Service, Slo, Standby, Tier
from fleetctl.model.signals import Histogram, Load, Tally
from fleetctl.model.snapshots import Intent, Lease
from fleetctl.model.starts import Start
from fleetctl.views.charts import DemandPoint
from fleetctl.views.fleet import FleetView, service_rows
from fleetctl.views.looks import TRACE_S, Look

REVISION = "5f0c9a"
BOUNDS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Eighth:
    """One service of the fleet: how many replicas it has, how loaded it is, how well it keeps its promise."""

    name: str
    gpu: str
    per_hour: float
    ready: int
    desired: int
    concurrency: float
    target: float
    ttft: Sequence[float]
    """Requests by the upper bounds of their time to the first token."""
    reason: str
    policy: str = "auto"
    queued: int = 0
    oldest_s: float = 0.0
    coming: int = 0
    waiting: int = 0
    """For a machine."""
    draining: int = 0
    market: Market = Market.ON_DEMAND
    provider: str = "aws"
    zone: str = "us-east-1a"
    tier: Tier = Tier.WARM
    standby: int = 0
    standing: int = 0
    since_s: float = 60.0


EIGHT = (
    _Eighth(
        name="vision-11b", gpu="A100", per_hour=1.84, ready=3, desired=6, concurrency=36, target=12, queued=12,
        oldest_s=6.2, waiting=3, ttft=(10, 30, 120, 650, 150, 40), policy="concurrency", provider="gcp",
        zone="us-central1-a", market=Market.SPOT, since_s=14.0,
        reason="48 queued + running over 20 s ÷ 8 a replica = 6; gcp has no A100 left, aws is asked next in 31 s",
    ),
    _Eighth(
        name="chat-8b", gpu="L40S", per_hour=0.88, ready=18, desired=22, concurrency=402, target=22, queued=37,
        oldest_s=3.8, coming=4, ttft=(100, 420, 300, 132, 40, 8), policy="concurrency", provider="azure",
        zone="westeurope-1", tier=Tier.ASLEEP, standby=2, standing=1, since_s=2.0,
        reason="439 queued + running over 20 s ÷ 22 a replica = 20; forecast 472 in 94 s (p95 of a start) = 22",
    ),
    _Eighth(
        name="code-32b", gpu="A100", per_hour=1.84, ready=12, desired=12, concurrency=88, target=12,
        ttft=(10, 400, 500, 85, 4, 1), zone="us-east-1b", since_s=190.0,
        reason="forecast +18 % within a start's p95 of 94 s: 104 ÷ 8.7 a replica = 12",
    ),
    _Eighth(
        name="chat-70b", gpu="H100", per_hour=2.99, ready=24, desired=24, concurrency=231, target=12,
        ttft=(5, 500, 460, 29, 4, 2), policy="concurrency", standby=2, standing=2, since_s=1234.0,
        reason="231 queued + running over 60 s ÷ 9.6 a replica = 24, inside the tolerance of 10 %",
    ),
    _Eighth(
        name="embed-m3", gpu="L4", per_hour=0.71, ready=6, desired=6, concurrency=310, target=128,
        ttft=(990, 9, 1, 0, 0, 0), policy="rps", zone="us-west-2c", market=Market.SPOT, standby=1, standing=1,
        since_s=411.0, reason="rolling 5f0c9a: 2 of 6 counted on; 310 ÷ 51.7 a replica = 6",
    ),
    _Eighth(
        name="rerank", gpu="L4", per_hour=0.71, ready=3, desired=3, concurrency=41, target=64, draining=1,
        ttft=(980, 18, 2, 0, 0, 0), policy="rps", zone="us-west-2c", since_s=47.0,
        reason="41 < 126 for 5m: 1 is drained, at most 120 s",
    ),
    _Eighth(
        name="batch-eval", gpu="H100", per_hour=2.99, ready=0, desired=0, concurrency=0, target=32, ttft=(),
        policy="schedule", since_s=2400.0,
        reason="nobody asked for 40m; schedule 0 20 * * mon-fri Europe/Berlin has 4 from 20:00 on",
    ),
    _Eighth(
        name="whisper-v3", gpu="L4", per_hour=0.71, ready=0, desired=0, concurrency=0, target=16, ttft=(),
        policy="scale_to_zero", since_s=1800.0, reason="nobody asked for 20m: none is kept",
    ),
)  # fmt: skip

EVENTS = (
    (2.0, "scale", "service/chat-8b", "18 → 22: forecast 472 in 94 s (p95 of a start) = 22"),
    (3.0, "replica", "replica/chat-8b-k3vq-19", "promoted from asleep standby on l40s-k3vq-9"),
    (14.0, "scale", "service/vision-11b", "3 → 6: 48 queued + running over 20 s ÷ 8 a replica = 6"),
    (15.0, "warning", "instance/a100-k3vq-31", "launch failed: gcp has no A100:1 in us-central1-a now"),
    (47.0, "scale", "service/rerank", "4 → 3: 41 < 126 for 5m"),
    (48.0, "replica", "replica/rerank-k3vq-4", "draining: fewer are wanted"),
    (112.0, "warning", "instance/l4-k3vq-2", "its cloud takes it back in 120 s (spot)"),
    (115.0, "replica", "replica/embed-m3-k3vq-8", "promoted from warm standby on l4-k3vq-5 in 3.1 s"),
    (190.0, "scale", "service/code-32b", "11 → 12: forecast +18 % within a start's p95"),
    (411.0, "rollout", "service/embed-m3", "rollout of 5f0c9a began: 1 of 6 at a time"),
    (2400.0, "scale", "service/batch-eval", "4 → 0: schedule ended"),
)
_START_STAGES = (
    ("launch", 4.0),
    ("boot", 41.0),
    ("image", 22.0),
    ("weights", 31.0),
    ("engine", 18.0),
    ("warm_up", 6.0),
)


def eight(at: float = NOW) -> Look:
    """The fleet at that time, with two hours behind it."""
    intents, instances, replicas, decisions, memories = [], [], [], {}, {}
    pools = []
    for one in EIGHT:
        service = _service(one)
        intents.append(Intent(service=service, revision=REVISION, changed_at=at - 86_400.0))
        pools.append(Pool(name=PoolName(one.name), gpu=service.gpu, max=40, standby=_standby(one)))
        machines = _machines(one, at)
        instances += machines
        replicas += _replicas(one, machines, at)
        decisions[one.name] = _decision(one, at)
        ttft = Histogram(bounds_s=BOUNDS_S, counts=(*map(float, one.ttft), 0.0)) if one.ttft else None
        memories[one.name] = Memory(tally=Tally(at=at, ttft=ttft))
    rollout = Rollout(
        service=ServiceName("embed-m3"), to_revision=REVISION, from_revision="a41d20", started_at=at - 411.0,
        counts=RolloutCounts(new=2, passed=2, old=4, wanted=6),
    )  # fmt: skip
    view = FleetView(
        at=at, lease=Lease(holder="fleetctl daemon", fence=7, expires_at=at + 10.0), intents=tuple(intents),
        pools=tuple(pools), instances=tuple(instances), replicas=tuple(replicas), decisions=decisions,
        endpoint="http://127.0.0.1:8080", refused={"vision-11b": "gcp has no A100 left"}, memories=memories,
        rollouts={"embed-m3": replace(rollout, state=RolloutState.GOING)},
    )  # fmt: skip
    return Look(
        at=at,
        view=view,
        services=service_rows(view),
        events=[Event(at=at - ago, kind=kind, subject=subject, message=text) for ago, kind, subject, text in EVENTS],
        starts=[_start(number, at) for number in range(14)],
        traces={one.name: _trace(number, one, at) for number, one in enumerate(EIGHT)},
        stands={one.name: at - one.since_s for one in EIGHT},
        max_cost_per_hour=160.0,
    )


def _service(one: _Eighth) -> Service:
    service = a_service(one.name, slo=Slo(ttft_s=2.0, percentile=95.0), gpu=(Gpu(name=one.gpu),))
    schedule = (Schedule(cron="0 20 * * mon-fri", tz="Europe/Berlin", duration_s=36_000.0, min=4),)
    return replace(
        service,
        concurrency=int(one.target),
        scaling=replace(service.scaling, min=0, max=40, preset=one.policy),
        schedule=schedule if one.name == "batch-eval" else (),
        standby=_standby(one),
    )


def _standby(one: _Eighth) -> Standby:
    return Standby(tier=one.tier, slots=one.standby)


def _machines(one: _Eighth, at: float) -> list[Instance]:
    offer = Offer(
        provider=ProviderName(one.provider), instance_type=f"{one.gpu.lower()}-4", gpu=Gpu(name=one.gpu, count=4),
        zone=one.zone, market=one.market, price_per_hour=4 * one.per_hour, price_source="catalog", price_as_of=at,
    )  # fmt: skip
    there = one.ready + one.draining + one.standing
    slots = one.ready + one.coming + one.draining + (one.standing if one.tier is Tier.WARM else 0)
    return [
        Instance(
            id=InstanceId(f"{one.name}-m{number + 1}"), pool=PoolName(one.name), offer=offer,
            phase=InstancePhase.BOOTING if number * 4 >= there else InstancePhase.READY,
            phase_at=at - 3000.0, created_at=at - 7000.0 + 700.0 * number,
        )
        for number in range(-(-slots // 4))
    ]  # fmt: skip


def _replicas(one: _Eighth, machines: list[Instance], at: float) -> list[Replica]:
    found = []
    kinds = [*["ready"] * one.ready, *["draining"] * one.draining, *["coming"] * one.coming]
    for number, kind in enumerate(kinds):
        ready = kind != "coming"
        began = at - (6000.0 - 30.0 * number if ready else 38.0 + 4.0 * number)
        found.append(
            Replica(
                id=ReplicaId(f"{one.name}-k3vq-{number + 1}"),
                service=ServiceName(one.name),
                revision=REVISION,
                role=Role.DRAINING if kind == "draining" else Role.SERVING,
                phase=ReplicaPhase.READY if ready else ReplicaPhase.LOADING,
                instance=machines[number // 4].id,
                gpus=(number % 4,),
                address="10.0.0.1:8000" if ready else None,
                created_at=began,
                ready_at=began + 63.0 if ready else None,
                stages=_going(began) if not ready else (),
            )
        )
    found += [
        Replica(
            id=ReplicaId(f"{one.name}-k3vq-{90 + number}"), service=ServiceName(one.name), revision=REVISION,
            created_at=at - 15.0,
        )
        for number in range(one.waiting)
    ]  # fmt: skip
    if one.tier is Tier.ASLEEP:
        found += [
            Replica(
                id=ReplicaId(f"{one.name}-k3vq-{80 + number}"), service=ServiceName(one.name), revision=REVISION,
                role=Role.ASLEEP, phase=ReplicaPhase.ASLEEP, instance=machines[-1].id, gpus=(3,),
                created_at=at - 3000.0, asleep_at=at - 2900.0,
            )
            for number in range(one.standing)
        ]  # fmt: skip
    return found


def _going(began: float) -> tuple[Stage, ...]:
    return (
        Stage(name="image", started_at=began + 1.0, ended_at=began + 12.0),
        Stage(name="weights", started_at=began + 2.0, ended_at=began + 29.0),
        Stage(name="engine", started_at=began + 29.0),
    )


def _decision(one: _Eighth, at: float) -> Decision:
    current = one.ready + one.coming + one.waiting
    load = Load(
        low=one.concurrency, high=one.concurrency, queued=one.queued, oldest_wait_s=one.oldest_s, unknown=0
    )  # fmt: skip
    return Decision(
        service=ServiceName(one.name), at=at - 0.4, current=current, ready=one.ready, desired=one.desired,
        binding="policy", reason=one.reason, stages=(StageNote(stage="policy", value=one.desired),),
        concurrency=one.concurrency, concurrency_most=one.concurrency, unknown=0, queued=one.queued,
        target=one.target, price_per_hour=one.per_hour * one.desired, standby=one.standby,
        inputs=Inputs(
            at=at - 0.4, load=load, current=current, ready=one.ready, price_per_replica=one.per_hour
        ),
    )  # fmt: skip


def _trace(number: int, one: _Eighth, at: float) -> list[DemandPoint]:
    """Two waves in two hours, and for the second service a climb at the end."""
    points = []
    for step in range(240):
        share = step / 239
        wave = 0.62 + 0.3 * math.sin(2 * math.pi * (2 * share + number / 8)) + 0.04 * math.sin(step * 1.7)
        climb = 1.0 + (0.5 * max(0.0, share - 0.85) / 0.15 if number == 1 else 0.0)
        most = max(one.ready, 4 if number > 5 else 1)
        demand = most * wave * climb * (0.0 if number > 5 and share > 0.66 else 1.0)
        held = 0 if number > 5 and share > 0.72 else max(1, math.ceil(most * min(1.0, wave + 0.12)))
        wish = max(held, math.ceil(demand)) if number < 6 else held
        points.append(
            DemandPoint(t_s=at - TRACE_S * (1 - share), demand=demand, ready=float(held), desired=float(wish))
        )
    return points


def _start(number: int, at: float) -> Start:
    began = at - 500.0 - 400.0 * number
    stages, now = [], began
    for name, took_s in _START_STAGES:
        took_s *= 0.8 + 0.05 * ((number * 7) % 9)
        stages.append(Stage(name=name, started_at=now, ended_at=now + took_s))
        now += took_s
    service = ServiceName(EIGHT[(1, 0, 3)[number % 3]].name)
    return Start(
        service=service, revision=REVISION, replica=ReplicaId(f"{service}-k3vq-{40 + number}"),
        instance=InstanceId(f"{service}-m1"), provider="aws", machine="l40s-4", gpu="L40S:4", decided_at=began,
        ended_at=now, stages=tuple(stages),
    )  # fmt: skip
