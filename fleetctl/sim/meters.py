"""What is measured of requests in virtual time, and seen a while later."""

from collections import deque
from typing import Literal

from fleetctl.decide.lines import Signals
from fleetctl.sim.request_flow import RequestFlow, Totals

_NOTHING_KNOWN = Signals()


class Meter:
    """Takes the signals of each interval; what was taken is seen `delay_s` later."""

    def __init__(self, flow: RequestFlow, *, delay_s: float, output_counted: Literal["completed", "generated"]) -> None:
        self._flow = flow
        self._delay_s = delay_s
        self._output_counted = output_counted
        self._taken: deque[tuple[float, Signals]] = deque()
        self._last: Totals = (0.0, 0.0, 0.0, 0, 0, 0, 0)

    def measure(self, now: float) -> None:
        """Take the signals of the interval since the measuring before."""
        last, this = self._last, self._flow.totals(now, self._output_counted)
        self._last = this
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
        self._taken.append((now + self._delay_s, signals))

    def seen(self, now: float) -> Signals:
        """The newest that can be seen by now and was not before; all unknown where there is none."""
        signals = _NOTHING_KNOWN
        while self._taken and self._taken[0][0] <= now + 1e-6:
            signals = self._taken.popleft()[1]
        return signals
