"""What is known of one inference engine, as data: what it measures, how it is started, probed and put to sleep."""

from dataclasses import dataclass
from typing import Literal

from fleetctl.model.nodes import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One gauge or counter of an exposition, by its exact name; several series of it are added up."""

    name: str
    where: tuple[tuple[str, str], ...] = ()
    """(label, value): a series that carries the label counts only with this value; one that lacks it counts.
    Values that need no escaping in an exposition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Which gauges together are the load of a Replica, and the counters that stand beside them."""

    running: Metric
    waiting: Metric | None = None
    """None: the engine has no queue of its own."""
    input_tokens: Metric | None = None
    """Counter of prompt tokens read; None: it has none. Likewise the two below."""
    output_tokens: Metric | None = None
    completed: Metric | None = None
    ttft: str | None = None
    """Histogram of seconds to the first token, without `_bucket`; None: it has none."""
    end_to_end: str | None = None
    """Likewise, to the last token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """How a loaded engine leaves the GPU and comes back. Calls are made in order, each after the one before."""

    enter: tuple[Call, ...]
    wake: tuple[Call, ...]
    start_args: tuple[str, ...] = ()
    """Without these it cannot sleep."""
    env: tuple[tuple[str, str], ...] = ()
    """Likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A folder worth keeping between two starts on one Node."""

    holds: Literal["weights", "compiled"]
    path: str
    """Where it is when `env` is unset; `~` is the engine's home folder."""
    env: str | None = None
    """The variable that moves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """How an engine loads a model from the Hugging Face hub."""

    argument: str | None = None
    """Takes the place of the option before `{model}`; None: the same option."""
    revision_argument: str | None = None
    """None: it cannot pin a revision, and a Service that pins one is refused."""
    any_revision: bool = False
    """It loads nothing, so that every revision is the same to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHint:
    """A line an engine writes when it fails, and what to do about it."""

    text: str
    """Found anywhere in its log."""
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An inference server. In templates `{model}` is a whole word; `{port}` and `{python}` are left to the Node."""

    name: str
    loads: tuple[Load, ...]
    """Alternatives, best first: the first whose running gauge the exposition has is the one that is read."""
    concurrency: int
    """Requests one Replica serves at once, where the Service says nothing."""
    concurrency_argument: str | None = None
    """The option that sets the engine's batch limit to that; None: it has none."""
    concurrency_aliases: tuple[str, ...] = ()
    """Other spellings of it."""
    concurrency_env: str | None = None
    """The variable that sets it where the option is not given; None: there is none."""
    name_argument: str | None = None
    """The option that makes it answer to the Service's name as its model; None: it asks nobody for a name."""
    many_names: bool = False
    """It answers to the model's own name too."""
    command: tuple[str, ...] = ()
    """As a plain process. Empty: the Service gives its own."""
    container_command: tuple[str, ...] = ()
    """What follows the entry point of the engine's own image. Empty: the Service gives its own."""
    container_port: int = 8000
    """The port that image listens on when it is told nothing."""
    hub: Hub | None = None
    """None: it cannot load from the hub."""
    env: tuple[tuple[str, str], ...] = ()
    metrics_path: str = "/metrics"
    readiness_path: str = "/health"
    """Answers 200 once requests can be served."""
    models_path: str = "/v1/models"
    caches: tuple[Cache, ...] = ()
    sleep: Sleep | None = None
    log_hints: tuple[LogHint, ...] = ()
