"""Sources of Instances: one file, one provider, loaded by its name; other packages add theirs by entry point."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from fleetctl.errors import UsageError
from fleetctl.paths import Home
from fleetctl.ports import Provider, Shell

ENTRY_POINTS = "fleetctl.providers"
"""An installed package names its own providers in this group; each names a `MakeProvider`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What every provider is made from."""

    fleet: str
    home: Home
    options: Mapping[str, object] = field(default_factory=dict)
    """The provider's own settings: what `providers: {NAME: {…}}` of the fleet's file says, as JSON has it."""
    ssh_key: str = ""
    """The fleet's public key, as one line of `authorized_keys`."""
    shell: Shell | None = None
    """The way to machines over SSH, for providers that have no other."""


MakeProvider = Callable[[Setup], Provider]
"""Each provider's file has one of these, called `provider`."""


def names() -> tuple[str, ...]:
    """Every provider that can be loaded. Loads none."""
    return tuple(sorted({*_own_names(), *(point.name for point in entry_points(group=ENTRY_POINTS))}))


def load(name: str) -> MakeProvider:
    """The maker of the provider of that name. Raises `UsageError` when there is none."""
    if name in _own_names():
        make: MakeProvider = importlib.import_module(f"{__name__}.{name}").provider
        return make
    for point in entry_points(group=ENTRY_POINTS, name=name):
        loaded: MakeProvider = point.load()
        return loaded
    raise UsageError(f"no provider is called {name!r}", hint=f"one of: {', '.join(names())}")


def _own_names() -> frozenset[str]:
    """The providers of this folder; what starts with `_` is what they share."""
    return frozenset(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
