"""The library face: everything that `import fleetctl` offers, in one place.

docs/library.md says what is promised of it. Imported once the first name is asked for, and not by `import fleetctl`.
"""

from fleetctl.decide.counterfactuals import Counterfactual as Counterfactual
from fleetctl.errors import ConfirmationNeeded as ConfirmationNeeded
from fleetctl.errors import Conflict as Conflict
from fleetctl.errors import FleetError as FleetError
from fleetctl.errors import NotFound as NotFound
from fleetctl.errors import OverBudget as OverBudget
from fleetctl.errors import ReadOnly as ReadOnly
from fleetctl.errors import SpecError as SpecError
from fleetctl.errors import StoreFailure as StoreFailure
from fleetctl.errors import UsageError as UsageError
from fleetctl.library.brain import Brain as Brain
from fleetctl.library.brain import Observed as Observed
from fleetctl.library.client import Client as Client
from fleetctl.library.files import load_fleet as load_fleet
from fleetctl.library.playing import read_trace as read_trace
from fleetctl.library.playing import simulate as simulate
from fleetctl.library.rows import Rows as Rows
from fleetctl.library.words import explain as explain
from fleetctl.model.decisions import Decision as Decision
from fleetctl.model.decisions import Event as Event
from fleetctl.model.decisions import StageNote as StageNote
from fleetctl.model.history import Interval as Interval
from fleetctl.model.names import PoolName as PoolName
from fleetctl.model.names import ProviderName as ProviderName
from fleetctl.model.names import ServiceName as ServiceName
from fleetctl.model.replicas import Stage as Stage
from fleetctl.model.services import Gpu as Gpu
from fleetctl.model.services import Market as Market
from fleetctl.model.services import Placement as Placement
from fleetctl.model.services import Pool as Pool
from fleetctl.model.services import Scaling as Scaling
from fleetctl.model.services import Schedule as Schedule
from fleetctl.model.services import Service as Service
from fleetctl.model.services import Slo as Slo
from fleetctl.model.services import Standby as Standby
from fleetctl.model.services import Tier as Tier
from fleetctl.model.starts import Start as Start
from fleetctl.sim.traces import Trace as Trace
from fleetctl.spec.fleet import Fleet as Fleet
from fleetctl.views.explanation import Explanation as Explanation
from fleetctl.views.fleet import InstanceRow as InstanceRow
from fleetctl.views.fleet import ReplicaRow as ReplicaRow
from fleetctl.views.fleet import ServiceRow as ServiceRow
from fleetctl.views.outcomes import Outcome as Outcome
from fleetctl.views.promise import Promise as Promise
