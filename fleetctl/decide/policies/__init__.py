"""Policies: pure rules from load to a wanted count. One file is one policy, found by folder and loaded by name."""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from fleetctl.errors import UsageError
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.services import Service
from fleetctl.model.signals import Load


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a policy sees. `memory` already holds the load of this tick."""

    service: Service
    inputs: Inputs
    load: Load
    """The inputs' load, which is known when a policy is asked."""
    memory: Memory

    @property
    def now(self) -> float:
        return self.inputs.at

    @property
    def current(self) -> int:
        """Serving Replicas, ready or on their way: what is on its way is never ordered twice."""
        return self.inputs.current

    @property
    def ready(self) -> int:
        return self.inputs.ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How many Replicas a policy wants, before any limit; and what it wants remembered."""

    replicas: int
    reason: str
    memory: Memory
    binding: str = ""
    """What within the policy set the count; empty: the policy as a whole."""
    why_unknown: str = ""
    """What the policy goes by is not known, and why: then nothing is taken away."""
    until: float | None = None
    """Unix seconds at which what it holds for a time is over; None: it holds nothing so."""


class Policy(Protocol):
    """One file in this folder: a module-level function `wish`, and `PARAMETERS` where it has some of its own."""

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


@cache
def own_parameters(name: str) -> tuple[str, ...]:
    """The fields of `scaling` that this policy uses and not every policy does; its file says which."""
    policy(name)
    found: tuple[str, ...] = getattr(importlib.import_module(f"{__name__}.{name}"), "PARAMETERS", ())
    return found
