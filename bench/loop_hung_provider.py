"""Whether a cloud that hangs delays the decisions of a service elsewhere. `python bench/loop_hung_provider.py`.

Two services, two providers: every call to one of the providers takes 60 s, the other answers at once. The controller's
own loop ticks for 20 s over the in-memory ports of `loop_tick.py` and a real SQLite file.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from figures import report
from loop_tick import LOCAL, MemoryGateway, MemoryNodes, MemoryProvider, MemorySignals, a_service

from fleetctl.controller.clock import SystemClock
from fleetctl.controller.controllers import Controller, Ticked
from fleetctl.controller.loop import run
from fleetctl.controller.observe import Ports
from fleetctl.model.instances import LaunchSpec, Listing, Offer
from fleetctl.model.names import InstanceId, ProviderName
from fleetctl.model.services import Placement, Pool, Service
from fleetctl.store import open_store

HUNG = ProviderName("hung")
HANGS_S = 60.0
PERIOD_S = 1.0
LASTS_S = 20.0
GOAL_RATIO = 1.5


class HungProvider:
    """A `ports.Provider` whose every call takes a minute and then answers nothing useful."""

    name = HUNG
    consistency_s = 0.0

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        await asyncio.sleep(HANGS_S)
        return []

    async def launch(self, spec: LaunchSpec) -> None:
        await asyncio.sleep(HANGS_S)

    async def list(self, fleet: str) -> Listing:
        await asyncio.sleep(HANGS_S)
        return Listing(provider=HUNG, at=0.0, instances=())

    async def start(self, instance: InstanceId) -> None:
        await asyncio.sleep(HANGS_S)

    async def stop(self, instance: InstanceId) -> None:
        await asyncio.sleep(HANGS_S)

    async def terminate(self, instance: InstanceId) -> None:
        await asyncio.sleep(HANGS_S)

    async def close(self) -> None:
        return None


def placed(service: Service, provider: ProviderName) -> Service:
    return replace(service, placement=Placement(providers=(provider,)))


async def watch(folder: Path) -> list[Ticked]:
    """Every tick of the loop's 20 seconds."""
    clock = SystemClock()
    store = open_store(str(folder / "fleet.db"))
    store.put_service(placed(a_service(1), HUNG), revision="r1", at=clock.now())
    store.put_service(placed(a_service(2), LOCAL), revision="r1", at=clock.now())
    ports = Ports(
        clock=clock,
        providers={HUNG: HungProvider(), LOCAL: MemoryProvider()},
        nodes=MemoryNodes(),
        signals=MemorySignals(),
        gateway=MemoryGateway(),
    )
    controller = Controller(store, ports, fleet="bench", holder="bench")
    seen: list[Ticked] = []
    ends_at = clock.now() + LASTS_S
    try:
        await run(
            controller,
            clock,
            period_s=PERIOD_S,
            until=lambda ticked: ticked.snapshot.now >= ends_at,
            on_tick=seen.append,
        )
        return seen
    finally:
        await controller.close()
        store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(watch(Path(folder)))
    name = a_service(2).name
    decided = [decision for ticked in seen for decision in ticked.plan.decisions if decision.service == name]
    gaps = [after.at - before.at for before, after in pairwise(decided)]
    ready_s = next((one.at - decided[0].at for one in decided if one.ready == one.desired), LASTS_S)
    ratio = max(gaps) / PERIOD_S
    print(
        f"{len(decided)} decisions of {name} in {LASTS_S:g} s beside a provider that hangs: at most"
        f" {max(gaps):.2f} s apart, period {PERIOD_S:g} s; all replicas ready after {ready_s:.1f} s",
        file=sys.stderr,
    )
    report("hung_provider_gap_to_period", ratio, "ratio", at_most=GOAL_RATIO)


if __name__ == "__main__":
    main()
