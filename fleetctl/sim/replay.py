"""Replays a Trace over real HTTP against an OpenAI-compatible endpoint, and measures every answer.

The replay is open-loop: requests leave at their arrival times, however slow the answers are, and each is timed from
when it should have left, so that neither a slow endpoint nor a slow replayer can hide behind the other. A request
counts as answered only if all of its answer came. As a process of its own (`python -m fleetctl.sim.replay`) it keeps
the making of load away from the controller that the load is for.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urlsplit

import aiohttp

from fleetctl.errors import UsageError
from fleetctl.ports import Clock
from fleetctl.sim.asking import CONNECT_TIMEOUT_S, NOT_SENT, Answer, Asker
from fleetctl.sim.fluctuation import percentile
from fleetctl.sim.traces import Request, Trace

IN_FLIGHT_LIMIT = 900
"""When nothing answers, every request hangs on a socket; a process has 1,024 by default."""
GRACE_S = 60.0
"""After the last arrival. A minute covers a cold start of a rehearsal engine and the longest answer of a demo."""
PROGRESS_EVERY_S = 1.0
"""As often as a watcher can read."""
RECENT_S = 5.0
"""Progress speaks of the last few seconds: less has too few answers, more hides a burst."""
KEEPALIVE_S = 3.0
"""Below the five seconds after which uvicorn closes an idle connection; reusing one just then would fail a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a replay stands."""

    event: str = "progress"
    t_s: float
    """Since the replay began."""
    sent: int
    """Requests whose time has come."""
    done: int
    failed: int
    in_flight: int
    ttft_p50_s: float | None
    """Of the first texts of the last RECENT_S; None: there were none."""
    ttft_p95_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """Every request with its answer, in order of arrival. Times of failed requests are in no percentile."""

    duration_s: float
    answers: tuple[Answer, ...]

    @property
    def requests(self) -> int:
        return len(self.answers)

    @property
    def failed(self) -> int:
        return sum(1 for answer in self.answers if answer.failure)

    @property
    def failures(self) -> Mapping[str, int]:
        """How many failed of each reason, the most frequent first."""
        return dict(Counter(answer.failure for answer in self.answers if answer.failure).most_common())

    @property
    def ttfts_s(self) -> Sequence[float]:
        return [answer.ttft_s for answer in self.answers if not answer.failure and answer.ttft_s is not None]

    @property
    def latencies_s(self) -> Sequence[float]:
        return [answer.latency_s for answer in self.answers if not answer.failure]

    @property
    def lag_max_s(self) -> float:
        """Beyond some tens of milliseconds the replayer itself was too slow, and the figures are to be doubted."""
        return max((answer.lag_s for answer in self.answers), default=0.0)

    def ttft_percentile_s(self, share: float) -> float:
        """NaN when nothing was answered."""
        return percentile(self.ttfts_s, share)

    def latency_percentile_s(self, share: float) -> float:
        """NaN when nothing was answered."""
        return percentile(self.latencies_s, share)


class SteadyClock:
    """Unix time that never steps: read once, then carried on by the monotonic clock."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def now(self) -> float:
        return self._offset_s + time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def replay(
    trace: Trace,
    base_url: str,
    model: str,
    *,
    clock: Clock,
    stream: bool = True,
    exact: bool = True,
    time_scale: float = 1.0,
    limit_in_flight: int = IN_FLIGHT_LIMIT,
    grace_s: float = GRACE_S,
    on_event: Callable[[Progress], None] | None = None,
) -> ReplayResult:
    """Send the requests of `trace` to the chat endpoint under `base_url`, and wait for their answers.

    `time_scale` multiplies the arrival times: 0.5 takes half as long. `exact` wants as many tokens as were asked
    for, as rehearsal engines give; a real model may stop early, so without it any answer that ends well will do.
    A request above `limit_in_flight` is not sent, and what has no answer `grace_s` after the trace's end is given up;
    both count as failed. `on_event` is called about once a second, and once at the end.
    """
    if not (time_scale > 0 and limit_in_flight > 0 and grace_s >= 0):
        raise UsageError("a replay needs a time scale and a limit in flight above zero, and a grace that is not below")
    began_at = clock.now()
    run = _Run(clock=clock, began_at=began_at)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit_in_flight, keepalive_timeout=KEEPALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        headers={"Content-Type": "application/json"},
    ) as session:
        asker = Asker(
            session=session,
            url=_chat_url(base_url),
            model=model,
            stream=stream,
            exact=exact,
            clock=clock,
            deadline=asyncio.get_running_loop().time() + trace.duration_s * time_scale + grace_s,
            on_first=run.first_text,
        )
        async with asyncio.TaskGroup() as watch:
            watcher = watch.create_task(_watch(run, on_event)) if on_event else None
            async with asyncio.TaskGroup() as asked:
                for index, request in enumerate(trace):
                    due_at = began_at + request.arrival_s * time_scale
                    # Zero when late: the answers under way must get their turn even then.
                    await clock.sleep(max(0.0, due_at - clock.now()))
                    if run.in_flight < limit_in_flight:
                        asked.create_task(run.ask(asker, index, request, due_at))
                    else:
                        run.skip(index, request, due_at)
                    run.sent += 1
            if watcher:
                watcher.cancel()
        if on_event:
            on_event(run.progress())
    answers = tuple(run.answers[index] for index in range(len(trace)))
    return ReplayResult(duration_s=clock.now() - began_at, answers=answers)


