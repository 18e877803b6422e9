"""What each field alone cannot tell: combinations that cannot work, within one document and between them."""

from collections.abc import Collection, Iterator, Mapping

from fleetctl.engines import command, engine
from fleetctl.errors import UsageError
from fleetctl.model.images import image_fault
from fleetctl.model.services import Gpu, Pool, Scaling, Service, same_product
from fleetctl.spec.documents import FleetDoc
from fleetctl.spec.model_checks import model_problems
from fleetctl.spec.parameters import lacking_problems, parameter_problems
from fleetctl.spec.pool_documents import PoolDoc
from fleetctl.spec.problems import Problem
from fleetctl.spec.schedule_checks import schedule_problems
from fleetctl.spec.service_documents import ServiceDoc
from fleetctl.spec.signal_checks import signal_problems
from fleetctl.spec.suggestions import PROVIDER_LIKENESS, did_you_mean, nearest
from fleetctl.spec.units import duration_text
from fleetctl.spec.validation import Source

ALWAYS = "local"
"""The Provider that needs no set-up: this machine."""
PERIOD_MIN_S = 0.1
"""A faster tick would only read the same metrics again: engines update theirs a few times a second."""
PERIOD_MAX_S = 600.0
"""A slower tick is a fleet that nobody controls."""


def scaling_problems(
    scaling: Scaling, source: Source, path: tuple[str, ...], *, needs_replicas: bool = True
) -> Iterator[Problem]:
    """What cannot work in a Service's scaling, or (min and max aside) in a preset's. `path` leads to it."""
    if scaling.panic_window_s >= scaling.window_s:
        panic, window = duration_text(scaling.panic_window_s), duration_text(scaling.window_s)
        yield source.problem(
            (*path, "panic_window"),
            f"{panic} is not shorter than window {window}",
            "write a panic_window shorter than the window; a tenth of it is usual",
        )
    if scaling.policy == "fixed":
        if scaling.replicas is None and needs_replicas:
            yield source.problem(
                (*path, "policy"), "the policy fixed needs a count: replicas is missing", "add replicas: 2"
            )
    elif scaling.replicas is not None:
        yield source.problem(
            (*path, "replicas"),
            f"only the policy fixed takes a count, and this one is {scaling.policy}",
            "add policy: fixed, or write min and max instead",
        )
    if needs_replicas:
        yield from lacking_problems(scaling, source, path)


def service_problems(service: Service, doc: ServiceDoc, source: Source) -> Iterator[Problem]:
    """What cannot work in one Service."""
    scaling = service.scaling
    yield from scaling_problems(scaling, source, ("scaling",))
    yield from parameter_problems(scaling, doc.scaling, source, ("scaling",), beside=service.signals)
    yield from signal_problems(service, source)
    yield from _bounds(scaling, doc, source)
    yield from _moved_by_nothing(service, source)
    yield from schedule_problems(service, source)
    yield from model_problems(service, source)
    yield from _image(service, source)
    kind = engine(service.engine)
    try:
        command(kind, service)
    except UsageError as error:
        message = error.message.removeprefix(f"service {service.name}: ")
        yield source.problem(("engine",), message, error.hint)
    if service.metrics is None and not kind.loads:
        yield source.problem(
            ("engine",), f"the load metrics of {kind.name} are not known", "add metrics: {running: …, waiting: …}"
        )
    elif service.metrics is not None and kind.loads:
        yield source.problem(
            ("metrics",), f"the load metrics of {kind.name} are known", "remove metrics, or write engine: generic"
        )


def _image(service: Service, source: Source) -> Iterator[Problem]:
    fault = image_fault(service.image) if service.image is not None else ""
    if fault:
        yield source.problem(
            ("image",),
            f"{service.image} cannot be an image: {fault}",
            "write it as registry/repository:tag, or registry/repository@sha256:…",
        )


def service_warnings(service: Service, doc: ServiceDoc, source: Source) -> Iterator[Problem]:
    """What is allowed in one Service and does nothing."""
    scaling = service.scaling
    if doc.scaling is not None and doc.scaling.idle is not None and scaling.min > 0:
        yield source.problem(
            ("scaling", "idle"),
            f"it is never waited for: with min {scaling.min} the service does not go to zero",
            "write min: 0, or remove idle",
        )


def _moved_by_nothing(service: Service, source: Source) -> Iterator[Problem]:
    if service.scaling.policy == "schedule" and not service.schedule and not service.signals:
        yield source.problem(
            ("scaling", "policy"),
            "the policy schedule moves nothing without schedules: schedule is missing",
            'add schedule: [{cron: "0 8 * * mon-fri", for: 10h, min: 2}] beside scaling, or write policy: auto',
        )


