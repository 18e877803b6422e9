"""`python -m fleetctl.sim.replay`: a replay as a process of its own, with its events on stdout."""

import argparse
import asyncio
import ipaddress
import math
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

import msgspec

from fleetctl.errors import FleetError, UsageError
from fleetctl.sim.asking import Answer
from fleetctl.sim.fluctuation import fluctuation
from fleetctl.sim.replay import GRACE_S, IN_FLIGHT_LIMIT, Progress, ReplayResult, SteadyClock, replay
from fleetctl.sim.traces import REQUESTS_LIMIT, Trace, read_trace
from fleetctl.sim.traffic import DEMO_REQUESTS_LIMIT, demo_traffic, for_demo


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The first line of `-o json`."""

    event: str = "begin"
    requests: int
    duration_s: float
    mean_per_s: float
    peak_to_mean_10s: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The last line of `-o json`. A figure for which nothing was answered is null."""

    event: str = "summary"
    requests: int
    failed: int
    failures: Mapping[str, int]
    duration_s: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    lag_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The only line of `-o json` when the replay cannot begin."""

    event: str = "error"
    code: str
    message: str
    hint: str


def summary(result: ReplayResult) -> Summary:
    return Summary(
        requests=result.requests,
        failed=result.failed,
        failures=result.failures,
        duration_s=result.duration_s,
        ttft_p50_s=result.ttft_percentile_s(0.5),
        ttft_p95_s=result.ttft_percentile_s(0.95),
        ttft_p99_s=result.ttft_percentile_s(0.99),
        latency_p50_s=result.latency_percentile_s(0.5),
        latency_p95_s=result.latency_percentile_s(0.95),
        latency_p99_s=result.latency_percentile_s(0.99),
        lag_max_s=result.lag_max_s,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: all requests were answered; 1: some were not; 2: the command is wrong; 143: it was ended."""
    options = _parser().parse_args(arguments)
    try:
        if not options.allow_remote:
            _loopback_only(options.url)
        return asyncio.run(_main(options, _trace(options)))
    except FleetError as error:
        if options.output == "json":
            _write(_STDOUT, msgspec.json.encode(Refusal(code=error.code, message=error.message, hint=error.hint)))
        _write(_STDERR, f"replay: {error.message}{error.hint and f'; {error.hint}'}".encode())
        return error.exit_code
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _main(options: argparse.Namespace, trace: Trace) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    def say(event: Beginning | Progress | Answer | Summary) -> None:
        try:
            if options.output == "json":
                _write(_STDOUT, msgspec.json.encode(event))
            elif not isinstance(event, Answer):
                _write(_STDOUT if isinstance(event, Summary) else _STDERR, _sentence(event).encode())
        except BrokenPipeError:
            task.cancel()  # nobody reads any more, so nobody wants the load either

    figures = fluctuation(trace)
    say(
        Beginning(
            requests=len(trace),
            duration_s=trace.duration_s * options.time_scale,
            mean_per_s=figures.mean_per_s / options.time_scale,
            peak_to_mean_10s=figures.peak_to_mean_10s,
            note=trace.note,
        )
    )
    result = await replay(
        trace,
        options.url,
        options.model,
        clock=SteadyClock(),
        stream=not options.no_stream,
        exact=not options.inexact,
        time_scale=options.time_scale,
        limit_in_flight=options.limit_in_flight,
        grace_s=options.grace_s,
        on_event=say,
    )
    if options.answers:
        for answer in result.answers:
            say(answer)
    say(summary(result))
    return 1 if result.failed else 0


def _sentence(event: Beginning | Progress | Summary) -> str:
    match event:
        case Beginning():
            return f"{event.requests} requests in {event.duration_s:.0f} s: {event.note}"
        case Progress():
            ttft = "" if event.ttft_p95_s is None else f", TTFT p95 {event.ttft_p95_s:.2f} s"
            counts = f"{event.sent} sent, {event.done} done, {event.failed} failed, {event.in_flight} in flight"
            return f"{event.t_s:6.1f} s  {counts}{ttft}"
        case Summary():
            reasons = "".join(f", {count} × {reason}" for reason, count in event.failures.items())
            return (
                f"{event.requests} requests, {event.failed} failed{reasons}\n"
                f"TTFT     p50 {event.ttft_p50_s:.3f} s, p95 {event.ttft_p95_s:.3f} s, p99 {event.ttft_p99_s:.3f} s\n"
                f"latency  p50 {event.latency_p50_s:.3f} s, p95 {event.latency_p95_s:.3f} s, "
                f"p99 {event.latency_p99_s:.3f} s"
            )
        case _:
            assert_never(event)


_STDOUT, _STDERR = 1, 2


def _write(descriptor: int, line: bytes) -> None:
    """Past the buffers of `sys.stdout`: each line is seen at once, and none is left to fail at exit."""
    rest = line + b"\n"
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _loopback_only(url: str) -> None:
    host = urlsplit(url).hostname or ""
    try:
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass  # a name
    raise UsageError(
        f"{url} is not on this machine, and a replay is load",
        hint="add --allow-remote if the endpoint is yours and may be loaded",
    )


def _trace(options: argparse.Namespace) -> Trace:
    if options.trace is None:
        return demo_traffic(
            options.seed,
            options.duration_s,
            rate_scale=options.rate_scale,
            input_scale=options.input_scale,
            output_scale=options.output_scale,
            requests_limit=options.requests_limit,
        )
    return for_demo(
        read_trace(options.trace),
        options.duration_s,
        seed=options.seed,
        input_scale=options.input_scale,
        output_scale=options.output_scale,
        requests_limit=options.requests_limit,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fleetctl.sim.replay",
        description="Replay minutes of traffic against an OpenAI-compatible endpoint and measure the answers.",
    )
    add = parser.add_argument
    add("--url", required=True, help="where the endpoint is, such as http://127.0.0.1:8080")
    add("--model", required=True, metavar="NAME", help="`model` of every request")
    add("--trace", type=Path, metavar="FILE", help="a recorded trace, CSV or CSV.gz; default: traffic made of --seed")
    add("--seed", type=int, default=0, metavar="N", help="of made traffic, and of thinning (default: 0)")
    add("--duration-s", type=_above_zero, default=100.0, metavar="S", help="how much of it (default: 100)")
    add("--rate-scale", type=_above_zero, default=1.0, metavar="X", help="multiplies the rate of made traffic")
    add("--input-scale", type=_above_zero, default=0.1, metavar="X", help="multiplies prompts (default: 0.1)")
    add("--output-scale", type=_above_zero, default=2.0, metavar="X", help="multiplies answers (default: 2)")
    add("--requests-limit", type=_count, default=DEMO_REQUESTS_LIMIT, metavar="N", help="thin to it (default: 1500)")
    add("--time-scale", type=_above_zero, default=1.0, metavar="X", help="multiplies arrival times (default: 1)")
    add("--limit-in-flight", type=_count, default=IN_FLIGHT_LIMIT, metavar="N", help="(default: 900)")
    add("--grace-s", type=_above_zero, default=GRACE_S, metavar="S", help="wait this long at the end (default: 60)")
    add("--no-stream", action="store_true", help="ask for whole answers")
    add("--inexact", action="store_true", help="let answers be shorter than asked, as real models' are")
    add("--allow-remote", action="store_true", help="let the endpoint be on another machine")
    add("--answers", action="store_true", help="with -o json: a line for every request, before the summary")
    add("-o", "--output", choices=("text", "json"), default="text", help="json: one object per line")
    return parser


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 < value <= REQUESTS_LIMIT:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {REQUESTS_LIMIT:,}")
    return value
