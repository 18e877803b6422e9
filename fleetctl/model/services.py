"""What the user declares: Services and Pools, complete (every default filled in) and in base units."""

from dataclasses import field
from enum import StrEnum
from typing import Literal

from fleetctl.model.names import PoolName, ProviderName, ServiceName
from fleetctl.model.nodes import Call
from fleetctl.model.outside import Signal
from fleetctl.model.records import dataclass

Loading = Literal["auto", "prefetch", "eager", "fast", "stream", "sharded"]
"""How an engine's weights come into the GPU's memory: `engines/loading.py`."""


class Tier(StrEnum):
    """How warm a Standby is, warmest first. Time to ready grows and price falls down the list."""

    HOT = "hot"
    """Engine loaded, idle."""
    ASLEEP = "asleep"
    """Engine process alive, weights off the GPU."""
    WARM = "warm"
    """Instance running, image and weights on disk, no engine."""
    STOPPED = "stopped"
    """Instance stopped, disk kept."""


class Market(StrEnum):
    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """`count` GPUs of one product, as in `L40S:2`. `name` is upper case; `ANY` matches every product."""

    name: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.name}:{self.count}"


def same_product(wanted: str, held: str) -> bool:
    """Whether a GPU called `held` is what `wanted` asks for: `A100` is A100-40GB and A100-80GB too, `ANY` is all."""
    return "ANY" in (wanted, held) or held == wanted or held.startswith(f"{wanted}-")


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePolicy:
    """At most `value` replicas (or per cent of the replicas) may be added or removed in any `period_s` seconds."""

    kind: Literal["replicas", "percent"]
    value: int
    period_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """One direction of scaling, shaped as the HorizontalPodAutoscaler's `behavior` (Kubernetes autoscaling/v2).

    `select` takes the policy that allows the largest change (`max`), the smallest (`min`), or forbids the direction
    (`disabled`). No policies: no rate limit.
    """

    stabilization_s: float = 0.0
    policies: tuple[RatePolicy, ...] = ()
    select: Literal["max", "min", "disabled"] = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many Replicas a Service may have and how it moves between them. Durations in seconds, shares in [0, 1]."""

    min: int = 0
    max: int = 1
    step: int = 1
    """Replicas are added in multiples of this, and the Standby of a Pool is sized in it."""
    preset: str = "auto"
    """The YAML file in `policies/` that the values below came from, for people."""
    policy: str = "auto"
    """The rule in `decide/policies/`."""
    replicas: int | None = None
    """The count of the `fixed` policy."""
    queued: float = 5.0
    """Requests that may wait for each Replica: the policy `queue_depth`'s."""
    requests_per_second: float | None = None
    """Arrivals that each Replica is kept at: the policy of that name's."""
    tokens_per_second: float | None = None
    """Tokens, prompts' and answers', that each Replica is kept at: the policy of that name's."""
    latency_of: Literal["ttft", "end_to_end"] = "ttft"
    """What the policy `latency_slo` keeps: time to the first token, or to the last."""
    latency_s: float | None = None
    """…within this; None: the promise's `ttft_s`."""
    percentile: float | None = None
    """…for this many per cent of the requests; None: the promise's."""
    utilization: float = 0.7
    """Share of time that GPUs are kept busy: the policy `gpu_utilization`'s."""
    target: float = 0.7
    """Share of `Service.concurrency` that a Replica is kept at."""
    window_s: float = 60.0
    """Concurrency is averaged over this; the policy acts on the average."""
    panic_window_s: float = 6.0
    panic_threshold: float = 2.0
    """Panic (act on the short window, never scale down) when the short window wants this many times what is ready."""
    tolerance: float = 0.0
    """No change while load ÷ capacity is within 1 ± tolerance."""
    scale_down_delay_s: float = 0.0
    """Scale down only to the largest count wanted in this long."""
    idle_s: float | None = None
    """To zero only after this long without any request queued or running; None: learned from how long lulls last."""
    up: Behavior = Behavior()
    down: Behavior = Behavior()


