"""What the policy `auto` keeps of a service between two ticks: what came in, what it costs, how long starts take.

All of it is data that the store and `decide --state` write as JSON; what is made of it stands in `decide/auto`.
"""

from fleetctl.model.records import dataclass

BIN_S = 5.0
"""As fine as the wait that is usually promised: a burst shorter than a bin is waited out, a longer one is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Counts by bin, oldest first. The newest bin may still grow; the tuples are of one length."""

    first: int = 0
    """Number of the oldest bin: seconds // BIN_S."""
    arrivals: tuple[float, ...] = ()
    input_tokens: tuple[float, ...] = ()
    output_tokens: tuple[float, ...] = ()
    """Asked for in the bin: written, or put off by waiting."""

    @property
    def bins(self) -> int:
        return len(self.arrivals)

    @property
    def span_s(self) -> float:
        return len(self.arrivals) * BIN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """Sums over the half minute that is being gathered."""

    span_s: float = 0.0
    in_flight_s: float = 0.0
    """Integral of those whom a replica has taken."""
    read: float = 0.0
    """Prompt tokens, times those who shared a replica then."""
    written: float = 0.0
    """Output tokens…"""
    written_shared: float = 0.0
    """…and times those who shared a replica then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is known of the engine and of the requests. `demand.rates` and its like make seconds of it."""

    moments: tuple[float, ...] = (0.0,) * 9
    """Weighted sums of products of a row's read, written and shared: six among themselves, three with in flight."""
    found: float = 0.0
    """Weighted sum of in flight…"""
    expected: float = 0.0
    """…and of what it would have been with the prior's engine."""
    minute: Minute = Minute()
    requests: float = 0.0
    """Those who completed, forgetting."""
    output_tokens: float = 0.0
    """Theirs, forgetting."""
    in_flight: float = 0.0
    """Request-seconds of late…"""
    supposed: float = 0.0
    """…and what they would have been with answers of the usual length."""
    arrivals: float = 0.0
    input_tokens: float = 0.0
    """Of arrivals, forgetting ten times slower, as the spread is rarer to see than the mean."""
    spread: float = 0.0
    """Sum of squared differences of an interval's prompt tokens from its arrivals' mean."""
    queued: float = 0.0
    """At the line before…"""
    serving: float = 0.0
    """…and replicas that served then."""
    widest: float = 0.0
    """Most requests that a replica was seen with, forgetting slowly."""
    full_in_flight_s: float = 0.0
    """Request-seconds in flight while many queued, forgetting…"""
    full_serving_s: float = 0.0
    """…and the replica-seconds that took them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leads:
    """Starts that were seen to end, newest last."""

    cold: tuple[float, ...] = ()
    standby: tuple[float, ...] = ()
    ages: tuple[float, ...] = ()
    """Of those starting at the line before, oldest first."""
    ready: int = 0
    """At the line before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the fleet follows the load."""

    window_s: float = 0.0
    """Of the mean; 0 with gain 0."""
    gain: float = 0.0
    extra: float = 0.0
    standby: int = 0
    limit: int = 0
    """The constant fleet that would have done as well: no following beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misses:
    """Requests that waited longer than promised, and what that says of the fleet."""

    arrivals: float = 0.0
    """Forgetting…"""
    late: float = 0.0
    """…and those of them that waited too long."""
    floor: int = 0
    """So many replicas are needed at this load, as its waits have shown; 0: nothing is known against the record."""
    level: float = 0.0
    """The load then, in replicas' work a second."""
    at: float = 0.0
    """When it was last shown."""
    waiting: bool = False
    """Whether requests wait too long now."""
    settled: int = 0
    """With so many ready and none on their way that began; 0: others were on their way, or it has been counted."""
    settled_level: float = 0.0
    """The load then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """A stretch in which nobody waited."""

    since: float | None = None
    load: float = 0.0
    """The strongest minute of it, by fixed rates…"""
    ready: int = 0
    """…and the fewest that were ready at such load; 0: none has been seen."""
    risen_at: float = 0.0
    """When that minute was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """All that is kept between two ticks."""

    at: float | None = None
    began: float = 0.0
    """When the record begins."""
    start: int = 0
    """The fleet that was found then."""
    record: Record = Record()
    pace: Pace = Pace()
    leads: Leads = Leads()
    rule: Rule | None = None
    tested_at: float = 0.0
    misses: Misses = Misses()
    calm: Calm = Calm()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What ticks have brought since the policy last took a step. None: unknown in one of them."""

    span_s: float = 0.0
    concurrency_s: float = 0.0
    """Integral of queued + running."""
    queued_s: float = 0.0
    arrivals: float | None = 0.0
    input_tokens: float | None = 0.0
    output_tokens: float | None = 0.0
    completed: float | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """The policy `auto` between two ticks. It steps more rarely than the fleet ticks."""

    learned: Learned = Learned()
    gathered: Gathered = Gathered()
    replicas: int = 0
    """Its last wish…"""
    wished: int | None = None
    """…and what it was before `max` took from it; None: `max` took nothing."""
    standby: int = 0
    reason: str = ""
    binding: str = ""
    queued: float = 0.0
    """…and what waited then."""
    steps: int = 0
    """Taken, up to as many as matter."""
    arrivals_known: bool = False
    """Whether arrivals were ever counted."""
    tokens_known: bool = False
    """Whether tokens were ever counted…"""
    prompts_known: bool = False
    """…and whether those of prompts were: engines may count answers before they tell how long a prompt is."""
