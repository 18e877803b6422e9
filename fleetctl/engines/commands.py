"""The command line and environment of one Replica: an engine's template filled with what its Service says."""

import re
from dataclasses import dataclass

from fleetctl.engines.engine import Engine
from fleetctl.errors import UsageError
from fleetctl.model.services import Service

_HUB = "hf://"
_FILLED = re.compile(r"\{(model|concurrency)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a model comes from, taken apart."""

    name: str
    """What engines call it: `org/name` on the hub, else the path or address as written."""
    revision: str | None = None
    hub: bool = False


def model_source(model: str) -> ModelSource:
    """`hf://org/name@revision` taken apart; anything else is a name as it stands."""
    if not model.startswith(_HUB):
        return ModelSource(name=model)
    name, _, revision = model.removeprefix(_HUB).partition("@")
    return ModelSource(name=name, revision=revision or None, hub=True)


def command(engine: Engine, service: Service, *, sleepable: bool = False) -> tuple[str, ...]:
    """The argv of one Replica, with `{port}` and `{python}` left open for the Node.

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
    return argv + service.args


def environment(engine: Engine, service: Service, *, sleepable: bool = False) -> tuple[tuple[str, str], ...]:
    """Variables of one Replica; what the Service says replaces what the engine needs."""
    merged = dict(engine.env)
    if sleepable and engine.sleep is not None:
        merged.update(engine.sleep.env)
    merged.update(service.env)
    return tuple(merged.items())


def log_hint(engine: Engine, log: str) -> str | None:
    """What to do about a failure, read from the last lines an engine wrote; None: nothing known."""
    return next((known.hint for known in engine.log_hints if known.text in log), None)


def _with_model(engine: Engine, service: Service, template: tuple[str, ...]) -> tuple[str, ...]:
    source = model_source(service.model)
    argv = list(template)
    place = argv.index("{model}")
    argv[place] = source.name
    if not source.hub:
        return tuple(argv)
    hub = engine.hub
    if hub is None:
        raise UsageError(
            f"service {service.name}: engine {engine.name} cannot load {service.model} from the hub",
            hint="set `model` to a path on the Node, or set `command`",
        )
    if hub.argument is not None:
        argv[place - 1] = hub.argument
    if source.revision is not None and not hub.any_revision:
        if hub.revision_argument is None:
            raise UsageError(
                f"service {service.name}: engine {engine.name} cannot pin revision {source.revision} of {source.name}",
                hint=f"leave out @{source.revision}, set `model` to a file on the Node, or set `command`",
            )
        argv[place + 1 : place + 1] = [hub.revision_argument, source.revision]
    return tuple(argv)


def _fill(word: str, service: Service) -> str:
    values = {"model": model_source(service.model).name, "concurrency": str(service.concurrency)}
    return _FILLED.sub(lambda found: values[found[1]], word)