def _bounds(scaling: Scaling, doc: ServiceDoc, source: Source) -> Iterator[Problem]:
    has_max = doc.scaling is not None and doc.scaling.max is not None
    most = f"max {scaling.max}" if has_max else f"max, which is {scaling.max} where it is not written"
    if scaling.min > scaling.max:
        yield source.problem(
            ("scaling", "min"),
            f"{scaling.min} is more than {most}",
            f"write max: {scaling.min} or more in scaling",
        )
    if scaling.step > scaling.max:
        yield source.problem(
            ("scaling", "step"),
            f"{scaling.step} is more than {most}",
            f"write max: {scaling.step} or more in scaling, or a smaller step",
        )
    if scaling.policy == "fixed" and scaling.replicas is not None:
        if scaling.replicas > scaling.max:
            yield source.problem(
                ("scaling", "replicas"),
                f"{scaling.replicas} is more than {most}",
                "remove max: a fixed count needs none",
            )
        elif scaling.replicas < scaling.min <= scaling.max:
            yield source.problem(
                ("scaling", "replicas"),
                f"{scaling.replicas} is less than min {scaling.min}",
                "remove min: a fixed count needs none",
            )


def pool_problems(pool: Pool, doc: PoolDoc, source: Source) -> Iterator[Problem]:
    """What cannot work in one Pool."""
    if pool.min > pool.max:
        yield source.problem(("min",), f"{pool.min} is more than max {pool.max}", f"write max: {pool.min} or more")
    if doc.provider is not None and doc.placement is not None and doc.placement.providers is not None:
        yield source.problem(("provider",), "cannot be given with placement.providers", "keep one of the two")


def fleet_problems(doc: FleetDoc, source: Source) -> Iterator[Problem]:
    """What cannot work in the fleet's settings."""
    if doc.period is not None and not PERIOD_MIN_S <= doc.period <= PERIOD_MAX_S:
        least, most = duration_text(PERIOD_MIN_S), duration_text(PERIOD_MAX_S)
        yield source.problem(
            ("period",), f"{duration_text(doc.period)} is not from {least} to {most}", "write period: 2s"
        )


def provider_problems(
    doc: ServiceDoc | PoolDoc | FleetDoc, source: Source, known: Collection[str], configured: Collection[str]
) -> Iterator[Problem]:
    """Providers that do not exist, and those that the fleet's settings do not name. `known`: every one there is."""
    for path, name in _providers_of(doc):
        if name not in known:
            near = nearest(name, known, likeness=PROVIDER_LIKENESS)
            better = f"; did you mean {near!r}?" if near else ""
            fix = f"write {near}" if near else f"write one of: {', '.join(sorted(known))}"
            yield source.problem(path, f"no provider is called {name!r}{better}", fix)
        elif not isinstance(doc, FleetDoc) and name != ALWAYS and name not in configured:
            yield source.problem(
                path,
                f"the provider {name!r} is not set up",
                f"write providers: {{{name}: {{}}}} into the document with kind: fleet, with its regions",
            )


def _providers_of(doc: ServiceDoc | PoolDoc | FleetDoc) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each Provider that the document names, with where it does."""
    if isinstance(doc, FleetDoc):
        yield from ((("providers", name), name) for name in doc.providers or {})
        return
    if isinstance(doc, PoolDoc) and doc.provider is not None:
        yield ("provider",), doc.provider
    if doc.placement is not None:
        for at, name in enumerate(doc.placement.providers or ()):
            yield ("placement", "providers", at), name


def sharing_problems(
    service: Service, doc: ServiceDoc, source: Source, pools: Mapping[str, Pool], declared: frozenset[str]
) -> Iterator[Problem]:
    """What cannot work between a Service and its Pool. `declared` names also the Pools that are wrong themselves."""
    if service.pool is not None and service.pool not in declared:
        near = nearest(service.pool, declared)
        yield source.problem(
            ("pool",),
            f"there is no pool {service.pool!r}{did_you_mean(service.pool, declared)}",
            f"write {near}" if near else f"declare it (kind: pool, name: {service.pool}), or remove the line",
        )
    if service.pool_name not in declared:
        return
    if doc.placement is not None:
        yield source.problem(
            ("placement",),
            f"the machines are those of pool/{service.pool_name}, so placement here would do nothing",
            f"write it in pool/{service.pool_name}",
        )
    pool = pools.get(service.pool_name)
    if pool is not None and not any(_holds(machine, slot) for machine in pool.gpu for slot in service.gpu):
        wanted = " or ".join(map(str, service.gpu))
        held = " or ".join(map(str, pool.gpu))
        yield source.problem(
            ("gpu",),
            f"a replica takes {wanted}, and a machine of pool/{pool.name} has {held}",
            f"write gpu: {service.gpu[0]} in pool/{pool.name}, or name another pool",
        )


def _holds(machine: Gpu, slot: Gpu) -> bool:
    return machine.count >= slot.count and same_product(slot.name, machine.name)
