"""The command line and environment of one Replica: an engine's template filled with what its Service says."""

import re

from fleetctl.engines.engine import Engine, LogHint
from fleetctl.engines.loading import load_plan
from fleetctl.engines.model_sources import model_source
from fleetctl.errors import UsageError
from fleetctl.model.services import Service

WEIGHTS = "{weights}"
"""In a command or a variable: where the Node holds the weights that it has fetched."""
BY_THE_ENGINE = "engine+"
"""Before the address of weights that no Node fetches, because the engine does, or loads none."""

_FILLED = re.compile(r"\{(model|concurrency)\}")


def command(engine: Engine, service: Service, *, sleepable: bool = False) -> tuple[str, ...]:
    """The argv of one Replica, with `{port}`, `{python}` and `{weights}` left open for the Node.

    With `service.image` it is what follows the image's entry point. `sleepable` adds what the engine needs to be put to
    sleep later, which a Service's own `command` must hold itself. Raises UsageError where the engine cannot serve it.
    """
    if service.command:
        return (*(_fill(word, service) for word in service.command), *service.args)
    template = engine.container_command if service.image is not None else engine.command
    if not template and service.image is not None:
        return service.args  # the image knows what to run
    if not template:
        raise UsageError(
            f"service {service.name}: engine {engine.name} has no command line of its own",
            hint="set `command` or `image` in the service's file",
        )
    argv = _with_model(engine, service, template)
    if engine.concurrency_argument is not None:
        argv += (engine.concurrency_argument, str(service.concurrency))
    if engine.name_argument is not None:
        names = (service.name, model_source(service.model).name) if engine.many_names else (service.name,)
        argv += (engine.name_argument, *names)
    if sleepable and engine.sleep is not None:
        argv += engine.sleep.start_args
    return argv + load_plan(engine, service).arguments + service.args


def environment(engine: Engine, service: Service, *, sleepable: bool = False) -> tuple[tuple[str, str], ...]:
    """Variables of one Replica; what the Service says replaces what the engine needs."""
    merged = dict(engine.env)
    if sleepable and engine.sleep is not None:
        merged.update(engine.sleep.env)
    merged.update(load_plan(engine, service).env)
    merged.update(service.env)
    return tuple(merged.items())


def weights(engine: Engine, service: Service) -> str:
    """The name of the weights Artifact: `model:` itself where the Node fetches it or has it, marked where it need not.

    The Node fetches what the command line, or a variable, names as `{weights}`.
    """
    if not model_source(service.model).fetched:
        return service.model
    words = (*command(engine, service), *(value for _, value in environment(engine, service)))
    return service.model if any(WEIGHTS in word for word in words) else BY_THE_ENGINE + service.model


_OLD = (
    "the NVIDIA driver of this node is too old for the engine: install a newer one, or name an image for an older CUDA"
)
_NONE = "no NVIDIA driver answers on this node: look at nvidia-smi there"
DRIVER_HINTS = (
    LogHint(text="CUDA driver version is insufficient for CUDA runtime version", hint=_OLD),
    LogHint(text="The NVIDIA driver on your system is too old", hint=_OLD),
    LogHint(text="forward compatibility was attempted on non supported HW", hint=_OLD),
    LogHint(text="Found no NVIDIA driver on your system", hint=_NONE),
    LogHint(text="no CUDA-capable device is detected", hint=_NONE),
)
"""What CUDA's runtime (cudaGetErrorString) and PyTorch say of drivers, in whichever engine."""


def log_hint(engine: Engine, log: str) -> str | None:
    """What to do about a failure, read from the last lines an engine wrote; None: nothing known."""
    return next((known.hint for known in (*engine.log_hints, *DRIVER_HINTS) if known.text in log), None)


def _with_model(engine: Engine, service: Service, template: tuple[str, ...]) -> tuple[str, ...]:
    source = model_source(service.model)
    fetched = source.fetched and engine.weights != "none" and not load_plan(engine, service).streams
    given = WEIGHTS if fetched else source.name
    return tuple(given if word == "{model}" else word for word in template)


def _fill(word: str, service: Service) -> str:
    values = {"model": model_source(service.model).name, "concurrency": str(service.concurrency)}
    return _FILLED.sub(lambda found: values[found[1]], word)
