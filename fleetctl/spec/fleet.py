"""What the files say, complete: the fleet's own settings, its Services, Pools and Tenants."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from fleetctl.model.records import dataclass
from fleetctl.model.routes import TenantEntry
from fleetctl.model.services import Pool, Service
from fleetctl.spec.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    """What holds for the whole fleet, from `kind: fleet`."""

    name: str = "default"
    """Machines are tagged with it."""
    gateway_listen: str = "127.0.0.1:8080"
    """host:port."""
    gateway_auth: Literal["keys", "none"] = "keys"
    """none: everybody who reaches the gateway may use it."""
    gateway_workers: int = 1
    """Processes that carry requests."""
    gateway_certificate: str | None = None
    """Absolute path of a PEM file; None: plain HTTP."""
    gateway_key: str | None = None
    """Of its key; None: it is in the same file."""
    gateway_access_log: str | None = None
    """Absolute path; None: no log of requests."""
    gateway_access_log_sample: float = 1.0
    """Share of the answered requests that it gets."""
    gateway_metrics_listen: str | None = None
    """host:port of `/metrics` alone; None: no port has it."""
    daemon_metrics_listen: str | None = None
    """host:port of the controller's own `/metrics` and `/healthz`; None: a Unix socket in fleetctl's home alone."""
    period_s: float = 2.0
    """Between two ticks; Knative's tick."""
    store_url: str | None = None
    """An absolute path or a postgresql:// address; None: `fleet.db` in fleetctl's home."""
    max_cost_per_hour: float | None = None
    """US dollars; None: no limit."""
    registry_mirrors: tuple[str, ...] = ()
    """Addresses of mirrors of Docker's hub that rented machines ask first."""
    providers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """The Providers that may be rented from, with each one's own settings; `local` needs no mention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was declared."""

    file: str
    """As given by the user, or found in the folder that the user gave."""
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All that the files declare, in the order of the files."""

    config: FleetConfig = FleetConfig()
    services: tuple[Service, ...] = ()
    pools: tuple[Pool, ...] = ()
    tenants: tuple[TenantEntry, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    """By subject: `service/chat`, `pool/gpus`, `tenant/acme`, `fleet`."""
    warnings: tuple[Problem, ...] = ()
    """What is allowed and hardly ever meant, where it was asked for, in the order of the files."""
