"""What machines' time was used for and what it cost, by the hour."""

from enum import StrEnum

from fleetctl.model.records import dataclass


class Use(StrEnum):
    """What GPUs of a billed Instance are used for. Each GPU counts once, for the first of these that fits."""

    SERVING = "serving"
    """A Replica on them has requests, or its load is unknown."""
    IDLE = "idle"
    """A Replica that serves has none on them; or nobody has them, and nobody wants them to stand by."""
    STARTING = "starting"
    """Until a Replica on them is ready, or their Instance's Node answers."""
    STANDBY = "standby"
    """They stand by, in whichever tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What time and money are counted under."""

    service: str
    """Empty: of a Pool of several Services, what none of them has."""
    pool: str
    provider: str
    market: str
    use: Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What is used, and what it costs, as long as all stays as it is."""

    account: Account
    gpus: float
    dollars_per_hour: float
    """Of those whose price is known."""
    unpriced_gpus: float
    """GPUs of Instances whose price is unknown: what they cost is unknown, and never zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What one account used in one hour."""

    hour: int
    """Unix time ÷ 3600, whole."""
    account: Account
    gpu_s: float
    """GPUs × seconds."""
    dollars: float
    unpriced_gpu_s: float
    """Of `gpu_s`, that of an unknown price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was used between two moments. The store takes it only if it ends its book at `since`, so nothing is counted
    twice."""

    since: float | None
    """Unix seconds; None: the book begins."""
    until: float
    amounts: tuple[Amount, ...]
