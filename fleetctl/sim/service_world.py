"""A world of one Service in virtual time: requests, a central queue, replicas that boot, serve, drain and are billed.

Requests come as a Trace says. They stand in one queue, first come first served, and each goes to the replica with the
fewest in flight (ties: the oldest replica) while that has fewer than `Pace.concurrency`. Engines are
`engine_model.EngineModel`s. Every `tick_s` the scaler is shown what the fleet is now and what was measured up to
`metric_delay_s` ago, and its wish is carried out at once:

* more: from the standby stock while there is any (ready after `standby_start`), then by cold starts;
* less: those still starting go first, the youngest first; then the ready ones with the fewest in flight (ties: the
  youngest), which get nothing new, end what they have, and cannot be called back;
* standby: missing units are ordered by a cold start; surplus ones are given back.

Billing is from order to termination, booting and draining included, and stops when the Trace ends. A standby unit
is billed in full while it boots and at `standby_share` of a replica while it stands by. In a stock-out every launch
fails and is tried again at the next tick; standby units still wake. A reclaimed spot replica gets a notice, takes
nothing new, and what it has not ended by then goes back to the head of the queue, to be read again from the start.

Same world, trace, scaler and seed: the same Report, to the byte.
"""

from heapq import heappop, heappush
from random import Random

from fleetctl.decide.lines import ServiceLine, Starting
from fleetctl.errors import UsageError
from fleetctl.model.names import ServiceName
from fleetctl.sim.meters import Meter
from fleetctl.sim.replicas import DRAINING, ENDED, READY, STARTING, Replica, Replicas
from fleetctl.sim.reports import Moment, Percentiles, Report
from fleetctl.sim.request_flow import RequestFlow
from fleetctl.sim.scalers import Scaler, Wish
from fleetctl.sim.supplies import Supply
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import World

GRACE_S = 3600.0
"""How long after the trace the last requests may still be served; several cold starts. What is left then is missed."""
REPLICAS_LIMIT = 10_000
"""Above any fleet of one service; a scaler that runs away is cut off here, visibly."""
_HOUR_S = 3600.0


def play(world: World, trace: Trace, scaler: Scaler, *, seed: int = 0) -> Report:
    """Play the whole trace. Raises `UsageError` for a wish below zero."""
    run = ServiceRun(world, trace, scaler, seed)
    run.play()
    return run.report()


_ON_READY, _ON_RECLAIM, _ON_KILL, _ON_STOCK, _ON_MEASURE, _ON_TICK = range(6)
"""In this order at the same instant: a tick sees what is ready by then."""


