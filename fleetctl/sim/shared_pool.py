"""Several Services on one clock that share a Pool of limited machines and its standby.

Each Service plays in a world of its own (`service_world`); what they share is a `SharedPool`: it grants starts, first
come first served, until its GPUs are taken, and keeps GPUs on standby from which any of its Services may wake a
replica. Services that tick at the same instant are asked in the order given. Whatever the clock, the same Services,
traces, policies and seed give the same reports, to the byte.

A Service with a standby of its own adds it to the Pool's; those without share one that is as large as the largest of
them wants, as in the fleet itself (`decide/pools.py`). A machine that boots for standby gives way to a replica when
there are no other GPUs. Standby is billed to the Pool, not to a Service: in full while it boots, at its price share
while it stands by.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from fleetctl.errors import UsageError
from fleetctl.sim.reports import Report
from fleetctl.sim.scalers import Scaler
from fleetctl.sim.service_world import ServiceRun
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import Stage, World

MEMBERS_LIMIT = 100
"""Services of one Pool: beyond it a simulation takes hours, and nobody shares so widely."""
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One Service of a shared Pool. Its world's own `standby` is not looked at."""

    name: str
    world: World
    trace: Trace
    scaler: Scaler
    standby_own: bool = False
    """Its standby is beside that of the others, not shared with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """What the Pool itself saw within the length of the traces."""

    standby_gpu_hours: float
    """Of GPUs that stand by or boot for it, at their price."""
    cost: float
    launches: int
    """Cold starts for standby."""
    refused: int
    """Starts that found no GPUs."""
    peak_gpus: int
    """Most GPUs billed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherReport:
    services: tuple[Report, ...]
    """In the order of the members."""
    pool: PoolReport


def play_together(
    members: Sequence[Member], *, gpus_most: int, gpus_standby: int = 0, standby_share: float = 0.5, seed: int = 0
) -> TogetherReport:
    """Play all traces, from zero, to the end of the longest; `gpus_standby` stand by when they begin, room permitting.

    Raises `UsageError` for no members, too many, or no GPUs.
    """
    if not 0 < len(members) <= MEMBERS_LIMIT or gpus_most < 1:
        raise UsageError(
            f"{len(members)} services cannot share {gpus_most} GPUs",
            hint=f"give 1 to {MEMBERS_LIMIT} services, and a pool of at least one GPU",
        )
    duration_s = max([member.trace.duration_s for member in members])
    largest = max(members, key=lambda member: member.world.gpus).world
    pool = SharedPool(
        gpus_most=gpus_most,
        own=[member.standby_own for member in members],
        cold_start=largest.cold_start,
        duration_s=duration_s,
        random=Random(f"{seed} pool"),
    )
    runs = [
        ServiceRun(
            member.world,
            replace(member.trace, duration_s=duration_s),
            member.scaler,
            # One seed for all would let every Service start in step.
            seed if len(members) == 1 else _seed_of(seed, member.name),
            supply=pool,
            number=number,
        )
        for number, member in enumerate(members)
    ]
    for run in runs:
        run.begin()
    pool.stock(0.0, gpus_standby)
    going = list(runs)
    while going:
        run = min(going, key=lambda one: one.next_at)
        if pool.next_at <= run.next_at:
            pool.arrive()
        elif not run.step():
            going.remove(run)
    for run in runs:
        run.close()
    gpu_hours = pool.gpu_hours(standby_share)
    return TogetherReport(
        services=tuple([run.report() for run in runs]),
        pool=PoolReport(
            standby_gpu_hours=gpu_hours,
            cost=gpu_hours * largest.price_per_gpu_hour,
            launches=pool.launches,
            refused=pool.refused,
            peak_gpus=pool.peak,
        ),
    )


def _seed_of(seed: int, name: str) -> int:
    return Random(f"{seed} service {name}").getrandbits(32)


