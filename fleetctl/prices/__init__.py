"""Where prices come from: one file, one source. Each asks a cloud's own price API for the machines of the catalog.

A source's file has `prices(ask)`: one row for each price that the API states, dated with the moment it was asked.
Sources block; `refresh` asks several at once, each in a thread of its own.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fleetctl.catalog import MachineType, PriceRow
from fleetctl.errors import FleetError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a source is asked for."""

    types: tuple[MachineType, ...]
    """Of the source's own Provider, unless it knows many."""
    regions: tuple[str, ...] = ()
    """Empty: every region that the API tells of."""
    now: float
    """Unix seconds, for the rows' dates."""
    endpoint: str | None = None
    """Instead of the API's own address; a loopback one is asked without credentials."""

    @property
    def loopback(self) -> bool:
        """Whether a stand-in on this machine is asked, which needs no credentials and gets none."""
        return (self.endpoint or "").startswith(("http://127.0.0.1:", "http://localhost:"))

    def wants(self, region: str) -> bool:
        return not self.regions or region in self.regions


Prices = Callable[[Ask], Sequence[PriceRow]]
"""Raises `ProviderError`s, and `MissingDependency`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What one source answered."""

    source: str
    rows: tuple[PriceRow, ...] = ()
    error: FleetError | None = None


def names() -> tuple[str, ...]:
    """Every source, by the name of its file."""
    return tuple(sorted(one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_")))


def load(name: str) -> Prices:
    """The source of that name. Raises `UsageError` when there is none."""
    if name not in names():
        raise UsageError(f"no source of prices is called {name!r}", hint=f"one of: {', '.join(names())}")
    found: Prices = importlib.import_module(f"{__name__}.{name}").prices
    return found


def refresh(asks: Mapping[str, Ask]) -> tuple[Refreshed, ...]:
    """Ask each source; one that fails or is slow takes nothing from the others."""

    def one(name: str, ask: Ask) -> Refreshed:
        try:
            return Refreshed(source=name, rows=tuple(load(name)(ask)))
        except FleetError as error:
            return Refreshed(source=name, error=error)

    if not asks:
        return ()
    with ThreadPoolExecutor(max_workers=len(asks), thread_name_prefix="prices") as threads:
        return tuple(threads.map(one, asks, asks.values()))
