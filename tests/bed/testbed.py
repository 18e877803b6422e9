"""The whole bed: a network, three machines, a registry, an origin of weights; and all of it gone again."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bed.machines import Machine
from bed.network import Network
from bed.origin import Origin
from bed.registry import Registry
from bed.slots import Slot, slot

MACHINES = 3
_REGISTRY_HOST = 2
_ORIGIN_HOST = 3
_FIRST_HOST = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    slot: Slot
    network: Network
    machines: tuple[Machine, ...]
    registry: Registry
    origin: Origin
    seconds: float
    """How long it took to come up."""

    def lets_in(self, *keys: str) -> None:
        for machine in self.machines:
            machine.lets_in(*keys)

    def inventory(self, *, gpu: str = "L4:1") -> list[dict[str, object]]:
        """For `providers.ssh.inventory`. The GPUs are declared: no driver lists any here."""
        return [{"name": one.name, "host": one.address, "user": "root", "gpu": gpu} for one in self.machines]


@contextlib.contextmanager
def test_bed(
    *, machines: int = MACHINES, rate: str = "", registry_rate: str = "", keys: Sequence[str] = ()
) -> Iterator[Bed]:
    """A bed for as long as the block runs. `rate` shapes the machines' links, as in 200mbit; empty: not at all."""
    with slot() as mine:
        yield raised(mine, machines=machines, rate=rate, registry_rate=registry_rate, keys=keys)


test_bed.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


def raised(slot: Slot, *, machines: int, rate: str, registry_rate: str, keys: Sequence[str]) -> Bed:
    """Everything brought up under this number, side by side."""
    began = time.monotonic()
    slot.folder.mkdir(parents=True, exist_ok=True)
    network = Network(slot)
    registry = Registry(network.host("registry", _REGISTRY_HOST, rate=registry_rate), slot.folder)
    origin = Origin(network.host("origin", _ORIGIN_HOST, rate=registry_rate), slot.folder)
    made = []
    for number in range(machines):
        name = f"m{number + 1}"
        made.append(Machine(name, slot, network.host(name, _FIRST_HOST + number, rate=rate)))
        made[-1].lets_in(*keys)
        made[-1].trusts(origin.certificate)
        made[-1].start()
    registry.wait()
    origin.wait()
    for machine in made:
        machine.wait()
    seconds = time.monotonic() - began
    return Bed(slot=slot, network=network, machines=tuple(made), registry=registry, origin=origin, seconds=seconds)