class SharedPool:
    """The `Supply` of several Services: how many GPUs are taken, stand by, or boot for standby."""

    def __init__(
        self,
        *,
        gpus_most: int,
        own: Sequence[bool],
        cold_start: Sequence[Stage],
        duration_s: float,
        random: Random,
    ) -> None:
        self._most = gpus_most
        self._own = own
        self._cold_start = cold_start
        self._duration_s = duration_s
        self._random = random
        self._taken = 0
        self._stock: list[float] = []
        """Since when each GPU stands by, the longest first."""
        self._booting: list[tuple[float, float, int]] = []
        """When each machine for standby will be there, when it was ordered, and its GPUs; the soonest first."""
        self._wanted: dict[int, tuple[int, int]] = {}
        """By Service: units and the GPUs of each."""
        self._booting_s = self._standing_s = 0.0
        self.launches = self.refused = self.peak = 0

    @property
    def next_at(self) -> float:
        """When the next machine for standby is there; infinite: none is on its way."""
        return self._booting[0][0] if self._booting else math.inf

    def stock(self, now: float, gpus: int) -> None:
        """Put that many GPUs on standby, as many as there is room for."""
        self._stock += [now] * min(gpus, self._most - self._used())
        self.peak = max(self.peak, self._used())

    def arrive(self) -> None:
        """The machine that is due at `next_at` stands by from then on."""
        at, ordered_at, gpus = self._booting.pop(0)
        self._booting_s += self._billed(ordered_at, at) * gpus
        self._stock += [at] * gpus

    def wake(self, now: float, gpus: int) -> bool:
        if len(self._stock) < gpus:
            return False
        self._standing_s += sum([self._billed(since, now) for since in self._stock[:gpus]])
        del self._stock[:gpus]
        self._take(gpus)
        return True

    def launch(self, now: float, gpus: int) -> bool:
        while self._used() + gpus > self._most and self._booting:
            self._cancel(now)
        if self._used() + gpus > self._most:
            self.refused += 1
            return False
        self._take(gpus)
        return True

    def give_back(self, now: float, gpus: int) -> None:
        self._taken -= gpus

    def standing(self, gpus: int) -> int:
        return len(self._stock) // gpus

    def keep(self, now: float, service: int, units: int, gpus: int) -> None:
        self._wanted[service] = (max(0, units), gpus)
        wanted = self._target()
        while self._reserve() + gpus <= wanted and self._used() + gpus <= self._most:
            ready_at = now + sum([stage.draw(self._random) for stage in self._cold_start])
            self._booting.append((ready_at, now, gpus))
            self._booting.sort()
            self.launches += 1
            self.peak = max(self.peak, self._used())
        while self._booting and self._reserve() - self._booting[-1][2] >= wanted:
            self._cancel(now)
        while len(self._stock) > wanted:
            self._standing_s += self._billed(self._stock.pop(), now)

    def gpu_hours(self, standby_share: float) -> float:
        """What is billed for standby to the end of the traces, what still stands or boots included."""
        end_s = self._duration_s
        booting_s = self._booting_s + sum([self._billed(since, end_s) * gpus for _, since, gpus in self._booting])
        standing_s = self._standing_s + sum([self._billed(since, end_s) for since in self._stock])
        return (booting_s + standby_share * standing_s) / _HOUR_S

    def _target(self) -> int:
        """GPUs that are to stand by: those of Services with their own, and the largest wish of the others."""
        apart = sum([units * gpus for service, (units, gpus) in self._wanted.items() if self._own[service]])
        shared = [units * gpus for service, (units, gpus) in self._wanted.items() if not self._own[service]]
        return apart + max(shared, default=0)

    def _take(self, gpus: int) -> None:
        self._taken += gpus
        self.peak = max(self.peak, self._used())

    def _reserve(self) -> int:
        return len(self._stock) + sum([gpus for _, _, gpus in self._booting])

    def _used(self) -> int:
        return self._taken + self._reserve()

    def _cancel(self, now: float) -> None:
        """Give back the machine for standby that would be there last."""
        _, ordered_at, gpus = self._booting.pop()
        self._booting_s += self._billed(ordered_at, now) * gpus

    def _billed(self, since: float, until: float) -> float:
        return max(0.0, min(until, self._duration_s) - since)
