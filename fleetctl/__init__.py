"""fleetctl: a terminal control plane for multi-cloud GPU fleets.

As a library it offers the names of `__all__`; docs/library.md has examples, and says what is promised of them.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
"""Known to type checkers by its name: importing `typing` would cost the fast commands a third of their time."""
if TYPE_CHECKING:
    from fleetctl.library import Brain as Brain
    from fleetctl.library import Client as Client
    from fleetctl.library import ConfirmationNeeded as ConfirmationNeeded
    from fleetctl.library import Conflict as Conflict
    from fleetctl.library import Counterfactual as Counterfactual
    from fleetctl.library import Decision as Decision
    from fleetctl.library import Event as Event
    from fleetctl.library import Explanation as Explanation
    from fleetctl.library import Fleet as Fleet
    from fleetctl.library import FleetError as FleetError
    from fleetctl.library import Gpu as Gpu
    from fleetctl.library import InstanceRow as InstanceRow
    from fleetctl.library import Interval as Interval
    from fleetctl.library import Market as Market
    from fleetctl.library import NotFound as NotFound
    from fleetctl.library import Observed as Observed
    from fleetctl.library import Outcome as Outcome
    from fleetctl.library import OverBudget as OverBudget
    from fleetctl.library import Placement as Placement
    from fleetctl.library import Pool as Pool
    from fleetctl.library import PoolName as PoolName
    from fleetctl.library import Promise as Promise
    from fleetctl.library import ProviderName as ProviderName
    from fleetctl.library import ReadOnly as ReadOnly
    from fleetctl.library import ReplicaRow as ReplicaRow
    from fleetctl.library import Rows as Rows
    from fleetctl.library import Scaling as Scaling
    from fleetctl.library import Schedule as Schedule
    from fleetctl.library import Service as Service
    from fleetctl.library import ServiceName as ServiceName
    from fleetctl.library import ServiceRow as ServiceRow
    from fleetctl.library import Slo as Slo
    from fleetctl.library import SpecError as SpecError
    from fleetctl.library import Stage as Stage
    from fleetctl.library import StageNote as StageNote
    from fleetctl.library import Standby as Standby
    from fleetctl.library import Start as Start
    from fleetctl.library import StoreFailure as StoreFailure
    from fleetctl.library import Tier as Tier
    from fleetctl.library import Trace as Trace
    from fleetctl.library import UsageError as UsageError
    from fleetctl.library import explain as explain
    from fleetctl.library import load_fleet as load_fleet
    from fleetctl.library import read_trace as read_trace
    from fleetctl.library import simulate as simulate

__all__ = [
    "Brain",
    "Client",
    "ConfirmationNeeded",
    "Conflict",
    "Counterfactual",
    "Decision",
    "Event",
    "Explanation",
    "Fleet",
    "FleetError",
    "Gpu",
    "InstanceRow",
    "Interval",
    "Market",
    "NotFound",
    "Observed",
    "Outcome",
    "OverBudget",
    "Placement",
    "Pool",
    "PoolName",
    "Promise",
    "ProviderName",
    "ReadOnly",
    "ReplicaRow",
    "Rows",
    "Scaling",
    "Schedule",
    "Service",
    "ServiceName",
    "ServiceRow",
    "Slo",
    "SpecError",
    "Stage",
    "StageNote",
    "Standby",
    "Start",
    "StoreFailure",
    "Tier",
    "Trace",
    "UsageError",
    "__version__",
    "explain",
    "load_fleet",
    "read_trace",
    "simulate",
]


def __getattr__(name: str) -> object:
    """One of `__all__`, imported when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module("fleetctl.library"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
