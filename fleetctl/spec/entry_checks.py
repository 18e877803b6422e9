"""Who may enter, and by which name a Service is asked: what cannot work between documents, and what is hardly meant."""

from collections.abc import Collection, Iterator, Sequence

from fleetctl.model.routes import TenantEntry
from fleetctl.model.services import Service
from fleetctl.spec.openness import LOOPBACK, OPEN_METRICS_FIX, open_metrics
from fleetctl.spec.problems import Problem
from fleetctl.spec.suggestions import did_you_mean, nearest
from fleetctl.spec.validation import Source


def tenant_problems(tenant: TenantEntry, source: Source, services: Collection[str]) -> Iterator[Problem]:
    """Services that are not declared. Files without any Service are added to others, and name what is there."""
    for at, name in enumerate(tenant.services or ()):
        if services and name not in services:
            near = nearest(name, services)
            yield source.problem(
                ("services", at),
                f"there is no service {name!r}{did_you_mean(name, services)}",
                f"write {near}" if near else f"write one of: {', '.join(sorted(services))}",
            )


def naming_problems(services: Sequence[tuple[Service, Source]]) -> Iterator[Problem]:
    """Hosts and adapters that would mean two Services."""
    meant: dict[tuple[str, str], str] = {("adapters", service.name): service.name for service, _ in services}
    for service, source in services:
        for field, names in (("hosts", service.hosts), ("adapters", service.adapters)):
            for at, name in enumerate(names):
                other = meant.setdefault((field, name), service.name)
                if other != service.name:
                    yield source.problem(
                        (field, at), f"{name} means service/{other} already", "keep it at one of the two services"
                    )
                elif name == service.name:
                    yield source.problem(
                        (field, at), f"{name} is the service's own name", "remove it, or rename the adapter"
                    )


def metrics_warnings(daemon: str | None, gateway: str | None, source: Source) -> Iterator[Problem]:
    """Figures that others than this machine may read."""
    for block, listen in (("daemon", daemon), ("gateway", gateway)):
        if said := open_metrics(listen):
            yield source.problem((block, "metrics_listen"), said, OPEN_METRICS_FIX)


def open_warnings(auth: str, listen: str, source: Source) -> Iterator[Problem]:
    """A gateway that lets everybody in, where others than this machine reach it."""
    if auth == "none" and not listen.startswith(LOOPBACK):
        yield source.problem(
            ("gateway", "auth"),
            f"everybody who reaches {listen} may use the fleet's GPUs",
            "write auth: keys and make one with: fleetctl keys create; or listen on 127.0.0.1",
        )
