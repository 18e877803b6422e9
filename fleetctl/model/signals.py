"""Measured load, or unknown."""

from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.services import EngineMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Not measured, and why. Never zero, never "gone"."""

    reason: str
    since: float
    """Unix seconds."""
    hint: str = ""
    """What to do about it; empty: nothing, or nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Requests by how long something took. Counts that only grow, or, as a difference, those of an interval."""

    bounds_s: tuple[float, ...] = ()
    """Upper bounds, ascending."""
    counts: tuple[float, ...] = (0.0,)
    """One for each bound, of what took longer than the bound before; and one for what took longer than all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The load of one Replica, read from its engine's own metrics."""

    at: float
    running: float
    waiting: float
    input_tokens: float | None = None
    """Prompt tokens read since the engine started; None: it does not say."""
    output_tokens: float | None = None
    """Tokens made since the engine started."""
    completed: float | None = None
    """Requests ended since the engine started."""
    ttft: Histogram | None = None
    """Times to the first token since the engine started; None: not asked for, or it does not say."""
    end_to_end: Histogram | None = None
    """Likewise, to the last token."""
    gpu_utilization: float | None = None
    """Mean share of time that its GPUs were busy, in [0, 1]; None: not asked for, or nobody says."""

    @property
    def total(self) -> float:
        return self.running + self.waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One Replica whose load can be read."""

    replica: ReplicaId
    address: str
    """`host:port` of the engine's HTTP server."""
    engine: str
    metrics: EngineMetrics | None = None
    """Names for a `generic` engine; None: the engine's own."""
    latencies: bool = False
    """Read its histograms of times, too."""
    gpus: tuple[int, ...] | None = None
    """Read how busy these GPUs of its machine are, too; None: not wanted."""
    gpu_metrics_port: int | None = None
    """Where the machine's exporter of GPU metrics listens; None: the engine's own exposition is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """What the gateway holds for one Service."""

    at: float
    service: ServiceName
    queued: int
    oldest_wait_s: float
    in_flight: tuple[tuple[ReplicaId, int], ...]
    """Requests sent to each Replica and not yet answered."""
    arrived: int
    """Requests accepted since the gateway started."""
    completed: int
    failed: int
    """Accepted, then not answered by any Replica."""
    ttft: Histogram | None = None
    """From arrival to the first byte of the answer, since the gateway started; None: an older gateway."""
    end_to_end: Histogram | None = None
    """Likewise, to the end of the answer."""
    bands: tuple["QueuePart", ...] = ()
    """By priority, the first first; empty: an older gateway."""
    tenants: tuple["QueuePart", ...] = ()
    """By Tenant, those with most requests; the rest as one, `other`."""
    retries: int = 0
    """Times that a Replica failed a request and another was given it."""
    sheds: tuple[tuple[str, int], ...] = ()
    """Requests refused, by the reason that their clients were told."""
    prefix_hits: int = 0
    """Requests given to a Replica that had been given the beginning of their prompt before."""
    prefix_misses: int = 0
    inter_token: Histogram | None = None
    """Times between two parts of a streamed answer; None: not measured."""
    input_tokens: float | None = None
    """Of prompts, as engines told the gateway with their answers; None: they do not tell."""
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePart:
    """A part of a queue, at one moment."""

    name: str
    queued: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Starved:
    """Services that got a request while they had no Replica."""

    count: int
    """Such requests, at most one a second of each Service, since the gateway started."""
    services: tuple[ServiceName, ...] = ()
    """Whose they were, of those that the asker has not heard of yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is known of a Service's concurrency, in requests.

    `low` counts unknown Replicas as idle, `high` as full to the target; where nothing is unknown they are equal.
    """

    low: float
    high: float
    queued: float
    """Those of them that wait at the gateway, or, where a line says so, anywhere."""
    oldest_wait_s: float
    unknown: int
    """Ready Replicas whose load is not known."""
    waiting: float = 0.0
    """Those that wait inside engines, as far as these tell."""
    queued_known: bool = True
    """False: a line does not tell how many of them wait, and none are taken to."""
    queue_known: bool = True
    mean_over_s: float = 0.0
    """The load is a mean over so many seconds before the tick; 0: it is the load at the tick."""

    def nearest(self, wanted: float) -> float:
        """The possible concurrency that is nearest to `wanted`.

        With `wanted` = what the present Replicas are meant to carry, this is the HorizontalPodAutoscaler's rule for
        missing metrics: they count as 0 when scaling up and as 100 % of the target when scaling down.
        """
        return min(max(wanted, self.low), self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What came and went in the `span_s` seconds before a tick. None: unknown, never zero."""

    span_s: float = 0.0
    arrivals: float | None = None
    input_tokens: float | None = None
    """Of the requests that arrived."""
    output_tokens: float | None = None
    """Made in the interval, whoever they were for."""
    read_tokens: float | None = None
    """Prompt tokens that engines read in the interval, as they or the gateway counted them."""
    completed: float | None = None
    ttft: Histogram | None = None
    """Of those whose answer began; None: unknown, or no policy asks for it."""
    end_to_end: Histogram | None = None
    """Of those whose answer ended, likewise."""
    ttft_s: float | None = None
    """The percentile that the policy looks at, where a line tells it instead of a histogram."""
    end_to_end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilization:
    """How busy the GPUs of the ready Replicas are, as shares: `low` with silent ones idle, `high` with them full."""

    low: float
    high: float
    unknown: int = 0
    """Ready Replicas whose GPUs nobody tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideReading:
    """One signal from outside as it was last read."""

    name: str
    value: float | None
    """None: unknown, never zero."""
    why_unknown: str = ""
    at: float = 0.0
    """When it was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTally:
    """One engine's counters as last read."""

    replica: ReplicaId
    input_tokens: float | None = None
    output_tokens: float | None = None
    completed: float | None = None
    ttft: Histogram | None = None
    end_to_end: Histogram | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The counters of one Service as last read: what the next Flow is the difference to."""

    at: float
    arrived: int | None = None
    """The gateway's; None: there is none, or it did not answer."""
    completed: int | None = None
    concurrency: float | None = None
    engines: tuple[EngineTally, ...] = ()
    tokens_per_prompt: float | None = None
    """A slowly moving mean: engines count a prompt when they read it, which is later than it came."""
    ttft: Histogram | None = None
    """The gateway's."""
    end_to_end: Histogram | None = None
    input_tokens: float | None = None
    """The gateway's, as engines told it with their answers; None: they do not, or it is not needed."""
    output_tokens: float | None = None
