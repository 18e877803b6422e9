"""What came and went since the tick before, out of counters that only grow, or begin anew."""

from collections.abc import Mapping, Sequence

from fleetctl.decide.histograms import grown, together
from fleetctl.model.names import ReplicaId
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.signals import EngineTally, Flow, Histogram, Load, QueueStats, Reading, Tally, Unknown

MEAN_OVER_REQUESTS = 200.0
"""The mean prompt moves within about so many requests: a minute of a busy service, and calm enough for a quiet one."""


def measured(
    before: Tally | None,
    replicas: Sequence[Replica],
    readings: Mapping[ReplicaId, Reading | Unknown],
    queue: QueueStats | Unknown | None,
    load: Load | Unknown,
    now: float,
    *,
    latencies: bool = False,
) -> tuple[Flow, Tally]:
    """The Flow since `before`, and the counters to go on from.

    A counter that went backwards belongs to an engine or a gateway that was started anew: what it shows came since.
    An engine that is silent keeps its counters until it is read again; its tokens then come late, and are not lost.
    `latencies`: count the times that requests took, too. The gateway's are taken where there is one: they begin when a
    request came, an engine's when it came there.
    """
    engines = tuple(
        _engine(replica.id, readings.get(replica.id), before)
        for replica in replicas
        if replica.phase is ReplicaPhase.READY
    )
    stats = queue if isinstance(queue, QueueStats) else None
    concurrency = load.low if isinstance(load, Load) and not load.unknown else None
    if before is None:
        tally = Tally(
            at=now,
            arrived=stats.arrived if stats else None,
            completed=stats.completed if stats else None,
            concurrency=concurrency,
            engines=engines,
            ttft=stats.ttft if stats else None,
            end_to_end=stats.end_to_end if stats and latencies else None,
            input_tokens=stats.input_tokens if stats else None,
            output_tokens=stats.output_tokens if stats else None,
        )
        return Flow(), tally
    span_s = now - before.at
    old = {one.replica: one for one in before.engines}
    read = [(one, old.get(one.replica)) for one in engines]
    prompts = _sum([_grown(one.input_tokens, was.input_tokens if was else 0.0) for one, was in read])
    outputs = _sum([_grown(one.output_tokens, was.output_tokens if was else 0.0) for one, was in read])
    ended = _sum([_grown(one.completed, was.completed if was else 0.0) for one, was in read])
    completed = _grown(stats.completed, before.completed) if stats and before.completed is not None else ended
    arrivals = _grown(stats.arrived, before.arrived) if stats and before.arrived is not None else None
    if queue is None and ended is not None and concurrency is not None and before.concurrency is not None:
        # No gateway: who came is who left, and by how much the crowd has grown.
        arrivals = max(0.0, ended + concurrency - before.concurrency)
    if stats and prompts is None and outputs is None:
        # Engines whose metrics say nothing of tokens may say it with each answer, and the gateway counts that.
        prompts = _grown(stats.input_tokens, before.input_tokens)
        outputs = _grown(stats.output_tokens, before.output_tokens)
    mean = _mean(before.tokens_per_prompt, prompts, completed)
    tally = Tally(
        at=now,
        arrived=stats.arrived if stats else before.arrived,
        completed=stats.completed if stats else before.completed,
        concurrency=concurrency,
        engines=engines,
        tokens_per_prompt=mean,
        ttft=stats.ttft if stats else before.ttft,
        end_to_end=(stats.end_to_end if stats else before.end_to_end) if latencies else None,
        input_tokens=stats.input_tokens if stats else before.input_tokens,
        output_tokens=stats.output_tokens if stats else before.output_tokens,
    )
    ttft = end_to_end = None
    if latencies and stats:
        ttft, end_to_end = grown(stats.ttft, before.ttft), grown(stats.end_to_end, before.end_to_end)
    elif latencies and queue is None:
        ttft = _together([_since(one.ttft, was.ttft if was else None, new=was is None) for one, was in read])
        end_to_end = _together(
            [_since(one.end_to_end, was.end_to_end if was else None, new=was is None) for one, was in read]
        )
    flow = Flow(
        span_s=span_s,
        arrivals=arrivals,
        input_tokens=_asked(arrivals, mean),
        output_tokens=outputs,
        read_tokens=prompts,
        completed=completed,
        ttft=ttft,
        end_to_end=end_to_end,
    )
    return flow, tally


def _engine(replica: ReplicaId, reading: Reading | Unknown | None, before: Tally | None) -> EngineTally:
    if isinstance(reading, Reading):
        return EngineTally(
            replica=replica,
            input_tokens=reading.input_tokens,
            output_tokens=reading.output_tokens,
            completed=reading.completed,
            ttft=reading.ttft,
            end_to_end=reading.end_to_end,
        )
    known = next((one for one in before.engines if one.replica == replica), None) if before else None
    return known or EngineTally(replica=replica)


def _grown(now: float | None, before: float | None) -> float | None:
    """By how much a counter has grown; one that was never read before says nothing yet."""
    if now is None or before is None:
        return None
    return now - before if now >= before else now


def _since(now: Histogram | None, before: Histogram | None, *, new: bool) -> Histogram | None:
    """What came since; all that an engine shows when it is seen for the first time."""
    return now if new else grown(now, before)


def _together(parts: Sequence[Histogram | None]) -> Histogram | None:
    """All as one; None: one of them is unknown, and may be the slow one. No engine at all has answered nobody."""
    known = [part for part in parts if part is not None]
    return together(known) if len(known) == len(parts) else None


def _sum(parts: Sequence[float | None]) -> float | None:
    """The sum of what is known; None: nothing is. No engine at all has made nothing."""
    known = [part for part in parts if part is not None]
    return float(sum(known)) if known or not parts else None


def _asked(arrivals: float | None, mean: float | None) -> float | None:
    """Prompt tokens of those who came: nobody asks for nothing, however long prompts may be."""
    if arrivals == 0:
        return 0.0
    return None if arrivals is None or mean is None else arrivals * mean


def _mean(before: float | None, tokens: float | None, requests: float | None) -> float | None:
    """Prompt tokens per request, moved by what was read and by how many ended meanwhile."""
    if tokens is None or not requests or tokens <= 0:
        return before
    if before is None:
        return tokens / requests
    weight = min(1.0, requests / MEAN_OVER_REQUESTS)
    return before + weight * (tokens / requests - before)
