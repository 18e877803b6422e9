"""The data plane's counts and histograms, in the Prometheus text format."""

from collections.abc import Callable, Iterable
from typing import Final

from fleetctl.gateway.measures import Histogram, PlaneMeasures, ServiceMeasures
from fleetctl.gateway.scheduler.views import LineView

_PREFIX: Final = "fleetctl_gateway_"


def exposition(measures: PlaneMeasures) -> str:
    """Labels are Services, replicas, tenants (the 50 largest) and our own words; never what a client sent."""
    lines: list[str] = []
    _whole(lines, measures)
    _queues(lines, measures.lines)
    _ends(lines, measures.lines)
    _answers(lines, measures.services)
    return "\n".join(lines) + "\n"


def _whole(lines: list[str], measures: PlaneMeasures) -> None:
    _single(lines, "held_bytes", "gauge", "Bytes of request bodies held.", [("", measures.held_bytes)])
    _single(lines, "client_connections", "gauge", "Open client connections.", [("", measures.client_connections)])
    _single(
        lines, "upstream_connections", "gauge", "Open connections to replicas.", [("", measures.upstream_connections)]
    )
    _single(lines, "unrouted_total", "counter", "Requests that no Service was found for.", [("", measures.unrouted)])
    _single(
        lines, "malformed_total", "counter", "Requests refused as malformed or too large.", [("", measures.malformed)]
    )
    _single(
        lines, "refused_total", "counter", "Answers of the gateway's own in place of a replica's, by their code.",
        [(f'code="{_escape(code)}"', count) for code, count in sorted(measures.refusals.items())],
    )  # fmt: skip
    _single(
        lines, "access_log_dropped_total", "counter", "Lines that the access log could not take.",
        [("", measures.log_dropped)],
    )  # fmt: skip


def _queues(lines: list[str], views: tuple[LineView, ...]) -> None:
    _single(lines, "queued", "gauge", "Requests waiting for a free slot.", [(_of(v), v.queued) for v in views])
    _single(
        lines, "queued_bytes", "gauge", "Bytes of their bodies.", [(_of(v), v.queued_bytes) for v in views]
    )  # fmt: skip
    _single(
        lines, "oldest_wait_seconds", "gauge", "How long the oldest of them has waited.",
        [(_of(v), v.oldest_wait_s) for v in views],
    )  # fmt: skip
    _single(
        lines, "wait_estimate_seconds", "gauge", "How long a request that came now would probably wait.",
        [(_of(v), v.wait_estimate_s) for v in views],
    )  # fmt: skip
    _single(
        lines, "in_flight", "gauge", "Requests that a replica is answering.",
        [(f'{_of(v)},replica="{_escape(replica)}"', count) for v in views for replica, count in v.in_flight],
    )  # fmt: skip
    _single(
        lines, "resting", "gauge", "Replicas that failed and were not found well yet.",
        [(_of(v), len(v.resting)) for v in views],
    )  # fmt: skip
    bands = [(f'{_of(v)},band="{_escape(one.band)}"', one) for v in views for one in v.bands]
    _single(
        lines, "band_queued", "gauge", "Requests waiting, by priority.", [(label, one.queued) for label, one in bands]
    )
    _single(
        lines,
        "band_in_flight",
        "gauge",
        "Requests running, by priority.",
        [(label, one.running) for label, one in bands],
    )
    _single(
        lines, "band_oldest_wait_seconds", "gauge", "How long the oldest of them has waited, by priority.",
        [(label, one.oldest_wait_s) for label, one in bands],
    )  # fmt: skip
    tenants = [(f'{_of(v)},tenant="{_escape(one.tenant)}"', one) for v in views for one in v.tenants]
    _single(
        lines, "tenant_queued", "gauge", "Requests waiting, by tenant; `other` is all beyond the 50 largest.",
        [(label, one.queued) for label, one in tenants],
    )  # fmt: skip
    _single(
        lines, "tenant_in_flight", "gauge", "Requests running, by tenant; `other` is all beyond the 50 largest.",
        [(label, one.running) for label, one in tenants],
    )  # fmt: skip


