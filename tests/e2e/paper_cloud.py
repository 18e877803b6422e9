"""A cloud on paper, as another package would add one: machines of this computer, which it bills for.

Levers are its settings in the fleet's file: `price` (dollars an hour of one GPU; absent: it does not say), `age_s` of
the price, `quota`, and `silent`, with which it answers nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fleetctl.errors import AuthFailure
from fleetctl.model.checks import Check
from fleetctl.model.instances import LaunchSpec, Leftover, Listing, Offer
from fleetctl.model.names import InstanceId, ProviderName
from fleetctl.model.services import Pool
from fleetctl.providers import Setup
from fleetctl.providers.local import LocalProvider

PAPER = ProviderName("paper")


def provider(setup: Setup) -> "PaperCloud":
    return PaperCloud(setup)


def install(folder: Path) -> None:
    """Make it an installed package, for who has `folder` on its path."""
    info = folder / "paper_cloud-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paper-cloud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fleetctl.providers]\npaper = paper_cloud:provider\n")
    (folder / "paper_cloud.py").write_text(Path(__file__).read_text())


class PaperCloud:
    name = PAPER
    consistency_s = 0.0

    def __init__(self, setup: Setup) -> None:
        self._options = setup.options
        self._machines = LocalProvider(setup.home.root / "paper", fleet=setup.fleet)

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        if self._options.get("silent"):
            raise AuthFailure("paper: nobody is logged in", hint="log in to paper")
        price, quota, age_s = (self._options.get(name) for name in ("price", "quota", "age_s"))
        return [
            Offer(
                provider=PAPER,
                instance_type=f"{gpu.name.lower()}-x{gpu.count}",
                gpu=gpu,
                zone="desk-1",
                region="desk",
                market=pool.placement.market,
                price_per_hour=price * gpu.count if isinstance(price, int | float) else None,
                price_source="paper's list" if price is not None else "",
                price_as_of=time.time() - (age_s if isinstance(age_s, int | float) else 0.0),
                quota_left=quota if isinstance(quota, int) else None,
            )
            for gpu in pool.gpu
        ]

    async def launch(self, spec: LaunchSpec) -> None:
        await self._machines.launch(spec)

    async def list(self, fleet: str) -> Listing:
        return replace(await self._machines.list(fleet), provider=PAPER)

    async def start(self, instance: InstanceId) -> None:
        await self._machines.start(instance)

    async def stop(self, instance: InstanceId) -> None:
        await self._machines.stop(instance)

    async def terminate(self, instance: InstanceId) -> None:
        await self._machines.terminate(instance)

    async def console(self, instance: InstanceId) -> str:
        return await self._machines.console(instance)

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return ()

    async def remove(self, leftover: Leftover) -> None:
        await self._machines.remove(leftover)

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        return ()

    async def close(self) -> None:
        await self._machines.close()
