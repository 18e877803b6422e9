"""A fleet of any size for the dashboard, made of plain records, and what a screen shows as text."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from fleet_world import a_service

from fleetctl.controller.journal import Entry
from fleetctl.model.decisions import Decision, Event, Inputs, Memory, Plan, StageNote
from fleetctl.model.instances import Instance, InstancePhase, Offer
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase, Stage
from fleetctl.model.services import Gpu, Slo
from fleetctl.model.signals import Histogram, Load, Tally
from fleetctl.model.snapshots import Intent
from fleetctl.model.starts import Start
from fleetctl.store import SqlStore
from fleetctl.views.charts import DemandPoint
from fleetctl.views.fleet import FleetView, service_rows
from fleetctl.views.looks import Look

NOW = 1_790_000_000.0
GPUS_A_MACHINE = 8
NAMES = ("chat-8b", "chat-70b", "code-32b", "embed-m3", "rerank", "vision-11b", "whisper-v3", "batch-eval")


class Fixed:
    """A Source that shows the look it is given."""

    def __init__(self, look: Look) -> None:
        self.next = look
        self.looked = 0

    def look(self) -> Look:
        self.looked += 1
        return self.next


def a_look(*, services: int = 8, replicas: int = 3, at: float = NOW) -> Look:
    """`services` of them, each with `replicas`; the second scales up, the third waits for a machine."""
    names = [NAMES[index] if index < len(NAMES) else f"service-{index}" for index in range(services)]
    intents, held, machines, decisions, memories, traces = [], [], [], {}, {}, {}
    for index, name in enumerate(names):
        service = replace(a_service(name), slo=Slo(ttft_s=2.0, percentile=95.0))
        intents.append(Intent(service=service, revision="r-1f2e3d", changed_at=at - 7200.0))
        offer = Offer(
            provider=ProviderName("aws"), instance_type="g6e.48xlarge", gpu=Gpu(name="L40S", count=GPUS_A_MACHINE),
            zone="us-east-1a", market="on_demand", price_per_hour=30.13, price_source="catalog", price_as_of=at,
        )  # fmt: skip
        for number in range(replicas):
            machine = f"{name}-m{number // GPUS_A_MACHINE + 1}"
            if number % GPUS_A_MACHINE == 0:
                machines.append(
                    Instance(
                        id=InstanceId(machine),
                        pool=PoolName(name),
                        offer=offer,
                        phase=InstancePhase.READY,
                        phase_at=at - 3600.0,
                        created_at=at - 3700.0,
                    )
                )
            loading = index == 1 and number == replicas - 1
            held.append(
                Replica(
                    id=ReplicaId(f"{name}-{number + 1}"),
                    service=ServiceName(name),
                    revision="r-1f2e3d",
                    phase=ReplicaPhase.LOADING if loading else ReplicaPhase.READY,
                    instance=InstanceId(machine),
                    gpus=(number % GPUS_A_MACHINE,),
                    address="10.0.0.1:8000",
                    created_at=at - 100.0,
                    ready_at=None if loading else at - 60.0,
                    stages=(
                        Stage(name="boot", started_at=at - 100.0, ended_at=at - 80.0),
                        Stage(name="weights", started_at=at - 80.0, ended_at=None if loading else at - 62.0),
                    ),
                )
            )
        ready = replicas - (index == 1)
        wanted = replicas + (index == 2)
        queued = 12 if index == 2 else 0
        load = Load(low=8.0 * ready, high=8.0 * ready, queued=queued, oldest_wait_s=6.2 if queued else 0.0, unknown=0)
        decisions[name] = Decision(
            service=ServiceName(name), at=at - 0.4, current=replicas, ready=ready, desired=wanted,
            binding="target_concurrency", reason=f"{8 * ready} queued + running ÷ 10 a replica = {wanted}",
            stages=(StageNote(stage="target_concurrency", value=wanted),), concurrency=8.0 * ready,
            concurrency_most=8.0 * ready, unknown=0, queued=queued, target=10.0,
            inputs=Inputs(at=at - 0.4, load=load, current=replicas, ready=ready),
        )  # fmt: skip
        late = 20.0 if index == 2 else 1.0
        memories[name] = Memory(
            tally=Tally(at=at, ttft=Histogram(bounds_s=(0.5, 1.0, 2.0, 5.0), counts=(50.0, 30.0, 19.0, late, 0.0)))
        )
        traces[name] = [
            DemandPoint(t_s=at - 600.0 + 10.0 * step, demand=1.0 + step / 20, ready=float(ready), desired=float(wanted))
            for step in range(60)
        ]
    view = FleetView(
        at=at, lease=None, intents=tuple(intents), pools=(), instances=tuple(machines), replicas=tuple(held),
        decisions=decisions, endpoint="http://127.0.0.1:8080", refused={}, memories=memories,
    )  # fmt: skip
    events = [
        Event(
            at=at - 5.0 * number,
            kind="scale",
            subject=f"service/{names[number % len(names)]}",
            message=f"2 → 3: {number}",
        )
        for number in range(40)
    ]
    starts = [
        Start(
            service=ServiceName(names[0]),
            revision="r-1f2e3d",
            replica=ReplicaId(f"{names[0]}-0"),
            decided_at=at - 300.0,
            ended_at=at - 200.0,
            stages=(
                Stage(name="boot", started_at=at - 300.0, ended_at=at - 250.0),
                Stage(name="weights", started_at=at - 250.0, ended_at=at - 210.0),
                Stage(name="engine", started_at=at - 210.0, ended_at=at - 200.0),
            ),
        )
    ]
    return Look(
        at=at, view=view, services=service_rows(view), events=events, starts=starts, traces=traces,
        max_cost_per_hour=400.0,
    )  # fmt: skip


class Stored:
    """A look written to a store as a controller would have: its files, its machines, and tick after tick."""

    def __init__(self, store: SqlStore, look: Look) -> None:
        self.store, self.look = store, look
        lease = store.acquire("the tests' controller", ttl_s=1e6, now=look.at)
        assert lease is not None
        self._fence = lease.fence

    def begin(self) -> None:
        """All that is there, without any tick's decisions."""
        view = self.look.view
        for intent in view.intents:
            self.store.put_service(intent.service, revision=intent.revision, at=intent.changed_at)
        self._commit(
            Plan(
                at=self.look.at,
                instances=view.instances,
                replicas=view.replicas,
                memories=tuple((ServiceName(name), memory) for name, memory in view.memories.items()),
                rollouts=tuple(view.rollouts.values()),
                events=tuple(reversed(self.look.events)),
                starts=tuple(reversed(self.look.starts)),
            ),
        )

    def tick(self, *, at: float, changed: Sequence[Replica] = ()) -> None:
        """Decide the same again."""
        decisions = tuple(replace(one, at=at) for one in self.look.view.decisions.values())
        self._commit(Plan(at=at, decisions=decisions, replicas=tuple(changed)))

    def _commit(self, plan: Plan) -> None:
        entry = Entry(
            at=plan.at, fence=self._fence, decisions=plan.decisions, begun=(), ended=(), in_flight=(),
            unknown_providers=(), unknown_nodes=0, billed=len(self.look.view.instances),
        )  # fmt: skip
        self.store.commit(plan, fence=self._fence, journal=msgspec.json.encode(entry))


def screen_text(app: Any) -> list[str]:
    """The lines of the screen as a person reads them."""
    width, height = app.size
    lines = [[" "] * width for _ in range(height)]
    svg = ET.fromstring(app.export_screenshot(simplify=False))
    texts = [one for one in svg.iter() if one.tag.endswith("text") and "clip-path" in one.attrib]
    for one in texts:
        row = int(one.attrib["clip-path"].rpartition("-")[2].rstrip(")"))
        column = round(float(one.attrib["x"]) / _CELL_WIDTH)
        for offset, character in enumerate((one.text or "").replace("\xa0", " ")):
            if row < height and column + offset < width:
                lines[row][column + offset] = character
    return ["".join(line).rstrip() for line in lines]


_CELL_WIDTH = 12.2
"""Of Rich's SVG export."""