def _ends(lines: list[str], views: tuple[LineView, ...]) -> None:
    _single(
        lines, "requests_total", "counter", "Requests by how they ended.",
        [(f'{_of(v)},outcome="{outcome}"', count) for v in views for outcome, count in _outcomes(v)],
    )  # fmt: skip
    _single(
        lines, "sheds_total", "counter", "Requests that got no slot, by the code that their clients were told.",
        [(f'{_of(v)},reason="{_escape(reason)}"', count) for v in views for reason, count in v.sheds],
    )  # fmt: skip
    _single(
        lines, "retries_total", "counter", "Times a request went back to the queue because its replica failed it.",
        [(_of(v), v.retries) for v in views],
    )  # fmt: skip
    _single(
        lines, "prefix_hits_total", "counter", "Requests given to a replica that knew the beginning of their prompt.",
        [(_of(v), v.prefix_hits) for v in views],
    )  # fmt: skip
    _single(
        lines, "prefix_misses_total", "counter", "Requests given to a replica that did not.",
        [(_of(v), v.prefix_misses) for v in views],
    )  # fmt: skip


def _outcomes(view: LineView) -> tuple[tuple[str, int], ...]:
    return (
        ("answered", view.answered),
        ("failed", view.failed),
        ("expired", view.expired),
        ("cancelled", view.cancelled),
        ("refused", view.refused),
    )


def _answers(lines: list[str], services: tuple[ServiceMeasures, ...]) -> None:
    _single(
        lines, "input_tokens_total", "counter", "Tokens of prompts, as the engines counted them.",
        [(_of(s), s.input_tokens) for s in services],
    )  # fmt: skip
    _single(
        lines, "cached_tokens_total", "counter", "Of these, what an engine did not have to compute.",
        [(_of(s), s.cached_tokens) for s in services],
    )  # fmt: skip
    _single(
        lines, "output_tokens_total", "counter", "Tokens of answers, as the engines counted them, else events.",
        [(_of(s), s.output_tokens) for s in services],
    )  # fmt: skip
    _histogram(lines, "queue_wait_seconds", "From a request's arrival to its slot.", services, lambda s: s.wait)
    _histogram(
        lines, "ttft_seconds", "From a request's arrival to the first byte of its answer.", services, lambda s: s.ttft
    )
    _histogram(
        lines, "inter_token_seconds", "Between tokens of a stream: each request's mean, weighted by its tokens.",
        services, lambda s: s.inter_token,
    )  # fmt: skip
    _histogram(
        lines, "duration_seconds", "From a request's arrival to the end of its answer.", services, lambda s: s.duration
    )


def _single(lines: list[str], name: str, kind: str, meaning: str, samples: Iterable[tuple[str, float]]) -> None:
    lines.append(f"# HELP {_PREFIX}{name} {meaning}")
    lines.append(f"# TYPE {_PREFIX}{name} {kind}")
    for labels, value in samples:
        lines.append(f"{_PREFIX}{name}{{{labels}}} {value}" if labels else f"{_PREFIX}{name} {value}")


def _histogram(
    lines: list[str],
    name: str,
    meaning: str,
    services: Iterable[ServiceMeasures],
    which: Callable[[ServiceMeasures], Histogram],
) -> None:
    lines.append(f"# HELP {_PREFIX}{name} {meaning}")
    lines.append(f"# TYPE {_PREFIX}{name} histogram")
    for service in services:
        histogram, label = which(service), _of(service)
        below = 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            below += count
            lines.append(f'{_PREFIX}{name}_bucket{{{label},le="{bound}"}} {below}')
        lines.append(f"{_PREFIX}{name}_sum{{{label}}} {histogram.total}")
        lines.append(f"{_PREFIX}{name}_count{{{label}}} {below}")


def _of(one: ServiceMeasures | LineView) -> str:
    return f'service="{_escape(one.service)}"'


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
