"""What the engine has counted, written as vLLM writes it at `/metrics`.

Names, labels, help texts and buckets are those of vLLM's `v1/metrics/loggers.py`
(`num_requests_waiting_by_reason` since pull request 38435).
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_E2E_BOUNDS_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)

GARBAGE = b'\x00\xff<html>502 Bad Gateway</html>\nvllm:num_requests_running{engine="0" NaNaN\nvllm:num_requests_wai'
"""What `--garbage-metrics` serves: not UTF-8, not an exposition, cut off in a name that a scraper looks for."""


class Histogram:
    """Counts of observed seconds, by upper bound."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def samples(self, name: str, labels: Mapping[str, str]) -> Iterator[str]:
        below = 0
        for bound, count in zip((*map(repr, self._bounds_s), "+Inf"), self._counts, strict=True):
            below += count
            yield _sample(f"{name}_bucket", {**labels, "le": bound}, below)
        yield _sample(f"{name}_count", labels, below)
        yield _sample(f"{name}_sum", labels, self._sum_s)


@dataclass(slots=True, kw_only=True)
class Tally:
    """Everything that only grows while the engine lives."""

    prompt_tokens: int = 0
    """Of prompts read to their end."""
    generation_tokens: int = 0
    finished: dict[str, int] = field(default_factory=lambda: {"stop": 0, "length": 0, "abort": 0})
    """Requests ended, by reason."""
    ttft_s: Histogram = field(default_factory=lambda: Histogram(_TTFT_BOUNDS_S))
    e2e_s: Histogram = field(default_factory=lambda: Histogram(_E2E_BOUNDS_S))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What goes up and down: requests in the batch, requests that wait for it, and the share of KV memory in use."""

    running: int
    waiting: int
    kv_usage: float


def expose(tally: Tally, load: Load, *, model: str) -> bytes:
    """The whole exposition, in Prometheus's text format 0.0.4."""
    labels = {"engine": "0", "model_name": model}
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, samples: Iterator[str]) -> None:
        lines.append(f"# HELP {name} {text}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(samples)

    def plain(name: str, kind: str, text: str, value: float) -> None:
        metric(name, kind, text, iter((_sample(name, labels, value),)))

    plain("vllm:num_requests_running", "gauge", "Number of requests in model execution batches.", load.running)
    plain("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.", load.waiting)
    name = "vllm:num_requests_waiting_by_reason"
    reasons = (("capacity", load.waiting), ("deferred", 0))
    by_reason = (_sample(name, {**labels, "reason": reason}, count) for reason, count in reasons)
    metric(name, "gauge", "Number of waiting requests by reason.", by_reason)
    plain("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", load.kv_usage)
    plain("vllm:prompt_tokens_total", "counter", "Number of prefill tokens processed.", tally.prompt_tokens)
    text = "Number of generation tokens processed."
    plain("vllm:generation_tokens_total", "counter", text, tally.generation_tokens)
    name = "vllm:request_success_total"
    finished = (_sample(name, {**labels, "finished_reason": reason}, count) for reason, count in tally.finished.items())
    metric(name, "counter", "Count of successfully processed requests.", finished)
    name = "vllm:time_to_first_token_seconds"
    metric(name, "histogram", "Histogram of time to first token in seconds.", tally.ttft_s.samples(name, labels))
    name = "vllm:e2e_request_latency_seconds"
    metric(name, "histogram", "Histogram of e2e request latency in seconds.", tally.e2e_s.samples(name, labels))
    return ("\n".join(lines) + "\n").encode()


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    written = ",".join(f'{label}="{_escaped(of)}"' for label, of in sorted(labels.items()))
    return f"{name}{{{written}}} {float(value)!r}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