async def _watch(run: "_Run", on_event: Callable[[Progress], None]) -> NoReturn:
    while True:  # until the replay ends and cancels it
        elapsed_s = run.clock.now() - run.began_at
        await run.clock.sleep(PROGRESS_EVERY_S - elapsed_s % PROGRESS_EVERY_S)
        on_event(run.progress())


@dataclass(slots=True, kw_only=True)
class _Run:
    """One replay under way."""

    clock: Clock
    began_at: float
    sent: int = 0
    failed: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)
    """By place in the Trace."""
    recent: deque[tuple[float, float]] = field(default_factory=deque)
    """When a first text came, and its TTFT; of the last RECENT_S."""

    @property
    def in_flight(self) -> int:
        return self.sent - len(self.answers)

    async def ask(self, asker: Asker, index: int, request: Request, due_at: float) -> None:
        self._record(index, await asker.ask(request, due_at))

    def skip(self, index: int, request: Request, due_at: float) -> None:
        lag_s = self.clock.now() - due_at
        answer = Answer(
            arrival_s=request.arrival_s, lag_s=lag_s, ttft_s=None, latency_s=lag_s, tokens=0, failure=NOT_SENT
        )
        self._record(index, answer)

    def first_text(self, ttft_s: float) -> None:
        self.recent.append((self.clock.now(), ttft_s))

    def progress(self) -> Progress:
        now = self.clock.now()
        while self.recent and self.recent[0][0] < now - RECENT_S:
            self.recent.popleft()
        ttfts_s = [ttft_s for _, ttft_s in self.recent]
        return Progress(
            t_s=round(now - self.began_at, 3),
            sent=self.sent,
            done=len(self.answers) - self.failed,
            failed=self.failed,
            in_flight=self.in_flight,
            ttft_p50_s=percentile(ttfts_s, 0.5) if ttfts_s else None,
            ttft_p95_s=percentile(ttfts_s, 0.95) if ttfts_s else None,
        )

    def _record(self, index: int, answer: Answer) -> None:
        self.answers[index] = answer
        self.failed += bool(answer.failure)


def _chat_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{base_url!r} is no address of an endpoint", hint="give one such as http://127.0.0.1:8080")
    base = base_url.rstrip("/")
    return f"{base}/chat/completions" if base.endswith("/v1") else f"{base}/v1/chat/completions"


if __name__ == "__main__":
    from fleetctl.sim.replay_command import main

    sys.exit(main())
