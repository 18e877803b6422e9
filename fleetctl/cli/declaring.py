"""Declaring what the files say, for `up` and `apply`: read, compared, priced, agreed to and stored."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.changing import keep
from fleetctl.cli.costs import Costs, bills, confirm, costs_of, within_limit
from fleetctl.cli.output import say
from fleetctl.cli.session import Session, spec_paths
from fleetctl.cli.weights import weights_told
from fleetctl.errors import Conflict, FleetError, NotFound
from fleetctl.model.services import Service
from fleetctl.paths import Home
from fleetctl.spec.fleet import Fleet, FleetConfig
from fleetctl.views.figures import several
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import (
    abilities_of,
    configured,
    gateway_options,
    lease_is_live,
    load_config,
    provider_names,
    save_config,
    settings_text,
)

MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost-per-hour",
        min=0.0,
        envvar="FLEETCTL_MAX_COST_PER_HOUR",
        help="US dollars that the whole fleet may cost; over the file's own limit",
    ),
]
Files = Annotated[list[Path] | None, typer.Option("--file", "-f", help="A file or folder; default fleet/")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What the files say, and which of their Services are meant."""

    paths: tuple[Path, ...]
    fleet: Fleet
    wanted: tuple[Service, ...]
    words: tuple[str, ...]
    """Of the command line: the files and names that were given."""

    def line(self, command: str) -> str:
        """The command line that declares the same."""
        return " ".join((command, *self.words))


def read_declaration(
    files: Sequence[Path] | None, services: Sequence[str] | None = None, *, max_cost_per_hour: float | None = None
) -> Declaration:
    """What the files say. Raises `FilesError`, and `NotFound` for a name that they do not declare."""
    from fleetctl.spec.load import load

    paths = spec_paths(files)
    fleet = load(paths, providers=provider_names(), abilities=abilities_of)
    if max_cost_per_hour is not None:
        fleet = replace(fleet, config=replace(fleet.config, max_cost_per_hour=max_cost_per_hour))
    return Declaration(
        paths=tuple(paths),
        fleet=fleet,
        wanted=tuple(wanted_of(fleet, services or ())),
        words=(*(f"-f {shlex.quote(str(path))}" for path in files or ()), *(services or ())),
    )


def wanted_of(fleet: Fleet, services: Sequence[str]) -> list[Service]:
    """The Services of the files with these names; none given: all. Raises `NotFound`."""
    wanted = [service for service in fleet.services if not services or service.name in services]
    missing = set(services) - {service.name for service in wanted}
    if missing:
        from fleetctl.spec.suggestions import nearest

        declared = [service.name for service in fleet.services]
        near = nearest(min(missing), declared)
        raise NotFound(
            f"no service {', '.join(sorted(missing))} in the files",
            hint=f"did you mean {near}?" if near else f"they declare: {', '.join(declared) or 'none'}",
        )
    return wanted


def agree(declared: Declaration, now: Session, *, yes: bool, again: str) -> None:
    """Ask where more may be rented than was agreed to. Raises `ConfirmationNeeded`, `OverBudget` and `Conflict`.

    Providers are only asked what it costs where somebody bills, or the fleet has a limit.
    """
    keeps_providers(declared.fleet, now.view())
    config = declared.fleet.config
    if bills(config) or config.max_cost_per_hour is not None:
        costs = costs_of(declared.fleet, declared.wanted, now.view(), now.home)
        agree_to(costs, declared, now.home, yes=yes, again=again)


def agree_to(costs: Costs, declared: Declaration, home: Home, *, yes: bool, again: str) -> None:
    """The same, of costs that are known."""
    for warning in costs.warnings:
        say(f"warning: {warning}")
    within_limit(costs, retry=again)
    if bills(declared.fleet.config):
        confirm(costs, yes=yes, retry=again, home=home)


def declare(declared: Declaration, now: Session, *, command: str) -> float:
    """Store it all, what was before first; the time of it. `command` is its line, for the log of changes."""
    from fleetctl.spec.revision import revision

    fleet = declared.fleet
    for line in weights_told(declared.wanted):
        say(line)
    told_running(now, fleet.config, again=declared.line("fleetctl up"))
    at = time.time()
    keep(
        now,
        command,
        [service.name for service in declared.wanted],
        [pool.name for pool in fleet.pools],
        [tenant.name for tenant in fleet.tenants],
        settings="" if _same_settings(now.home, fleet.config) else settings_text(now.home),
    )
    save_config(now.home, fleet.config)
    for pool in fleet.pools:
        now.store.put_pool(pool, at=at)
    for tenant in fleet.tenants:
        now.store.put_tenant(tenant)
    for service in declared.wanted:
        now.store.put_service(service, revision=revision(service), at=at)
    return at


def told_running(now: Session, config: FleetConfig, *, again: str) -> None:
    """Say what of these settings a controller or a gateway that runs does not take up before it is started anew."""
    if lease_is_live(now.store, time.time()) and not _same_providers(now.home, config):
        say("warning: the running controller does not know the changed providers; restart it: fleetctl daemon stop")
    if now.home.gateway_socket.exists() and not _same_gateway(now.home, config):
        say(
            "warning: a running gateway keeps the tls, workers, access_log and metrics_listen that it was started "
            "with; stop the controller (fleetctl daemon stop) and the gateway (its pid: fleetctl doctor), then: "
            f"{again}"
        )


def told_keys(declared: Declaration, now: Session, at: float) -> None:
    """Say that nobody can enter yet, where that is so."""
    if declared.fleet.config.gateway_auth == "keys" and not any(key.in_force(at) for key in now.store.api_keys()):
        say("the gateway asks for an API key, and there is none yet; make one: fleetctl keys create")


def keeps_providers(fleet: Fleet, view: FleetView) -> None:
    """A provider that is no longer named is no longer asked: its machines would run on, unseen and billed."""
    held = {instance.offer.provider for instance in view.live_instances} - set(configured(fleet.config))
    if held:
        name = min(held)
        count = sum(1 for instance in view.live_instances if instance.offer.provider == name)
        raise Conflict(
            f"the files no longer name the provider {name}, which has {several(count, 'instance')} of this fleet",
            hint=f"keep {name} under providers in kind: fleet until they are given back: fleetctl down --all",
        )


def _same_settings(home: Home, config: FleetConfig) -> bool:
    """Whether they are saved already."""
    try:
        return home.config.exists() and load_config(home) == config
    except FleetError:
        return False


def _same_providers(home: Home, config: FleetConfig) -> bool:
    """Whether the saved settings name the providers as the files do; those that cannot be read are written anew."""
    try:
        return load_config(home).providers == config.providers
    except FleetError:
        return False


def _same_gateway(home: Home, config: FleetConfig) -> bool:
    """Whether a gateway is started now as it was by the saved settings; those that cannot be read are written anew."""
    try:
        return gateway_options(load_config(home)) == gateway_options(config)
    except FleetError:
        return True
