"""What is known of one inference engine, as data: what it measures, how it is started, probed and put to sleep."""

from typing import Literal

from fleetctl.model.nodes import Call
from fleetctl.model.records import dataclass


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
class SleepLevel:
    """One way off the GPU and back. Calls are made in order, each after the one before; after any that fails all are
    made again from the first, which must do no harm to an engine that has done some of them."""

    enter: tuple[Call, ...]
    wake: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """How a loaded engine leaves the GPU and comes back."""

    keeping: SleepLevel
    """Level 1: the weights wait in the host's memory."""
    dropping: SleepLevel | None = None
    """Level 2: the weights are dropped, and loaded again to wake. None: it cannot."""
    start_args: tuple[str, ...] = ()
    """Without these it cannot sleep."""
    env: tuple[tuple[str, str], ...] = ()
    """Likewise."""

    def level(self, number: int) -> SleepLevel:
        """Level 1, or 2 where the engine has one; else the one that it has."""
        return self.dropping if number == 2 and self.dropping is not None else self.keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A folder worth keeping between two starts on one Node."""

    holds: Literal["weights", "compiled"]
    path: str
    """Where it is when `env` is unset; `~` is the engine's home folder."""
    env: str | None = None
    """The variable that moves it."""


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
    weights: Literal["folder", "file", "none"] = "folder"
    """What it is given in the place of `{model}` where the Node has fetched its files: their folder, the one file among
    them that it loads, or nothing, because it loads nothing."""
    loaders: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """By `Service.loading`: what makes it load its weights so."""
    env: tuple[tuple[str, str], ...] = ()
    metrics_path: str = "/metrics"
    readiness_path: str = "/health"
    """Answers 200 once requests can be served."""
    models_path: str = "/v1/models"
    names_model: bool = False
    """What it serves is listed there, under the name that it is given, by the time it answers."""
    caches: tuple[Cache, ...] = ()
    package: str = ""
    """The Python package whose version is the engine's, where it runs as a plain process; empty: it is none."""
    aside: tuple[str, ...] = ()
    """Options that change nothing of what it compiles, however they are set."""
    aside_env: tuple[str, ...] = ()
    """Likewise variables; one that ends in `*` stands for all that begin so."""
    sleep: Sleep | None = None
    log_hints: tuple[LogHint, ...] = ()
