"""Sources of Instances: one file, one provider, loaded by its name; other packages add theirs by entry point."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

from fleetctl.errors import UsageError
from fleetctl.model.abilities import Abilities
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


Permissions = Callable[[Mapping[str, object]], Mapping[str, object]]
"""A provider's file may have one of these, called `permissions`: from its settings, the least that its credentials
must be allowed, as a document for the cloud's own tools."""


TellAbilities = Callable[[Mapping[str, object]], Abilities]
"""A provider's file may have one of these, called `abilities`: from its settings, what its machines can do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a provider needs beside fleetctl, told before it is made."""

    folder: Path
    requirement: str
    """What is installed, as pip writes it."""
    packages: int
    """About as many."""
    size_mb: int
    """About as much disk, and somewhat less to download."""
    ready: bool
    """Whether it was made before; making it again brings it up to date."""
    commands: tuple[tuple[str, ...], ...]
    """In order. Each may be repeated; the last one shows that it works."""


MakeEnvironment = Callable[[Home, Sequence[str]], Environment]
"""A provider's file may have one of these, called `environment`; the words name what may be added to it. Raises
`UsageError` for words that mean nothing."""


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
    import difflib  # only a wrong name pays for it

    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(names())}"
    raise UsageError(f"no provider is called {name!r}", hint=hint)


def permissions_of(name: str) -> Permissions | None:
    """What makes the provider's document of permissions, if it has one. Raises `UsageError` for an unknown provider."""
    found: Permissions | None = getattr(_module(name), "permissions", None)
    return found


def environment_of(name: str) -> MakeEnvironment | None:
    """What plans the provider's own environment, if it needs one. Raises `UsageError` for an unknown provider."""
    found: MakeEnvironment | None = getattr(_module(name), "environment", None)
    return found


def abilities_of(name: str, options: Mapping[str, object]) -> Abilities:
    """What machines of the provider can do; all there is, where it says nothing. Raises `UsageError` for an unknown
    provider."""
    tell: TellAbilities | None = getattr(_module(name), "abilities", None)
    return Abilities() if tell is None else tell(options)


def _module(name: str) -> object:
    return importlib.import_module(load(name).__module__)


def _own_names() -> frozenset[str]:
    """The providers of this folder; what starts with `_` is what they share."""
    return frozenset(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
