"""Engines by name, found in this folder or given by other packages under the entry point group `fleetctl.engines`."""

import difflib
import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from fleetctl.engines.commands import command, environment, log_hint, weights
from fleetctl.engines.engine import Engine
from fleetctl.engines.model_sources import ModelSource, model_source
from fleetctl.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "Engine",
    "ModelSource",
    "command",
    "engine",
    "engine_names",
    "environment",
    "log_hint",
    "model_source",
    "weights",
]

GROUP = "fleetctl.engines"
"""An entry point of this group is the engine's name and leads to an `Engine`."""


def engine(name: str) -> Engine:
    """The Engine of that name. Raises UsageError, with the nearest name there is."""
    known = _own().get(name) or _given(name)
    if known is not None:
        return known
    names = engine_names()
    near = difflib.get_close_matches(name.lower(), names, n=1)
    raise UsageError(
        f"no engine is named {name!r}",
        hint=f"did you mean {near[0]}?" if near else f"engines: {', '.join(names)}",
    )


def engine_names() -> tuple[str, ...]:
    """Every engine there is, sorted; those of other packages are named, not loaded."""
    return tuple(sorted({*_own(), *_entry_points()}))


@cache
def _own() -> dict[str, Engine]:
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    engines = (getattr(module, "ENGINE", None) for module in modules)
    return {one.name: one for one in engines if isinstance(one, Engine)}


@cache
def _given(name: str) -> Engine | None:
    point = _entry_points().get(name)
    if point is None:
        return None
    try:
        given = point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"engine {name!r} cannot be loaded from {point.value}: {error}",
            hint=f"repair or uninstall the package that gives it: {point.dist.name if point.dist else point.value}",
        ) from error
    if not isinstance(given, Engine):
        raise UsageError(
            f"entry point {name!r} of group {GROUP} leads to {point.value}, which is no fleetctl Engine",
            hint=f"update or uninstall the package that gives it: {point.dist.name if point.dist else point.value}",
        )
    return given


@cache
def _entry_points() -> "dict[str, EntryPoint]":
    # Late: reading what every installed package gives takes longer than everything else here.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}