class ServiceRun:
    """One run. `play` it once; afterwards each request's times stand in `first_token_at` and `done_at`.

    Instead of `play`, someone with a clock of its own calls `begin`, then `step` at each `next_at` until that says that
    it is over, then `close`. With a `supply`, machines and standby are that one's, and so are the bills of the standby.
    """

    def __init__(
        self,
        world: World,
        trace: Trace,
        scaler: Scaler,
        seed: int = 0,
        *,
        supply: Supply | None = None,
        number: int = 0,
    ) -> None:
        self._world = world
        self._supply = supply
        self._number = number
        """Which Service of its supply this is."""
        self._trace = trace
        self._scaler = scaler
        self._cold_random = Random(f"{seed} cold start")
        self._wake_random = Random(f"{seed} standby start")
        self._reclaim_random = Random(f"{seed} reclaim")
        self._replicas = Replicas()
        self._flow = RequestFlow(trace, world.pace, self._replicas, drained=self._end)
        self.first_token_at, self.done_at, self.starts = (
            self._flow.first_token_at,
            self._flow.done_at,
            self._flow.starts,
        )
        self._meter = Meter(self._flow, delay_s=world.metric_delay_s, output_counted=world.output_counted)
        self._events: list[tuple[float, int, int, int]] = []
        """When, what, in order of making, and whose."""
        self._made = 0
        self._stock: list[float] = []
        """Since when each standby unit stands by."""
        self._refills: dict[int, float] = {}
        """When each standby unit that still boots was ordered."""

        self._replica_s = 0.0
        self._standby_s = 0.0
        self._launches = self._wakes = self._launches_failed = self._reclaimed = 0
        self._scale_actions = self._reversals = self._direction = self._peak_ordered = 0
        self._timeline: list[Moment] = []

    # The course of time.

    def play(self) -> None:
        self.begin()
        while self.step():
            pass
        self.close()

    @property
    def next_at(self) -> float:
        """When something happens next that others could notice."""
        return self._events[0][0]

    def begin(self) -> None:
        world = self._world
        for _ in range(world.replicas_start):
            if self._supply is None or self._supply.launch(0.0, world.gpus):
                self._make_ready(self._replicas.order(0.0, world.pace), 0.0)
        if self._supply is None:
            self._stock = [0.0] * world.standby
        self._note(0.0)
        ahead_s = world.metric_delay_s if world.metric_delay_s < world.tick_s else 0.0
        self._schedule(world.tick_s - ahead_s, _ON_MEASURE)
        self._schedule(0.0, _ON_TICK)

    def step(self) -> bool:
        """Go on to `next_at` and through what happens there. False: the trace is over and served, or given up."""
        now, duration_s = self.next_at, self._trace.duration_s
        self._flow.serve(now)
        if now > duration_s and (self._flow.completed == len(self._trace) or now > duration_s + GRACE_S):
            return False
        _, what, _, whose = heappop(self._events)
        self._happen(now, what, whose)
        return True

    def close(self) -> None:
        """Nothing is billed any longer."""
        self._close_bills(self._trace.duration_s)

    def _schedule(self, at: float, what: int, whose: int = -1) -> None:
        self._made += 1
        heappush(self._events, (at, what, self._made, whose))

    def _happen(self, now: float, what: int, whose: int) -> None:
        if what == _ON_TICK:
            self._tick(now)
            self._schedule(now + self._world.tick_s, _ON_TICK)
        elif what == _ON_MEASURE:
            self._meter.measure(now)
            self._schedule(now + self._world.tick_s, _ON_MEASURE)
        elif what == _ON_STOCK:
            ordered_at = self._refills.pop(whose, None)
            if ordered_at is not None:
                self._replica_s += self._billed(ordered_at, now)
                self._stock.append(now)
        elif what == _ON_READY:
            replica = self._replicas.every[whose]
            if replica.state == STARTING:
                self._replicas.starting.remove(replica)
                self._make_ready(replica, now)
        elif what == _ON_RECLAIM:
            replica = self._replicas.every[whose]
            if replica.state == READY:
                self._drain(replica, now)
                self._reclaimed += 1
            self._schedule(now + self._world.reclaim_notice_s, _ON_KILL, whose)
        else:
            self._kill(self._replicas.every[whose], now)
        self._note(now)

    # What is seen.

    def _tick(self, now: float) -> None:
        seen = ServiceLine(
            name=ServiceName(self._trace.note),
            ready=len(self._replicas.serving),
            starting=tuple([Starting(age_s=now - replica.ordered_at) for replica in self._replicas.starting]),
            draining=len(self._replicas.draining),
            standby=self._standing(),
            signals=self._meter.seen(now),
        )
        self._carry_out(self._scaler.observe(now, seen), now)

    # What is done.

    def _carry_out(self, wish: Wish, now: float) -> None:
        if wish.desired < 0:
            raise UsageError(
                f"the scaler wants {wish.desired!r} replicas at {now:g} s",
                hint="a wish is a whole number of zero or more",
            )
        before = self._replicas.ordered
        desired = min(wish.desired, self._world.replicas_max, REPLICAS_LIMIT)
        if desired > before:
            self._add(desired - before, now)
        elif desired < before:
            self._remove(before - desired, now)
        ordered = self._replicas.ordered
        if ordered != before:
            direction = 1 if ordered > before else -1
            self._scale_actions += 1
            self._reversals += self._direction == -direction
            self._direction = direction
            self._peak_ordered = max(self._peak_ordered, ordered)
        self._keep_standby(self._world.standby if wish.standby is None else wish.standby, now)

    def _add(self, count: int, now: float) -> None:
        for _ in range(count):
            if self._wake(now):
                self._wakes += 1
                lead_s = self._world.standby_start.draw(self._wake_random)
            elif self._out_of_stock(now) or not (self._supply is None or self._supply.launch(now, self._world.gpus)):
                self._launches_failed += 1
                continue
            else:
                lead_s = self._cold_start_s()
            replica = self._replicas.order(now, self._world.pace)
            self._replicas.starting.append(replica)
            self._schedule(now + lead_s, _ON_READY, replica.number)

    def _wake(self, now: float) -> bool:
        """Take one unit from standby, if there is any."""
        if self._supply is not None:
            return self._supply.wake(now, self._world.gpus)
        if not self._stock:
            return False
        self._standby_s += self._billed(self._stock.pop(0), now)
        return True

    def _standing(self) -> int:
        return len(self._stock) if self._supply is None else self._supply.standing(self._world.gpus)

    def _remove(self, count: int, now: float) -> None:
        for _ in range(min(count, len(self._replicas.starting))):
            self._end(self._replicas.starting.pop(), now)
            count -= 1
        leaving = sorted(self._replicas.serving, key=lambda replica: (replica.engine.in_flight, -replica.number))[
            :count
        ]
        for replica in leaving:
            self._drain(replica, now)

    def _keep_standby(self, wanted: int, now: float) -> None:
        if self._supply is not None:
            self._supply.keep(now, self._number, wanted, self._world.gpus)
            return
        while len(self._stock) + len(self._refills) < wanted:
            if self._out_of_stock(now):
                self._launches_failed += 1
                break
            self._refills[self._made] = now
            self._schedule(now + self._cold_start_s(), _ON_STOCK, self._made)
        while self._refills and len(self._stock) + len(self._refills) > wanted:
            self._replica_s += self._billed(self._refills.popitem()[1], now)
        while len(self._stock) > wanted:
            self._standby_s += self._billed(self._stock.pop(), now)

    def _out_of_stock(self, now: float) -> bool:
        return any(since <= now < until for since, until in self._world.stock_outs)

    def _cold_start_s(self) -> float:
        self._launches += 1
        return sum([stage.draw(self._cold_random) for stage in self._world.cold_start])

    def _make_ready(self, replica: Replica, now: float) -> None:
        replica.state = READY
        self._replicas.serving.append(replica)
        if self._world.reclaims_per_hour > 0:
            life_s = self._reclaim_random.expovariate(self._world.reclaims_per_hour / _HOUR_S)
            self._schedule(now + life_s, _ON_RECLAIM, replica.number)
        self._flow.feed(now)

    def _drain(self, replica: Replica, now: float) -> None:
        self._replicas.serving.remove(replica)
        self._replicas.draining.append(replica)
        replica.state = DRAINING
        if not replica.engine.in_flight:
            self._end(replica, now)

    def _kill(self, replica: Replica, now: float) -> None:
        """The end of a reclaim's notice: what has not ended by now starts anew elsewhere."""
        if replica.state != DRAINING:
            return
        self._flow.throw_back(sorted(replica.engine.abort()), now)
        self._end(replica, now)
        self._flow.feed(now)

    def _end(self, replica: Replica, now: float) -> None:
        if replica.state == DRAINING:
            self._replicas.draining.remove(replica)
        replica.state = ENDED
        if self._supply is not None:
            self._supply.give_back(now, self._world.gpus)
        self._flow.forget_engine(replica, now)
        self._replica_s += self._billed(replica.ordered_at, now)

    # What is kept.

    def _billed(self, since: float, until: float) -> float:
        return max(0.0, min(until, self._trace.duration_s) - since)

    def _close_bills(self, end_s: float) -> None:
        for replica in self._replicas.every:
            if replica.state != ENDED:
                self._replica_s += self._billed(replica.ordered_at, end_s)
        self._replica_s += sum(self._billed(since, end_s) for since in self._refills.values())
        self._standby_s += sum(self._billed(since, end_s) for since in self._stock)

    def _note(self, now: float) -> None:
        ready = len(self._replicas.serving)
        ordered = self._replicas.ordered
        standby = self._standing()
        self._peak_ordered = max(self._peak_ordered, ordered)
        if self._timeline:
            last = self._timeline[-1]
            if last.ready == ready and last.ordered == ordered and last.standby == standby:
                return
            if last.at == now:
                self._timeline.pop()
        self._timeline.append(Moment(at=now, ready=ready, ordered=ordered, standby=standby))

    def waits(self) -> list[float]:
        """Seconds to the first token beyond the reading of the request's own prompt, in order of arrival."""
        return self._flow.waits()

    def report(self) -> Report:
        world, requests = self._world, len(self._trace)
        waits = self.waits()
        limit_s = world.wait_limit_s
        within = sum([wait_s <= limit_s for wait_s in waits])
        replica_hours, standby_hours = self._replica_s / _HOUR_S, self._standby_s / _HOUR_S
        gpu_hours = world.gpus * (replica_hours + world.standby_share * standby_hours)
        return Report(
            requests=requests,
            completed=self._flow.completed,
            within=within,
            kept=within >= world.promised_share * requests,
            wait=Percentiles.of(waits),
            ttft=Percentiles.of(self._flow.ttfts()),
            replica_hours=replica_hours,
            standby_hours=standby_hours,
            gpu_hours=gpu_hours,
            cost=gpu_hours * world.price_per_gpu_hour,
            launches=self._launches,
            wakes=self._wakes,
            launches_failed=self._launches_failed,
            reclaimed=self._reclaimed,
            scale_actions=self._scale_actions,
            reversals=self._reversals,
            peak_ordered=self._peak_ordered,
            timeline=tuple(self._timeline),
        )
