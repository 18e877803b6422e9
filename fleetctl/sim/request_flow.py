"""Requests in virtual time: they come, stand in one queue, are given to replicas and served.

First come, first served; each goes to the replica with the fewest in flight (ties: the oldest one) while that has room.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Literal

from fleetctl.rehearsal.batching import Pace
from fleetctl.sim.replicas import DRAINING, READY, Replica, Replicas
from fleetctl.sim.traces import Trace


class RequestFlow:
    """The requests of one Trace. `drained` is told of a draining replica that has nothing left, and when.

    Afterwards each request's times stand in `first_token_at` and `done_at`: seconds, infinite where it never was.
    """

    def __init__(
        self, trace: Trace, pace: Pace, replicas: Replicas, *, drained: Callable[[Replica, float], None]
    ) -> None:
        self._trace = trace
        self._concurrency = pace.concurrency
        self._prefill_s = pace.prefill_s_per_token
        self._replicas = replicas
        self._drained = drained
        self.first_token_at = array("d", [math.inf]) * len(trace)
        self.done_at = array("d", [math.inf]) * len(trace)
        self.starts = array("B", [0]) * len(trace)
        """How often each was given to a replica; more than once only after a reclaim."""
        self.arrived = 0
        self.completed = 0

        self._queue: deque[int] = deque()
        self._engine_events: list[tuple[float, int]] = []
        """When, and the replica's number. An entry whose replica's `next_at` is another by then is void."""
        self._input_tokens = 0
        self._output_completed = 0
        # Sums of instants: the integral of the number in a place up to t is Σ left − Σ entered + number · t.
        self._arrivals_sum_s = 0.0
        self._done_sum_s = 0.0
        self._queued_sum_s = 0.0
        self._dequeued_sum_s = 0.0
        self._ended_generated = 0
        """Output tokens of engines that are gone."""

    def serve(self, until: float) -> None:
        """Let requests arrive and engines work, up to and including `until`."""
        # The hot loop of a simulation of days: local names, no calls that can be spared.
        trace = self._trace
        arrivals_s, inputs, outputs = trace.arrivals_s, trace.input_tokens, trace.output_tokens
        events, queue = self._engine_events, self._queue
        replicas, serving = self._replicas.every, self._replicas.serving
        first_token_at, done_at, starts = self.first_token_at, self.done_at, self.starts
        limit = self._concurrency
        arrived, total = self.arrived, len(arrivals_s)
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
                    self.completed += len(done)
                    self._done_sum_s += engine_at * len(done)
                    for request in done:
                        done_at[request] = engine_at
                        self._output_completed += outputs[request]
                    if queue and replica.state == READY:
                        while queue and engine.in_flight < limit:
                            request = queue.popleft()
                            self._dequeued_sum_s += engine_at
                            starts[request] += 1
                            engine.submit(engine_at, request, inputs[request], outputs[request])
                    elif replica.state == DRAINING and not engine.in_flight:
                        engine.begin(engine_at)
                        self._drained(replica, engine_at)
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
        self.arrived = arrived

    def feed(self, now: float) -> None:
        """Give the queue to whoever has room."""
        trace, limit = self._trace, self._concurrency
        touched: set[int] = set()
        while self._queue and self._replicas.serving:
            replica = min(self._replicas.serving, key=lambda replica: replica.engine.in_flight)
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
            engine = self._replicas.every[number].engine
            if engine.next_at == math.inf:
                engine.begin(now)
                heappush(self._engine_events, (engine.next_at, number))

    def throw_back(self, requests: Sequence[int], now: float) -> None:
        """They go to the head of the queue, in this order, to be read again from the start."""
        self._queue.extendleft(reversed(requests))
        self._queued_sum_s += now * len(requests)

    def forget_engine(self, replica: Replica, now: float) -> None:
        """It has ended; what it has made counts on."""
        self._ended_generated += replica.engine.generated(now)

    def totals(self, now: float, output_counted: Literal["completed", "generated"]) -> "Totals":
        """What has been since the beginning."""
        in_system = self.arrived - self.completed
        if output_counted == "completed":
            output_tokens = self._output_completed
        else:
            output_tokens = self._ended_generated + sum(
                [one.engine.generated(now) for one in (*self._replicas.serving, *self._replicas.draining)]
            )
        return (
            now,
            self._done_sum_s - self._arrivals_sum_s + in_system * now,
            self._dequeued_sum_s - self._queued_sum_s + len(self._queue) * now,
            self.arrived,
            self._input_tokens,
            output_tokens,
            self.completed,
        )

    def waits(self) -> list[float]:
        """Seconds to the first token beyond the reading of the request's own prompt, in order of arrival."""
        prefill_s, trace = self._prefill_s, self._trace
        return [
            first - arrival_s - prefill_s * tokens
            for first, arrival_s, tokens in zip(self.first_token_at, trace.arrivals_s, trace.input_tokens, strict=True)
        ]

    def ttfts(self) -> list[float]:
        """Seconds to the first token, in order of arrival."""
        return [first - at for first, at in zip(self.first_token_at, self._trace.arrivals_s, strict=True)]


Totals = tuple[float, float, float, int, int, int, int]
"""When; request-seconds in the system and in the queue; requests arrived; tokens in and out; requests completed."""
