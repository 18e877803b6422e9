"""Policies: pure rules from load to a wanted count. One file is one policy, found by folder and loaded by name."""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from fleetctl.decide.load import Load
from fleetctl.errors import UsageError
from fleetctl.model.decisions import Memory
from fleetctl.model.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a policy sees. `memory` already holds the load of this tick."""

    now: float
    service: Service
    current: int
    """Serving Replicas, ready or on their way: what is on its way is never ordered twice."""
    ready: int
    load: Load
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How many Replicas a policy wants, before any limit; and what it wants remembered."""

    replicas: int
    reason: str
    memory: Memory


class Policy(Protocol):
    """One file in this folder: a module-level function `wish`."""

    def __call__(self, view: View) -> Wish: ...


@cache
def policy(name: str) -> Policy:
    """The policy of that name. Raises `UsageError` for one that does not exist."""
    if name not in policy_names():
        raise UsageError(f"there is no policy {name!r}", hint=f"the policies are: {', '.join(policy_names())}")
    found: Policy = importlib.import_module(f"{__name__}.{name}").wish
    return found


@cache
def policy_names() -> tuple[str, ...]:
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__)))
