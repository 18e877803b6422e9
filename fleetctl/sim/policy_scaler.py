"""A Service's own policy as a Scaler of the simulated world: the brain that `fleetctl decide` and the fleet use."""

from dataclasses import replace

from fleetctl.decide.lines import Line, Recollection, ServiceLine, answer
from fleetctl.model.services import Service
from fleetctl.sim.scalers import Wish


class PolicyScaler:
    """One run of one Service's policy."""

    __slots__ = ("known", "service")

    def __init__(self, service: Service) -> None:
        # No trace tells what outside signals said, and an unknown one would hold every count for good.
        own = tuple(signal for signal in service.signals if signal.policy is not None)
        self.service = replace(service, signals=own)
        self.known = Recollection()

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        made, self.known = answer(
            Line(t=now, services=(replace(seen, name=self.service.name),)), [self.service], self.known
        )
        decided = made.decisions[0]
        return Wish(desired=decided.desired, standby=decided.standby, reason=decided.reason)
