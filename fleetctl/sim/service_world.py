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

import math
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Literal, Protocol

from fleetctl.decide.lines import ServiceLine, Signals, Starting
from fleetctl.errors import UsageError
from fleetctl.model.names import ServiceName
from fleetctl.rehearsal.batching import Pace
from fleetctl.sim.engine_model import EngineModel
from fleetctl.sim.fluctuation import percentile
from fleetctl.sim.scalers import Scaler, Wish
from fleetctl.sim.traces import Trace

GRACE_S = 3600.0
"""How long after the trace the last requests may still be served; several cold starts. What is left then is missed.
"""
REPLICAS_LIMIT = 10_000
"""Above any fleet of one service; a scaler that runs away is cut off here, visibly."""
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One part of a start: log-normal around its median. `spread` is the standard deviation of the logarithm."""

    name: str
    median_s: float
    spread: float = 0.25

    def draw(self, random: Random) -> float:
        return self.median_s * math.exp(self.spread * random.gauss(0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything but the traffic, the scaler and the seed. The defaults are a one-GPU replica of an 8B model."""

    pace: Pace = field(default_factory=Pace)
    gpus: int = 1
    cold_start: tuple[Stage, ...] = (
        Stage(name="procure", median_s=60.0),
        Stage(name="fetch", median_s=110.0),
        Stage(name="engine", median_s=100.0, spread=0.1),
    )
    standby_start: Stage = field(default_factory=lambda: Stage(name="wake", median_s=8.0, spread=0.1))
    replicas_start: int = 1
    """Ready when the trace begins."""
    replicas_max: int = 1000
    standby: int = 0
    """Units on standby, where the scaler does not say; that many are there when the trace begins."""
    standby_share: float = 0.5
    """Price of a unit on standby, in replicas."""
    tick_s: float = 5.0
    metric_delay_s: float = 2.0
    output_counted: Literal["completed", "generated"] = "completed"
    """Whose output tokens the signals count: those of requests that ended in the interval, as a gateway knows them, or
    all that were made in it, as engines count them. Over a while they are the same."""
    stock_outs: tuple[tuple[float, float], ...] = ()
    """Stretches, from and until, in which nothing can be launched."""
    reclaims_per_hour: float = 0.0
    """Of each ready replica, at random."""
    reclaim_notice_s: float = 30.0
    price_per_gpu_hour: float = 2.0
    wait_limit_s: float = 5.0
    """The promise: this long may a request wait for its first token, beyond the reading of its own prompt…"""
    promised_share: float = 0.99
    """…and this share of all requests must not wait longer."""

    @property
    def cold_start_s(self) -> float:
        """The sum of the stages' medians."""
        return sum(stage.median_s for stage in self.cold_start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The fleet from `at` until the next Moment."""

    at: float
    ready: int
    ordered: int
    """Ready and starting."""
    standby: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Seconds, nearest rank; infinite where so many were never served."""

    p50_s: float
    p95_s: float
    p99_s: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles":
        return cls(p50_s=percentile(values, 0.5), p95_s=percentile(values, 0.95), p99_s=percentile(values, 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it went. Hours are replica-hours within the trace's length."""

    requests: int
    completed: int
    within: int
    """Requests that waited no longer than promised."""
    kept: bool
    wait: Percentiles
    """Time to first token less the reading of the request's own prompt by an idle engine."""
    ttft: Percentiles
    replica_hours: float
    standby_hours: float
    """Of units while they stand by, at a whole replica."""
    gpu_hours: float
    """Of replicas, and of standby at its price share."""
    cost: float
    launches: int
    """Cold starts, those for the standby stock included."""
    wakes: int
    launches_failed: int
    reclaimed: int
    scale_actions: int
    """Ticks at which the wish changed what is ordered."""
    reversals: int
    """Scale actions in the other direction than the one before."""
    peak_ordered: int
    timeline: tuple[Moment, ...]

    @property
    def share_within(self) -> float:
        return self.within / self.requests if self.requests else 1.0


class Supply(Protocol):
    """Machines that a Service shares with others. `gpus` are those of one of its replicas."""

    def wake(self, now: float, gpus: int) -> bool:
        """Take them from what stands by. False: there are not that many."""
        ...

    def launch(self, now: float, gpus: int) -> bool:
        """Take them from what may still be rented. False: nothing is left."""
        ...

    def give_back(self, now: float, gpus: int) -> None:
        """A replica has ended."""
        ...

    def standing(self, gpus: int) -> int:
        """Replicas of that size that could be woken."""
        ...

    def keep(self, now: float, service: int, units: int, gpus: int) -> None:
        """A Service's wish: so many of its replicas are to stand by."""
        ...


def play(world: World, trace: Trace, scaler: Scaler, *, seed: int = 0) -> Report:
    """Play the whole trace. Raises `UsageError` for a wish below zero."""
    run = ServiceRun(world, trace, scaler, seed)
    run.play()
    return run.report()


class _Replica:
    """One replica's life. Numbers count from 0 in order of launch."""

    __slots__ = ("engine", "number", "ordered_at", "state")

    def __init__(self, number: int, ordered_at: float, pace: Pace) -> None:
        self.number = number
        self.ordered_at = ordered_at
        self.state = _STARTING
        self.engine = EngineModel(pace)


_STARTING, _READY, _DRAINING, _ENDED = range(4)
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
        self.first_token_at = array("d", [math.inf]) * len(trace)
        self.done_at = array("d", [math.inf]) * len(trace)
        self.starts = array("B", [0]) * len(trace)
        """How often each was given to a replica; more than once only after a reclaim."""

        self._engine_events: list[tuple[float, int]] = []
        """When, and the replica's number. An entry whose replica's `next_at` is another by then is void."""
        self._events: list[tuple[float, int, int, int]] = []
        """When, what, in order of making, and whose."""
        self._made = 0
        self._replicas: list[_Replica] = []
        self._serving: list[_Replica] = []
        """Ready ones, oldest first."""
        self._starting: list[_Replica] = []
        self._draining: list[_Replica] = []
        self._stock: list[float] = []
        """Since when each standby unit stands by."""
        self._refills: dict[int, float] = {}
        """When each standby unit that still boots was ordered."""
        self._queue: deque[int] = deque()

        self._arrived = 0
        self._input_tokens = 0
        self._completed = 0
        self._output_completed = 0
        # Sums of instants: the integral of the number in a place up to t is Σ left − Σ entered + number · t.
        self._arrivals_sum_s = 0.0
        self._done_sum_s = 0.0
        self._queued_sum_s = 0.0
        self._dequeued_sum_s = 0.0
        self._ended_generated = 0
        """Output tokens of engines that are gone."""
        self._measured: deque[tuple[float, Signals]] = deque()
        self._last_measure = (0.0, 0.0, 0.0, 0, 0, 0, 0)

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
                self._make_ready(self._new_replica(0.0), 0.0)
        if self._supply is None:
            self._stock = [0.0] * world.standby
        self._note(0.0)
        if world.metric_delay_s < world.tick_s:
            self._schedule(world.tick_s - world.metric_delay_s, _ON_MEASURE)
        else:
            self._schedule(world.tick_s, _ON_MEASURE)
        self._schedule(0.0, _ON_TICK)

    def step(self) -> bool:
        """Go on to `next_at` and through what happens there. False: the trace is over and served, or given up."""
        now, duration_s = self.next_at, self._trace.duration_s
        self._serve(now)
        if now > duration_s and (self._completed == len(self._trace) or now > duration_s + GRACE_S):
            return False
        _, what, _, whose = heappop(self._events)
        self._happen(now, what, whose)
        return True

    def close(self) -> None:
        """Nothing is billed any longer."""
        self._close_bills(self._trace.duration_s)

    def _serve(self, until: float) -> None:
        """Let requests arrive and engines work, up to and including `until`."""
        # The hot loop of a simulation of days: local names, no calls that can be spared.
        trace = self._trace
        arrivals_s, inputs, outputs = trace.arrivals_s, trace.input_tokens, trace.output_tokens
        events, replicas, serving, queue = self._engine_events, self._replicas, self._serving, self._queue
        first_token_at, done_at, starts = self.first_token_at, self.done_at, self.starts
        limit = self._world.pace.concurrency
        arrived, total = self._arrived, len(arrivals_s)
        arrival_at = arrivals_s[arrived] if arrived < total else math.inf
        while True:
            engine_at = events[0][0] if events else math.inf
            if engine_at <= arrival_at:
                if engine_at > until:
                    break
                number = heappop(events)[1]
                replica = replicas[number]
                engine = replica.engine
                if engine.next_at != engine_at:
                    continue
                began, done = engine.finish()
                for request in began:
                    if engine_at < first_token_at[request]:
                        first_token_at[request] = engine_at
                if done:
                    self._completed += len(done)
                    self._done_sum_s += engine_at * len(done)
                    for request in done:
                        done_at[request] = engine_at
                        self._output_completed += outputs[request]
                    if queue and replica.state == _READY:
                        while queue and engine.in_flight < limit:
                            request = queue.popleft()
                            self._dequeued_sum_s += engine_at
                            starts[request] += 1
                            engine.submit(engine_at, request, inputs[request], outputs[request])
                    elif replica.state == _DRAINING and not engine.in_flight:
                        engine.begin(engine_at)
                        self._end(replica, engine_at)
                        continue
                engine.begin(engine_at)
                if engine.next_at < math.inf:
                    heappush(events, (engine.next_at, number))
                continue
            if arrival_at > until:
                break
            request = arrived
            arrived += 1
            self._arrivals_sum_s += arrival_at
            self._input_tokens += inputs[request]
            least, chosen = limit, None
            for replica in serving:
                if replica.engine.in_flight < least:
                    least, chosen = replica.engine.in_flight, replica
                    if not least:
                        break
            if chosen is None:
                queue.append(request)
                self._queued_sum_s += arrival_at
            else:
                starts[request] += 1
                engine = chosen.engine
                if engine.submit(arrival_at, request, inputs[request], outputs[request]):
                    heappush(events, (engine.next_at, chosen.number))
                elif not least:
                    engine.begin(arrival_at)
                    heappush(events, (engine.next_at, chosen.number))
            arrival_at = arrivals_s[arrived] if arrived < total else math.inf
        self._arrived = arrived

    def _schedule(self, at: float, what: int, whose: int = -1) -> None:
        self._made += 1
        heappush(self._events, (at, what, self._made, whose))

    def _happen(self, now: float, what: int, whose: int) -> None:
        if what == _ON_TICK:
            self._tick(now)
            self._schedule(now + self._world.tick_s, _ON_TICK)
        elif what == _ON_MEASURE:
            self._measure(now)
            self._schedule(now + self._world.tick_s, _ON_MEASURE)
        elif what == _ON_STOCK:
            ordered_at = self._refills.pop(whose, None)
            if ordered_at is not None:
                self._replica_s += self._billed(ordered_at, now)
                self._stock.append(now)
        elif what == _ON_READY:
            replica = self._replicas[whose]
            if replica.state == _STARTING:
                self._starting.remove(replica)
                self._make_ready(replica, now)
        elif what == _ON_RECLAIM:
            replica = self._replicas[whose]
            if replica.state == _READY:
                self._drain(replica, now)
                self._reclaimed += 1
            self._schedule(now + self._world.reclaim_notice_s, _ON_KILL, whose)
        else:
            self._kill(self._replicas[whose], now)
        self._note(now)

    # What is seen.

    def _measure(self, now: float) -> None:
        """Take the signals of the interval since the measuring before; they are seen `metric_delay_s` later."""
        in_system = self._arrived - self._completed
        concurrency_s = self._done_sum_s - self._arrivals_sum_s + in_system * now
        queue_s = self._dequeued_sum_s - self._queued_sum_s + len(self._queue) * now
        if self._world.output_counted == "completed":
            output_tokens = self._output_completed
        else:
            output_tokens = self._ended_generated + sum(
                [replica.engine.generated(now) for replica in (*self._serving, *self._draining)]
            )
        last = self._last_measure
        this = (now, concurrency_s, queue_s, self._arrived, self._input_tokens, output_tokens, self._completed)
        self._last_measure = this
        span_s = now - last[0]
        # Differences of large sums may be a hair below zero.
        signals = Signals(
            concurrency=max(0.0, round((this[1] - last[1]) / span_s, 4)),
            queue=max(0.0, round((this[2] - last[2]) / span_s, 4)),
            arrivals=this[3] - last[3],
            input_tokens=this[4] - last[4],
            output_tokens=this[5] - last[5],
            completed=this[6] - last[6],
        )
        self._measured.append((now + self._world.metric_delay_s, signals))

    def _tick(self, now: float) -> None:
        signals = _NOTHING_KNOWN
        while self._measured and self._measured[0][0] <= now + 1e-6:
            signals = self._measured.popleft()[1]
        seen = ServiceLine(
            name=ServiceName(self._trace.note),
            ready=len(self._serving),
            starting=tuple([Starting(age_s=now - replica.ordered_at) for replica in self._starting]),
            draining=len(self._draining),
            standby=self._standing(),
            signals=signals,
        )
        self._carry_out(self._scaler.observe(now, seen), now)

    # What is done.

    def _carry_out(self, wish: Wish, now: float) -> None:
        if wish.desired < 0:
            raise UsageError(
                f"the scaler wants {wish.desired!r} replicas at {now:g} s",
                hint="a wish is a whole number of zero or more",
            )
        before = len(self._serving) + len(self._starting)
        desired = min(wish.desired, self._world.replicas_max, REPLICAS_LIMIT)
        if desired > before:
            self._add(desired - before, now)
        elif desired < before:
            self._remove(before - desired, now)
        ordered = len(self._serving) + len(self._starting)
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
            replica = self._new_replica(now)
            self._starting.append(replica)
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
        for _ in range(min(count, len(self._starting))):
            self._end(self._starting.pop(), now)
            count -= 1
        leaving = sorted(self._serving, key=lambda replica: (replica.engine.in_flight, -replica.number))[:count]
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

    def _new_replica(self, now: float) -> _Replica:
        replica = _Replica(len(self._replicas), now, self._world.pace)
        self._replicas.append(replica)
        return replica

    def _make_ready(self, replica: _Replica, now: float) -> None:
        replica.state = _READY
        self._serving.append(replica)
        if self._world.reclaims_per_hour > 0:
            life_s = self._reclaim_random.expovariate(self._world.reclaims_per_hour / _HOUR_S)
            self._schedule(now + life_s, _ON_RECLAIM, replica.number)
        self._feed(now)

    def _feed(self, now: float) -> None:
        """Give the queue to whoever has room."""
        trace, limit = self._trace, self._world.pace.concurrency
        touched: set[int] = set()
        while self._queue and self._serving:
            replica = min(self._serving, key=lambda replica: replica.engine.in_flight)
            if replica.engine.in_flight >= limit:
                break
            request = self._queue.popleft()
            self._dequeued_sum_s += now
            self.starts[request] += 1
            engine = replica.engine
            if engine.submit(now, request, trace.input_tokens[request], trace.output_tokens[request]):
                heappush(self._engine_events, (engine.next_at, replica.number))
            touched.add(replica.number)
        for number in sorted(touched):
            engine = self._replicas[number].engine
            if engine.next_at == math.inf:
                engine.begin(now)
                heappush(self._engine_events, (engine.next_at, number))

    def _drain(self, replica: _Replica, now: float) -> None:
        self._serving.remove(replica)
        self._draining.append(replica)
        replica.state = _DRAINING
        if not replica.engine.in_flight:
            self._end(replica, now)

    def _kill(self, replica: _Replica, now: float) -> None:
        """The end of a reclaim's notice: what has not ended by now starts anew elsewhere."""
        if replica.state != _DRAINING:
            return
        thrown = sorted(replica.engine.abort())
        self._queue.extendleft(reversed(thrown))
        self._queued_sum_s += now * len(thrown)
        self._end(replica, now)
        self._feed(now)

    def _end(self, replica: _Replica, now: float) -> None:
        if replica.state == _DRAINING:
            self._draining.remove(replica)
        replica.state = _ENDED
        if self._supply is not None:
            self._supply.give_back(now, self._world.gpus)
        self._ended_generated += replica.engine.generated(now)
        self._replica_s += self._billed(replica.ordered_at, now)

    # What is kept.

    def _billed(self, since: float, until: float) -> float:
        return max(0.0, min(until, self._trace.duration_s) - since)

    def _close_bills(self, end_s: float) -> None:
        for replica in self._replicas:
            if replica.state != _ENDED:
                self._replica_s += self._billed(replica.ordered_at, end_s)
        self._replica_s += sum(self._billed(since, end_s) for since in self._refills.values())
        self._standby_s += sum(self._billed(since, end_s) for since in self._stock)

    def _note(self, now: float) -> None:
        ready = len(self._serving)
        ordered = ready + len(self._starting)
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
        prefill_s = self._world.pace.prefill_s_per_token
        trace = self._trace
        return [
            first - arrival_s - prefill_s * tokens
            for first, arrival_s, tokens in zip(self.first_token_at, trace.arrivals_s, trace.input_tokens, strict=True)
        ]

    def report(self) -> Report:
        world, requests = self._world, len(self._trace)
        waits = self.waits()
        limit_s = world.wait_limit_s
        within = sum([wait_s <= limit_s for wait_s in waits])
        replica_hours, standby_hours = self._replica_s / _HOUR_S, self._standby_s / _HOUR_S
        gpu_hours = world.gpus * (replica_hours + world.standby_share * standby_hours)
        return Report(
            requests=requests,
            completed=self._completed,
            within=within,
            kept=within >= world.promised_share * requests,
            wait=Percentiles.of(waits),
            ttft=Percentiles.of(
                [first - at for first, at in zip(self.first_token_at, self._trace.arrivals_s, strict=True)]
            ),
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


_NOTHING_KNOWN = Signals()
