"""The controller's metrics in the Prometheus text format (0.0.4). What is unknown has no sample: it is not zero."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from fleetctl.host.measures import Histogram, LoopMeasures, Tick
from fleetctl.model.decisions import Decision

_PREFIX: Final = "fleetctl_"
Samples = Iterable[tuple[Mapping[str, str], float | None]]


def exposition(measures: LoopMeasures, *, now: float, version: str, resident_bytes: int) -> str:
    """All of it. `now` is the monotonic clock's; labels are names of the fleet and our own words."""
    made = _Text()
    made.family("build_info", "gauge", "The controller's version; always 1.", [({"version": version}, 1)])
    made.family("process_resident_bytes", "gauge", "Memory of the controller.", [({}, resident_bytes)])
    made.histogram(
        "tick_duration_seconds", "From the look at the world to the last action begun.", {(): measures.ticks}
    )
    made.family("tick_age_seconds", "gauge", "Since the last tick that ended.", [({}, measures.age_s(now))])
    made.family(
        "tick_period_seconds", "gauge", "Between two ticks, as the fleet's file has it.", [({}, measures.period_s)]
    )
    made.family(
        "tick_lag_seconds", "gauge", "How much later than its period the last tick began.", [({}, measures.lag_s)]
    )
    made.family("tick_lag_most_seconds", "gauge", "The largest such delay so far.", [({}, measures.lag_most_s)])
    made.family("tick_failures_total", "counter", "Ticks that failed because of the store.", [({}, measures.troubles)])
    last = measures.last
    made.family("lease_held", "gauge", "Whether this process is the one controller.", [({}, 0 if last is None else 1)])
    if last is not None:
        made.family("lease_fence", "gauge", "The number of its lease; grows with each holder.", [({}, last.fence)])
        _fleet(made, last)
    made.family(
        "actions_total", "counter", "Actions that ended, by what they were and how they ended.",
        [({"verb": verb, "outcome": outcome}, count) for (verb, outcome), count in sorted(measures.actions.items())],
    )  # fmt: skip
    made.family(
        "scrape_failures_total", "counter", "Replicas that were asked for their load and did not tell it.",
        [({"service": name}, count) for name, count in sorted(measures.scrape_failures.items())],
    )  # fmt: skip
    made.histogram(
        "start_seconds", "Starts of replicas, from the decision to the first tick that routes to it.", measures.starts,
        ("service", "origin", "outcome"),
    )  # fmt: skip
    made.histogram(
        "start_stage_seconds", "Stages of starts that went well.", measures.stages, ("service", "origin", "stage")
    )
    return made.text()


def _fleet(made: "_Text", last: Tick) -> None:
    each = last.decisions
    made.family("service_desired_replicas", "gauge", "Replicas that it shall have.", _by(each, lambda d: d.desired))
    made.family("service_ready_replicas", "gauge", "Replicas that serve.", _by(each, lambda d: d.ready))
    made.family(
        "service_booting_replicas", "gauge", "Replicas on their way.", _by(each, lambda d: max(0, d.current - d.ready))
    )
    made.family("service_queued", "gauge", "Requests that wait at the gateway.", _by(each, lambda d: d.queued))
    made.family("service_concurrency", "gauge", "Requests queued and running.", _by(each, lambda d: d.concurrency))
    made.family(
        "service_target_concurrency", "gauge", "Requests that each replica is kept at.", _by(each, lambda d: d.target)
    )
    made.family(
        "service_unknown_replicas", "gauge", "Ready replicas whose load is not known.", _by(each, lambda d: d.unknown)
    )
    made.family(
        "service_price_dollars_per_hour", "gauge", "Of its replicas at the desired count.",
        _by(each, lambda d: d.price_per_hour),
    )  # fmt: skip
    instances = tuple(last.instances)
    phases = Counter((str(one.pool), str(one.phase)) for one in instances if not one.over)
    made.family(
        "instances", "gauge", "Machines that are not over, by pool and phase.",
        [({"pool": pool, "phase": phase}, count) for (pool, phase), count in sorted(phases.items())],
    )  # fmt: skip
    billed = [one.offer.price_per_hour for one in instances if one.billed]
    made.family(
        "price_dollars_per_hour", "gauge", "Of all machines that are billed and whose price is known.",
        [({}, sum(price for price in billed if price is not None))],
    )  # fmt: skip
    made.family(
        "unpriced_instances", "gauge", "Billed machines without a known price.",
        [({}, sum(price is None for price in billed))],
    )  # fmt: skip
    made.family(
        "price_limit_dollars_per_hour", "gauge", "What the fleet may cost; absent: no limit.",
        [({}, last.max_cost_per_hour)],
    )  # fmt: skip
    made.family(
        "provider_unknown", "gauge", "Providers that could not be listed.",
        [({"provider": name}, 1) for name in last.silent_providers],
    )  # fmt: skip


def _by(decisions: Iterable[Decision], which: Callable[[Decision], float | None]) -> Samples:
    """A figure of each Service; None: unknown."""
    return [({"service": str(one.service)}, which(one)) for one in decisions]


class _Text:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, meaning: str, samples: Samples) -> None:
        self._head(name, kind, meaning)
        self._lines += [
            f"{_PREFIX}{name}{_labels(labels)} {float(value)!r}" for labels, value in samples if value is not None
        ]

    def histogram(self, name: str, meaning: str, found: Mapping[Any, Histogram], labels: tuple[str, ...] = ()) -> None:
        self._head(name, "histogram", meaning)
        for values, one in sorted(found.items()):
            given = dict(zip(labels, values, strict=True))
            below = 0
            for bound, count in zip((*map(str, one.bounds), "+Inf"), one.counts, strict=True):
                below += count
                self._lines.append(f"{_PREFIX}{name}_bucket{_labels({**given, 'le': bound})} {below}")
            self._lines.append(f"{_PREFIX}{name}_sum{_labels(given)} {one.total!r}")
            self._lines.append(f"{_PREFIX}{name}_count{_labels(given)} {below}")

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _head(self, name: str, kind: str, meaning: str) -> None:
        self._lines += [f"# HELP {_PREFIX}{name} {meaning}", f"# TYPE {_PREFIX}{name} {kind}"]


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
