"""The policy `auto` as a Scaler of the simulated world."""

from fleetctl.decide.auto.brain import Observation, Parameters, step
from fleetctl.decide.lines import ServiceLine
from fleetctl.model.learning import Learned
from fleetctl.sim.scalers import Wish


class AutoScaler:
    """One run's brain. `state` is what `decide --state` would keep."""

    __slots__ = ("parameters", "state")

    def __init__(self, parameters: Parameters, state: Learned | None = None) -> None:
        self.parameters = parameters
        self.state = state or Learned()

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        signals = seen.signals
        observation = Observation(
            ready=seen.ready,
            starting_ages_s=tuple([starting.age_s for starting in seen.starting]),
            draining=seen.draining,
            standby=seen.standby,
            concurrency=signals.concurrency,
            queue=signals.queue,
            arrivals=signals.arrivals,
            input_tokens=signals.input_tokens,
            output_tokens=signals.output_tokens,
            completed=signals.completed,
        )
        wish, self.state = step(self.parameters, self.state, observation, now)
        return Wish(desired=wish.desired, standby=wish.standby, reason=wish.reason)