REACTIVE = Scaling(
    preset="target_concurrency",
    policy="target_concurrency",
    tolerance=0.1,
    scale_down_delay_s=300.0,
    idle_s=300.0,
)
"""What presets of every policy but `auto` start from: a rule that does not learn needs calm around it. The figures are
the HorizontalPodAutoscaler's tolerance and downscale stabilisation, and KEDA's cooldown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """Free capacity kept ready. `steps` counts scale steps; `slots`, when given, is an absolute number of Slots."""

    tier: Tier = Tier.WARM
    steps: int = 1
    slots: int | None = None
    auto: bool = False
    """Sized by the policy, from what a Standby costs and saves; `steps` holds until it has learned."""
    sleep_level: int | None = None
    """Of the tier asleep: 1 keeps weights in the host's memory, 2 drops them; None: 1 where that memory holds them."""
    share: bool = False
    """Of a Pool: engines asleep may lie on the same GPUs, one of them awake at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A floor (`min`), a ceiling (`max`) or an exact count (`replicas`) that holds from each firing of `cron` in time
    zone `tz`, until the clock there has gone on by `duration_s`. How several overlap: `decide/schedules.py`."""

    cron: str
    tz: str = "UTC"
    duration_s: float = 3600.0
    min: int | None = None
    max: int | None = None
    replicas: int | None = None
    """Excludes `min` and `max`."""
    since: float | None = None
    """With `until`: when it was put in force…"""
    until: float | None = None
    """…and Unix seconds until which it holds, whatever its cron says: what `schedule run` makes of one. None: its cron
    rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Instances of two markets side by side. Shares in [0, 1]."""

    spot: float
    """Of the Instances beyond the base."""
    on_demand_base: int = 0
    """So many are on demand before any is spot."""
    fallback: bool = True
    """On demand while spot is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    providers: tuple[ProviderName, ...] = ()
    """Empty: every configured Provider."""
    regions: tuple[str, ...] = ()
    market: Market = Market.ON_DEMAND
    max_price_per_hour: float | None = None
    mix: Mix | None = None
    """None: all of one `market`."""
    same: Literal["zone", "region"] | None = None
    """All Instances together in one of these; None: anywhere."""
    beside: tuple[ServiceName, ...] = ()
    """…and together with those of these Services, which it talks to."""

    @property
    def markets(self) -> tuple[Market, ...]:
        """Those whose Offers are wanted."""
        if self.mix is None:
            return (self.market,)
        return (Market.SPOT, Market.ON_DEMAND) if self.mix.spot > 0 else (Market.ON_DEMAND,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """The promise: `percentile` per cent of requests see their first token within `ttft_s` seconds."""

    ttft_s: float
    percentile: float = 99.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """A first guess of how long a start takes, in seconds; None: estimated from the model's size, then learned."""

    cold_s: float | None = None
    standby_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRules:
    """How another revision comes in. Durations in seconds."""

    surge: int | None = None
    """Replicas that may be there beyond the wanted count; None: one scale step."""
    settle_s: float = 10.0
    """A new Replica counts once it was ready for so long: what loads and dies at its first requests is dead by then."""
    failures: int = 3
    """So many new Replicas that fail or die in a row bring the old revision back: one may be the machine's fault."""
    deadline_s: float | None = None
    """…or when none was ready for so long after the first had a machine; None: `Service.startup_timeout_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """How requests wait for a slot; how long while there are replicas is `Service.queue_timeout_s`."""

    cold_timeout_s: float = 3600.0
    """The longest while there is no replica; longer than the slowest cold start."""
    limit: int = 10_000
    """Requests that wait."""
    limit_bytes: int = 256 * 1024 * 1024
    """Their bodies together."""
    shed: bool = True
    """Refuse at once what will wait too long by all that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMetrics:
    """Names of the load metrics of a `generic` engine, matched exactly. Several series of one name are added up."""

    running: str
    waiting: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMetrics:
    """Where each machine shows how busy its GPUs are: the port of its DCGM exporter, or of another."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A model served at a promise."""

    name: ServiceName
    engine: str
    model: str
    gpu: tuple[Gpu, ...]
    """Alternatives, best first. Each Replica takes `count` GPUs of one of them."""
    concurrency: int
    """Requests one Replica serves at once; the engine's batch limit."""
    image: str | None = None
    """Container image; None runs the engine as a plain process."""
    command: tuple[str, ...] = ()
    """Replaces the engine's own command line. `{port}`, `{model}`, `{concurrency}` are filled in."""
    args: tuple[str, ...] = ()
    """Appended to the engine's command line."""
    env: tuple[tuple[str, str], ...] = ()
    metrics: EngineMetrics | None = None
    readiness_path: str | None = None
    warm_up: tuple[Call, ...] = ()
    """Requests that each Replica answers before it counts as ready, in order."""
    loading: Loading = "auto"
    slo: Slo | None = None
    cold_start: ColdStart = ColdStart()
    scaling: Scaling = field(default_factory=Scaling)
    signals: tuple[Signal, ...] = ()
    """Besides the policy: up on any, down only when all agree."""
    gpu_metrics: GpuMetrics | None = None
    """None: the engine's own exposition is looked at, where how busy GPUs are is asked for."""
    standby: Standby | None = None
    """None: the Pool's own setting."""
    schedule: tuple[Schedule, ...] = ()
    placement: Placement = field(default_factory=Placement)
    rollout: RolloutRules = RolloutRules()
    pool: PoolName | None = None
    """None: the Service has a Pool of its own, of the same name."""
    startup_timeout_s: float = 1800.0
    """A Replica not ready this long after its engine was asked for has failed."""
    drain_timeout_s: float = 600.0
    """A draining Replica is stopped after this long, running requests or not."""
    queue_timeout_s: float = 1800.0
    """A request held in the queue this long is refused with 503."""
    queue: QueueRules = QueueRules()
    hosts: tuple[str, ...] = ()
    """Values of the Host header that mean this Service; `*.example.org` for all below it."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters of its engine: values of `model` that mean this Service."""
    labels: tuple[tuple[str, str], ...] = ()
    """Of the user's own, to choose by; they change nothing that runs."""

    @property
    def pool_name(self) -> PoolName:
        return self.pool or PoolName(self.name)

    @property
    def target_concurrency(self) -> float:
        """Requests per Replica that scaling aims at."""
        return self.concurrency * self.scaling.target


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMachine:
    """What an Instance of the local Provider pretends to be: the seconds that each stage of its cold start takes."""

    boot_s: float = 0.0
    image_s: float = 0.0
    weights_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Interchangeable Instances that hold Slots for one or many Services."""

    name: PoolName
    gpu: tuple[Gpu, ...]
    """Alternatives: the GPUs of one Instance, best first."""
    placement: Placement = field(default_factory=Placement)
    min: int = 0
    max: int = 100
    """Instances, billed ones counted."""
    standby: Standby = field(default_factory=Standby)
    price_per_hour: float | None = None
    """Declared by the user for machines that no price list knows; US dollars per Instance."""
    registry_mirrors: tuple[str, ...] = ()
    """Addresses of mirrors of Docker's hub, asked before the fleet's own and before the hub."""
    lazy: Literal["soci", "stargz", "nydus"] | None = None
    """How images are begun before they are here, where its machines can; None: they are here first."""
    local: LocalMachine = field(default_factory=LocalMachine)
    labels: tuple[tuple[str, str], ...] = ()
    """Of the user's own, to choose by."""
