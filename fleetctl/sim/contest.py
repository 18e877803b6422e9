"""Policies against each other over the same traffic: what a file declares becomes worlds, and each entrant plays them.

A Service that names a declared Pool plays together with the others of that Pool (`shared_pool`); the rest each play
alone. Entrants do not meet: each has the same traces, machines and seed to itself, so they may be played in parallel.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

from fleetctl.decide.standing import standby_of
from fleetctl.errors import UsageError
from fleetctl.model.names import PoolName
from fleetctl.model.services import ColdStart, Pool, Service, Standby
from fleetctl.rehearsal.batching import Pace
from fleetctl.sim.clairvoyant import Clairvoyant, clairvoyant
from fleetctl.sim.peers import PEERS, Capacity
from fleetctl.sim.policy_scaler import PolicyScaler
from fleetctl.sim.reports import Report
from fleetctl.sim.scalers import Scaler
from fleetctl.sim.service_world import play
from fleetctl.sim.shared_pool import Member, PoolReport, play_together
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import Stage, World

PEER_SHARE = 0.7
"""The peers' target, as a share of a replica's capacity, unless one is given: Knative's default utilisation."""
COLD_S, STANDBY_S = 270.0, 8.0
"""Median starts of a one-GPU replica of an 8B model, where neither the command nor the file says."""
PROCESSES_LIMIT = 16
"""Each holds its own copy of the queues and engines of a day; more cores than this are left to others."""
ALONE_REQUESTS = 50_000
"""Fewer requests, all entrants together, are played in this process: they take about as long as starting others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One Service with its traffic and its world."""

    service: Service
    trace: Trace
    world: World


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is the same for every entrant."""

    contestants: tuple[Contestant, ...]
    pools: Mapping[PoolName, Pool]
    """Those declared."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One way to scale: the Services under a policy, or one of the peers'."""

    name: str
    services: tuple[Service, ...] = ()
    """As they are to be scaled, in the order of the contestants; none for a peer."""
    knobs: Mapping[str, str] = field(default_factory=dict)
    """What was written anew for it, by path."""
    peer: str | None = None
    share: float = PEER_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How one entrant did."""

    entrant: Entrant
    reports: tuple[Report, ...]
    """In the order of the contestants."""
    pools: tuple[PoolReport, ...]
    """Of the shared Pools; their standby is in none of `reports`."""

    @property
    def gpu_hours(self) -> float:
        return sum([one.gpu_hours for one in self.reports]) + sum([one.standby_gpu_hours for one in self.pools])

    @property
    def cost(self) -> float:
        return sum([one.cost for one in self.reports]) + sum([one.cost for one in self.pools])

    @property
    def share_within(self) -> float:
        """Of all requests of all Services."""
        requests = sum([one.requests for one in self.reports])
        return sum([one.within for one in self.reports]) / requests if requests else 1.0

    @property
    def kept(self) -> bool:
        """Every Service's promise."""
        return all(one.kept for one in self.reports)


