"""What came in over time, kept so that last week can be played again."""

from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What one stretch of time counted. None: unknown."""

    t_from: float
    t_to: float
    """Unix seconds, after `t_from`."""
    arrivals: float | None
    input_tokens: float | None = None
    """Of those who came: their number × the mean prompt; what no tick of it lacks."""
    output_tokens: float | None = None
    read_tokens: float | None = None
    """Of prompts, as they were counted: what a counter shows late is counted then."""
    written_tokens: float | None = None
    """Of answers, likewise."""