def contestant(
    service: Service, trace: Trace, *, cold_s: float | None, standby_s: float | None, price: float
) -> Contestant:
    """The Service in a world of its own. Starts last as said, else as the file guesses, else as `COLD_S`, `STANDBY_S`.

    A policy is told what the file says; where that says nothing, it is told the truth, as a fleet that has run for a
    while would have measured it. `price` is US dollars of one GPU for an hour.
    """
    told = service.cold_start
    cold_s = next(value for value in (cold_s, told.cold_s, COLD_S) if value is not None)
    standby_s = next(value for value in (standby_s, told.standby_s, STANDBY_S) if value is not None)
    knows = ColdStart(
        cold_s=cold_s if told.cold_s is None else told.cold_s,
        standby_s=standby_s if told.standby_s is None else told.standby_s,
    )
    promise = service.slo
    world = World(
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
    return Contestant(service=replace(service, cold_start=knows), trace=trace, world=world)


def peer(text: str) -> Entrant:
    """`knative` or `hpa:0.5`: one of the peers, at a target of that share of a replica's capacity."""
    name, _, share_text = text.strip().partition(":")
    if name not in PEERS:
        raise UsageError(f"no peer is called {name!r}", hint=f"one of: {', '.join(sorted(PEERS))}")
    try:
        share = float(share_text) if share_text else PEER_SHARE
    except ValueError:
        raise UsageError(f"{share_text!r} is no share of a replica", hint=f"for instance {name}:0.5") from None
    if not 0 < share <= 1:
        raise UsageError(f"{share_text} is no share of a replica", hint=f"above 0, at most 1; for instance {name}:0.5")
    return Entrant(name=f"{text.strip()} (peer)", peer=name, share=share)


def best(one: Contestant, *, replicas_max: int) -> Clairvoyant:
    """The best schedule found of at most so many replicas for one Service, with its Pool to itself."""
    return clairvoyant(replace(one.world, replicas_max=replicas_max), one.trace)


def largest(setting: Setting, entrants: Sequence[Entrant], number: int) -> int:
    """Replicas of the largest fleet that any entrant may give to that contestant, and that its Pool has room for."""
    one = setting.contestants[number]
    own = one.world.replicas_max
    allowed = max([each.services[number].scaling.max if each.services else own for each in entrants], default=own)
    pool = setting.pools.get(one.service.pool_name)
    return allowed if pool is None else min(allowed, pool.max * pool.gpu[0].count // one.world.gpus)


def compete(
    setting: Setting, entrants: Sequence[Entrant], *, with_best: bool, processes: int | None = None
) -> tuple[list[Played], list[Clairvoyant]]:
    """Play every entrant, and find the best schedules known afterwards, one for each contestant if they are wanted.

    In the order given, however many processes take part; None: as many as there are cores.
    """
    tasks = len(entrants) + (len(setting.contestants) if with_best else 0)
    count = min(processes or os.cpu_count() or 1, tasks, PROCESSES_LIMIT)
    most = [largest(setting, entrants, number) for number in range(len(setting.contestants))]
    requests = sum([len(one.trace) for one in setting.contestants]) * len(entrants)
    if count < 2 or (processes is None and requests < ALONE_REQUESTS and not with_best):
        return [play_entrant(setting, one) for one in entrants], [
            best(one, replicas_max=limit) for one, limit in zip(setting.contestants, most, strict=True)
        ] if with_best else []
    with ProcessPoolExecutor(count, initializer=_set, initargs=(setting,)) as pool:
        # The longest first: nobody then waits for one that began last.
        known = [pool.submit(_best, number, limit) for number, limit in enumerate(most)] if with_best else []
        played = [pool.submit(_play, one) for one in entrants]
        return [one.result() for one in played], [one.result() for one in known]


_setting: Setting | None = None
"""Of this process: handed over once, so that a day's traffic is not sent with every entrant."""


def _set(setting: Setting) -> None:
    global _setting
    _setting = setting


def _play(entrant: Entrant) -> Played:
    assert _setting is not None
    return play_entrant(_setting, entrant)


def _best(number: int, replicas_max: int) -> Clairvoyant:
    assert _setting is not None
    return best(_setting.contestants[number], replicas_max=replicas_max)


def play_entrant(setting: Setting, entrant: Entrant) -> Played:
    """One entrant over all Services."""
    reports: dict[int, Report] = {}
    pools = []
    for pool, numbers in _groups(setting):
        if pool is None:
            one = setting.contestants[numbers[0]]
            scaler, world, _ = _entered(one, entrant, numbers[0], None)
            reports[numbers[0]] = play(world, one.trace, scaler, seed=setting.seed)
            continue
        members, apart, shared = [], 0, 0
        for number in numbers:
            one = setting.contestants[number]
            scaler, world, own = _entered(one, entrant, number, pool)
            gpus = world.standby * world.gpus
            apart += gpus if own else 0
            shared = max(shared, 0 if own else gpus)
            members.append(Member(name=one.service.name, world=world, trace=one.trace, scaler=scaler, standby_own=own))
        together = play_together(
            members,
            gpus_most=pool.max * pool.gpu[0].count,
            gpus_standby=apart + shared,
            standby_share=members[0].world.standby_share,
            seed=setting.seed,
        )
        reports.update(zip(numbers, together.services, strict=True))
        pools.append(together.pool)
    return Played(
        entrant=entrant,
        reports=tuple([reports[number] for number in range(len(setting.contestants))]),
        pools=tuple(pools),
    )


def _groups(setting: Setting) -> Iterator[tuple[Pool | None, list[int]]]:
    """Who plays together: the contestants of each declared Pool, and each of the others alone."""
    grouped: dict[PoolName, list[int]] = {}
    for number, one in enumerate(setting.contestants):
        if one.service.pool_name in setting.pools:
            grouped.setdefault(one.service.pool_name, []).append(number)
        else:
            yield None, [number]
    for name, numbers in grouped.items():
        yield setting.pools[name], numbers


def _entered(one: Contestant, entrant: Entrant, number: int, pool: Pool | None) -> tuple[Scaler, World, bool]:
    """Who decides for a Service, its world as the entrant's file has it, and whether its standby is its own."""
    if entrant.peer is not None:
        make: Callable[[Capacity, float, int], Scaler] = PEERS[entrant.peer].make
        return make(capacity(one.world, one.trace), entrant.share, one.world.replicas_start), one.world, False
    service = entrant.services[number]
    scaling = service.scaling
    standby = standby_of(pool, service) if pool is not None else service.standby or Standby()
    units = 0 if standby.auto else standby.slots if standby.slots is not None else standby.steps * scaling.step
    world = replace(
        one.world,
        standby=min(units, scaling.max),
        replicas_start=min(scaling.max, max(1, scaling.min)),
        replicas_max=scaling.max,
    )
    return PolicyScaler(replace(service, standby=standby)), world, service.standby is not None


def capacity(world: World, trace: Trace) -> Capacity:
    """What a load test with the trace's mean request would have told the peers' users."""
    pace = world.pace
    count = len(trace)
    mean_input = sum(trace.input_tokens) / count
    mean_output = sum(trace.output_tokens) / count
    steps_s = mean_output * pace.step_s(batch=pace.concurrency, prefill_tokens=0) / pace.concurrency
    return Capacity(concurrency=pace.concurrency, requests_per_s=1 / (steps_s + mean_input * pace.prefill_s_per_token))
